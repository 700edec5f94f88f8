"""Which prompts a step asks for, and how rows become prompts."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigurationError
from plaudit.rows import DataSettings
from plaudit.trainer.prompts import PromptStream, read_prompts
from plaudit.trajectory import Message, Prompt
from tests.policy.tiny import tiny_tokenizer

PROMPTS = [Prompt(str(i), (1, 2, i), text=f"p{i}") for i in range(7)]


@given(per_step=st.integers(1, 20), seed=st.integers(0, 1000))
def test_every_pass_visits_each_prompt_once(per_step: int, seed: int) -> None:
    stream = PromptStream(PROMPTS, per_step, samples_per_prompt=1, seed=seed)
    requests = [request for step in range(7) for request in stream.requests(step)]
    assert Counter(request.prompt.id for request in requests) == dict.fromkeys(map(str, range(7)), per_step)
    assert len({request.id for request in requests}) == len(requests)


def test_passes_have_orders_of_their_own() -> None:
    stream = PromptStream(PROMPTS, per_step=7, samples_per_prompt=1, seed=3)
    orders = {tuple(request.prompt.id for request in stream.requests(step)) for step in range(5)}
    assert len(orders) > 1


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    fresh, used = (PromptStream(PROMPTS, 3, 2, seed=5) for _ in range(2))
    for step in range(4):
        used.requests(step)
    assert fresh.requests(4) == used.requests(4)


def test_samples_of_a_prompt_stand_together() -> None:
    requests = PromptStream(PROMPTS, 2, samples_per_prompt=3, seed=0).requests(0)
    assert [request.sample_index for request in requests] == [0, 1, 2, 0, 1, 2]
    assert len({request.prompt.id for request in requests[:3]}) == 1


def write(path: Path, rows: list[object]) -> DataSettings:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSettings(source=str(path))


def test_rows_become_prompts(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    rows = [{"prompt": "the cat"}, {"id": "x", "prompt": [{"role": "user", "content": "the cat"}]}]
    text, chat = read_prompts(write(tmp_path / "p.jsonl", rows), tokenizer, "chat")
    assert (text.id, text.text, text.messages) == ("0", "the cat", None)
    assert (chat.id, chat.text, chat.messages) == ("x", None, (Message("user", "the cat"),))
    assert text.token_ids == chat.token_ids  # a text is one user message


@pytest.mark.parametrize("row", [{"prompt": ""}, {"prompt": 3}, {"text": "a"}, {"prompt": [{"role": "user"}]}])
def test_a_malformed_row_is_named(tmp_path: Path, row: dict[str, object]) -> None:
    data = write(tmp_path / "p.jsonl", [{"prompt": "fine"}, row])
    with pytest.raises(ConfigurationError, match=r"p\.jsonl:2: 'prompt"):
        read_prompts(data, tiny_tokenizer(), "plain")

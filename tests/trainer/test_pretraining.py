"""Which texts a step learns from."""

import json
from collections import Counter
from pathlib import Path

import pytest
from policy.tiny import tiny_llama
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.rows import DataSettings
from plaudit.trainer.pretraining import TextStream, read_texts
from plaudit.trainer.settings import PretrainingSettings

LINES = ["the cat sat on the mat", "where is my order?", "about 7 days"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_llama(tmp_path / "policy"))


def settings(tmp_path: Path, lines: list[str], **changes) -> PretrainingSettings:
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": line}) for line in lines))
    return PretrainingSettings(data=DataSettings(source=str(path)), **changes)


def test_a_text_ends_with_its_end_and_a_long_one_is_cut_into_pieces(tmp_path: Path, tokenizer: PreTrainedTokenizerBase):
    whole = read_texts(settings(tmp_path, LINES), tokenizer)
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in whole] == LINES
    assert all(ids[-1] == tokenizer.eos_token_id for ids in whole)
    pieces = read_texts(settings(tmp_path, LINES, max_tokens=4), tokenizer)
    assert max(map(len, pieces)) == 4
    assert min(map(len, pieces)) >= 2
    assert sum(map(len, pieces)) >= sum(map(len, whole)) - len(whole)


def test_texts_of_nothing_are_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(ConfigurationError, match="no text"):
        read_texts(settings(tmp_path, [""]), tokenizer)
    path = tmp_path / "other.jsonl"
    path.write_text('{"prompt": "a"}')
    other = PretrainingSettings(data=DataSettings(source=str(path)))
    with pytest.raises(ConfigurationError, match=r"other\.jsonl:1.*'text' is missing"):
        read_texts(other, tokenizer)


def test_texts_may_stand_in_another_field(tmp_path: Path, tokenizer: PreTrainedTokenizerBase):
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(json.dumps({"content": line, "text": 5}) for line in LINES))
    named = PretrainingSettings(data=DataSettings(source=str(path)), field="content")
    assert read_texts(named, tokenizer) == read_texts(settings(tmp_path, LINES), tokenizer)


def test_every_text_comes_once_a_pass_in_an_order_of_its_own(tmp_path: Path):
    """And a resumed run needs no cursor: step 3 is step 3."""
    pieces = [(number, number + 1) for number in range(6)]
    chosen = settings(tmp_path, LINES, texts_per_step=4)
    stream, again = (TextStream(pieces, chosen, seed=5, pad=0) for _ in range(2))
    steps = [[int(row[0]) for row in stream.batch(step).input_ids] for step in range(3)]
    assert Counter(number for step in steps for number in step) == dict.fromkeys(range(6), 2)
    assert [int(row[0]) for row in again.batch(2).input_ids] == steps[2]
    assert steps[0] + steps[1][:2] != steps[1][2:] + steps[2]
    assert stream.batch(0).coef == 27.8

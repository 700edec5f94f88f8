"""A policy's answers as rows: the same again, all there or not at all, and in the form that was asked for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from plaudit.cli import main
from plaudit.feedback.reading import read_tasks
from plaudit.feedback.tasks import Kind
from plaudit.iteration import drawing, generate
from plaudit.iteration.row_file import RowFile
from plaudit.policy import generation
from plaudit.policy.loading import load_causal_lm, load_tokenizer
from plaudit.policy.settings import PolicySettings
from plaudit.rollout.cluster import RayConnection
from plaudit.rollout.settings import RolloutSettings
from plaudit.rows import DataSettings
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory
from tests.policy.tiny import tiny_llama
from tests.reward.processes import process

from .runs import rows

PROMPTS = 9


class LocalPool:
    """Generates as Ray workers do, in this process: they take seconds to start. `test_iterate.py` has the real ones."""

    def __init__(self, settings: RolloutSettings, policy: PolicySettings) -> None:
        self._size, self._model, self._tokenizer = settings.group_size, load_causal_lm(policy), load_tokenizer(policy)

    def generate(self, requests: Sequence[RolloutRequest], sampling: Sampling) -> list[Trajectory]:
        groups = (requests[at : at + self._size] for at in range(0, len(requests), self._size))
        drawn = (generation.generate(self._model, group, sampling, 0, 0, self._tokenizer) for group in groups)
        return [one for group in drawn for one in group]

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "RayRolloutPool", LocalPool)
    monkeypatch.setattr(drawing, "start_ray", lambda *_, **__: RayConnection(owned=False))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny_llama(folder / "policy")
    tiny_llama(folder / "other", seed=1)
    rows(folder / "prompts.jsonl", *({"id": f"p{i}", "prompt": f"the cat {i} of"} for i in range(PROMPTS)))
    return folder


def asked(world: Path, output: Path, **changes: Any) -> str:
    """A settings file."""
    tree = {
        "policy": {"model": str(world / "policy")},
        "prompts": {"source": str(world / "prompts.jsonl")},
        "output": str(output),
        "per_prompt": 3,
        "max_new_tokens": 4,
        "rollout": {"workers": 1, "group_size": 16},
    }
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(tree | changes))
    return str(path)


def drawn(world: Path, output: Path, **changes: Any) -> list[dict[str, Any]]:
    assert main(["generate", asked(world, output, **changes)]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_rows_hold_all_different_answers_a_pair_or_one(world: Path, tmp_path: Path) -> None:
    every = drawn(world, tmp_path / "all.jsonl")
    assert [row["id"] for row in every] == [f"p{i}" for i in range(PROMPTS)]
    assert every[0]["prompt"] == "the cat 0 of"
    assert all(len(row["responses"]) == len(set(row["responses"])) <= 3 for row in every)
    pairs = drawn(world, tmp_path / "pairs.jsonl", row="pair", source="round 7")
    assert [row["responses"] for row in pairs] == [row["responses"][:2] for row in every]
    assert pairs[0]["sources"] == ["round 7", "round 7"]
    single = drawn(world, tmp_path / "single.jsonl", row="one")
    assert [row["response"] for row in single] == [text for row in every for text in row["responses"]]
    assert [row["id"] for row in single[:3]] == ["p0/0", "p0/1", "p0/2"]
    assert {row["finish_reason"] for row in single} <= {"stop", "length"}
    for name, kind in (("all", Kind.RANK), ("pairs", Kind.COMPARE), ("single", Kind.RATING)):
        assert read_tasks(DataSettings(source=str(tmp_path / f"{name}.jsonl")), kind)


def test_places_in_the_stream_are_other_prompts_and_a_second_pass_draws_anew(world: Path, tmp_path: Path) -> None:
    first = drawn(world, tmp_path / "1.jsonl", row="one", count=5)
    second = drawn(world, tmp_path / "2.jsonl", row="one", count=5, start=5)
    names = [{row["prompt_id"] for row in some} for some in (first, second)]
    again = names[1] - {f"p{i}" for i in range(PROMPTS)}
    assert len(names[0]) == len(names[1]) == 5
    assert not names[0] & names[1]
    assert len(again) == 1  # of nine prompts the tenth place is a second visit
    assert again.pop().endswith("/1")


def test_answers_are_not_sorted_out_unless_asked(world: Path, tmp_path: Path) -> None:
    """At a temperature near 0 all answers are equal."""
    cold = {"temperature": 1e-4, "row": "one"}
    assert len(drawn(world, tmp_path / "different.jsonl", **cold)) == PROMPTS
    assert len(drawn(world, tmp_path / "all.jsonl", different=False, **cold)) == 3 * PROMPTS
    assert main(["generate", asked(world, tmp_path / "pairs.jsonl", temperature=1e-4, row="pair")]) == 1
    assert not (tmp_path / "pairs.jsonl").exists()


def test_kl_is_nothing_from_itself_and_something_from_another(world: Path, tmp_path: Path) -> None:
    itself = drawn(world, tmp_path / "itself.jsonl", row="one", reference={"model": str(world / "policy")})
    assert max(abs(row["kl"]) for row in itself) < 1e-4
    other = drawn(world, tmp_path / "other.jsonl", row="one", reference={"model": str(world / "other")})
    assert [row["response"] for row in other] == [row["response"] for row in itself]
    assert sum(row["kl"] for row in other) / len(other) > 0.1


def test_what_was_stopped_goes_on_to_the_same_file(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = drawn(world, tmp_path / "whole.jsonl", count=8)
    monkeypatch.setattr(generate, "AT_ONCE", 2)
    add, left = RowFile.add, [4]

    def stopped(file: RowFile, *row: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        add(file, *row)

    path = asked(world, tmp_path / "stopped.jsonl", count=8)
    monkeypatch.setattr(RowFile, "add", stopped)
    assert main(["generate", path]) == 130
    assert not (tmp_path / "stopped.jsonl").exists()
    left[0] = 4  # and not one more
    assert main(["generate", path]) == 0
    assert [json.loads(line) for line in (tmp_path / "stopped.jsonl").read_text().splitlines()] == whole
    assert main(["generate", path]) == 2
    assert "exists already" in capsys.readouterr().err


def test_an_ensemble_that_is_served_elsewhere_is_the_same_one_and_another_one_is_not(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`plaudit iterate` serves it on any free port, on another when it goes on."""
    monkeypatch.setattr(generate, "AT_ONCE", 2)
    added: list[int] = []
    add = RowFile.add

    def stopped(most: int, file: RowFile, place: int, found: Sequence[dict[str, Any]]) -> None:
        if len(added) == most:
            raise KeyboardInterrupt
        added.append(place)
        add(file, place, found)

    def run(word: str, most: int) -> tuple[int, list[int]]:
        added.clear()
        monkeypatch.setattr(RowFile, "add", lambda *one: stopped(most, *one))
        with process(tmp_path / f"{word} {most}", models=both(word)) as served:
            where = {"address": served.address}
            code = main(["generate", asked(world, tmp_path / "rows.jsonl", count=8, uncertain_first=where)])
        return code, list(added)

    assert run("nothing-like-it", 4) == (130, [0, 1, 2, 3])
    assert run("nothing-like-it", 2) == (130, [4, 5])
    assert run("something-else", 8) == (0, list(range(8)))


def both(word: str) -> list[dict[str, Any]]:
    """Two rules as one: they are apart by the digits that one counts, and the other does not."""
    return [
        {"name": "both", "ensemble": {"members": ["digits", "word"]}},
        {"name": "digits", "rule": {"kind": "digits"}},
        {"name": "word", "rule": {"kind": "keyword", "word": word}},
    ]


def test_what_an_ensemble_is_unsure_of_comes_first(world: Path, tmp_path: Path) -> None:
    with process(tmp_path / "server", models=both("nothing-like-it")) as server:
        asked_of = {"address": server.address}
        found = drawn(world, tmp_path / "unsure.jsonl", row="pair", per_prompt=6, uncertain_first=asked_of)
        alone = asked(world, tmp_path / "alone.jsonl", uncertain_first=asked_of | {"model": "digits"})
        assert main(["generate", alone]) == 2
    counts = [[any(letter.isdigit() for letter in text) for text in row["responses"]] for row in found]
    unsure = [row["priority"] > 0 for row in found]
    assert any(unsure)
    for (first, second), row in zip(counts, found, strict=True):
        if first != second:
            assert row["priority"] > 0

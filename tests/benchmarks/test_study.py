"""The study of a reward model: folds by prompt, and standard errors over prompts."""

import re
import sys
from pathlib import Path

import pytest

from tests.finetune.judgements import planted_pairs, write_rows
from tests.policy.tiny import tiny_llama

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reward_model"))

import study
import versus


def studied(monkeypatch, tmp_path, name, rows, *more):
    data, base = write_rows(tmp_path / f"{name}.jsonl", rows), tiny_llama(tmp_path / f"{name}-base")
    own = ["--base", str(base), "--output", str(tmp_path / name), "--folds", "2", "--epochs", "1", *more]
    monkeypatch.setattr(sys, "argv", ["study.py", *own, "--max-tokens", "64", "--dtype", "float32", data])
    monkeypatch.setattr(study.bag_of_words, "PENALTIES", (0.1,))
    study.main()
    return (tmp_path / name / "study.md").read_text()


def test_a_pair_that_was_judged_four_times_is_known_no_better(monkeypatch, tmp_path, capsys):
    rows, _ = planted_pairs(24)
    once = studied(monkeypatch, tmp_path, "once", rows)
    often = studied(monkeypatch, tmp_path, "often", rows * 4)
    error = re.compile(r"\| bag-of-words Bradley-Terry \| [\d.]+ \| ([\d.]+) \|")
    assert float(error.search(often)[1]) > 0.8 * float(error.search(once)[1])
    assert "24 pairs scored" in once
    assert "96 pairs scored" in often

    capsys.readouterr()
    versus.main(str(tmp_path / "once"), str(tmp_path / "once"))
    assert "+0.0 ± 0.0 % of 24 pairs" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="not of the same pairs"):
        versus.main(str(tmp_path / "once"), str(tmp_path / "often"))


def test_a_person_who_saw_no_difference_is_learnt_from_too(monkeypatch, tmp_path):
    rows, _ = planted_pairs(12)
    voted = [row | {"votes": votes} for row, votes in zip(rows, [[2, 0, 1], [1, 1, 1], [0, 0, 3]] * 4, strict=True)]
    assert "votes: people" in studied(monkeypatch, tmp_path, "people", voted, "--votes", "people")


def test_two_studies_are_compared_over_prompts(tmp_path, capsys):
    for name, right in (("before", [0, 0, 1, None]), ("after", [1, 1, 1, 1])):
        (tmp_path / name).mkdir()
        for fold in range(2):
            (tmp_path / name / f"fold-{fold}.json").write_text(f'{{"model": {right}}}'.replace("None", "null"))
        (tmp_path / name / "prompts.json").write_text("[[0, 0, 1, 1], [2, 2, 3, 3]]")
    versus.main(str(tmp_path / "before"), str(tmp_path / "after"))
    assert "+66.7 ± 25.7 % of 6 pairs" in capsys.readouterr().out


def test_a_study_without_its_prompts_says_how_to_get_them(tmp_path):
    with pytest.raises(SystemExit, match=r"run study\.py on .* again"):
        versus.main(str(tmp_path), str(tmp_path))

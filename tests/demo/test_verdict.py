"""The verdict: gold rewards join the samples, the figures are right, and each criterion can fail."""

import json
from random import Random

import pytest
from rich.console import Console
from utility import utility
from verdict import KL_BOUND, add_gold, show, summarise
from world import draw_question

BAD = ("No idea.", "Ask someone else.", "That is not my job.")


def write_demo(folder, prompts=210, kl=6.0, after=None):
    """A demo folder as the programs leave it: evasions before; after PPO, what `after` makes of a prompt's number."""
    rng = Random(0)
    questions = [draw_question(rng).prompt for _ in range(prompts)]
    improve = after or (lambda number: f"Thank you for asking. {'No idea.' if number % 3 else 'Have a nice day.'}")
    samples = folder / "ppo" / "samples"
    for path in (samples, folder / "accuracy", folder / "data"):
        path.mkdir(parents=True)
    for step, reply in ((0, lambda number: BAD[number % 3]), (40, improve)):
        rows = [
            {"prompt_id": str(n), "prompt": text, "response": reply(n), "score": step / 40, "kl": kl * step / 40}
            for n, text in enumerate(questions)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (samples / f"step-{step:05d}.jsonl").write_text(lines)
    (folder / "ppo" / "config.yaml").write_text("steps: 40\n")
    accuracy = {"overall": {"accuracy": {"value": 0.8, "standard_error": 0.01}}}
    (folder / "accuracy" / "accuracy.json").write_text(json.dumps(accuracy))
    (folder / "data" / "bayes.json").write_text(json.dumps({"bayes_accuracy": 0.85, "pairs": 5_000}))
    add_gold(folder / "ppo")
    return summarise(folder, {"world": 1.5, "PPO": 90.0}, peak_memory_bytes=2**31)


def failed(summary):
    return [row["name"] for row in summary["criteria"] if not row["passed"]]


def test_a_good_run_passes(tmp_path):
    summary = write_demo(tmp_path)
    console = Console(record=True, width=120)
    assert failed(summary) == []
    assert show(summary, console)
    text = console.export_text()
    assert "91.5" in text
    assert "2.00 GiB" in text
    assert "FAIL" not in text
    assert json.loads((tmp_path / "ppo" / "summary.json").read_text()) == summary


def test_gold_is_the_utility_of_each_sample(tmp_path):
    write_demo(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "ppo/samples/step-00040.jsonl").read_text().splitlines()]
    assert all(row["gold"] == utility(row["prompt"], row["response"]) for row in rows)
    assert {row["gold"] for row in rows} == {1.0, 2.0}


def test_a_sample_may_hold_any_line_separator(tmp_path):
    sample = {"prompt": draw_question(Random(0)).prompt, "response": "No.\u2028\x85No."}
    write_demo(tmp_path)
    path = tmp_path / "ppo" / "samples" / "step-00040.jsonl"
    path.write_text(json.dumps(sample, ensure_ascii=False) + "\n")
    add_gold(tmp_path / "ppo")
    assert json.loads(path.read_text())["response"] == sample["response"]


def test_means_and_paired_errors(tmp_path):
    summary = write_demo(tmp_path)
    assert summary["gold"]["before"] == 0.0
    assert summary["gold"]["after"] == pytest.approx((70 * 2.0 + 140 * 1.0) / 210)
    assert summary["gold"]["paired_gain"] == pytest.approx(summary["gold"]["after"])
    assert summary["proxy"]["paired_gain"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "criterion"),
    [
        ({"prompts": 150}, "held-out prompts"),
        ({"kl": KL_BOUND + 1}, "kl in nats per response"),
        ({"after": lambda number: BAD[number % 2]}, "gold gain in standard errors"),
        ({"after": lambda number: "Have a nice day."}, "distinct ratio to SFT model"),
    ],
)
def test_each_criterion_can_fail(tmp_path, arguments, criterion):
    summary = write_demo(tmp_path, **arguments)
    expected = [criterion]
    if criterion.startswith("distinct"):  # one and the same reply to all: its gain has no error to divide by
        expected.insert(0, "gold gain in standard errors")
    assert failed(summary) == expected
    assert not show(summary, Console(quiet=True))

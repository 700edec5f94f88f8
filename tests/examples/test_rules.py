"""PPO against a rule, by the programs that readers start: short here, whole and with several seeds in `learning`."""

import json

import pytest

from tests.examples.programs import before_and_after, run


@pytest.mark.parametrize("name", [pytest.param("digits", marks=pytest.mark.long), "keyword"])
def test_it_trains_any_policy_that_is_named(tmp_path, name):
    """Here the one with random weights, which the example itself has just written."""
    folder = tmp_path / name
    short = ["steps=2", "batch_size=8", "max_new_tokens=8", "prompts.held_out.limit=4", "checkpoints.every=1"]
    printed = run(name, folder, f"policy.model={folder / 'base'}", *short)
    assert not (folder / "sft").exists()
    _, _, table = printed.partition("4 held-out answers")
    assert table
    assert max(map(len, table.splitlines())) <= 80
    steps = [json.loads(line) for line in (folder / "ppo" / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [0, 1]
    assert {"score_mean", "kl", "explained_variance"} <= steps[0].keys()
    assert list((folder / "ppo").rglob("events.out*"))
    saved = sorted(path.name for path in (folder / "ppo" / "checkpoints").iterdir())
    assert saved == ["step-00001", "step-00002"]


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("name", "gain"), [("digits", 0.3), ("keyword", 0.3)])
def test_the_mean_score_rises(tmp_path, name, gain, seed):
    folder = tmp_path / name
    run(name, folder, "--seed", str(seed))
    before, after = before_and_after(folder / "ppo")
    assert before.responses == after.responses == 256
    assert after.score_gain.value - 3 * after.score_gain.standard_error > gain
    if name == "digits":
        saved = sorted(path.name for path in (folder / "ppo" / "checkpoints").iterdir())
        assert saved == [f"step-{8 * epoch:05d}" for epoch in (1, 2, 3, 4, 5)]
        steps = [json.loads(line) for line in (folder / "ppo" / "metrics.jsonl").read_text().splitlines()]
        assert max(step["first_ratio_error"] for step in steps) < 1e-5

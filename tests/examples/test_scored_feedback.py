"""Stars by simulated people, regression, PPO: the utility that no model ever saw rises."""

import pytest

from plaudit.reward import folder as reward_folder
from tests.examples.programs import before_and_after, run


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_utility_rises(tmp_path, seed):
    folder = tmp_path / "scored_feedback"
    printed = run("scored_feedback", folder, "--seed", str(seed))
    assert "held out: R² 0." in printed
    assert reward_folder.read(folder / "reward_model").calibration is not None
    before, after = before_and_after(folder / "ppo")
    assert before.responses == after.responses == 256
    assert after.gold_gain.value > 5 * after.gold_gain.standard_error
    assert after.gold_gain.value > 0.5
    assert after.kl.value < 10

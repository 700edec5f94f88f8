"""trl's own trainers, as they install from the package index, with the adapter against a running server."""

import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from plaudit_client.trl import RewardFunction, TooManyMissing
from tests.reward.processes import Served

TEXTS = ["What does a ticket cost?", "When do you open?"]
MESSAGES = [[{"role": "user", "content": text}] for text in TEXTS]
EOS = 2


def trained(trainer, config, policy: Path, folder: Path, functions, prompts=TEXTS, **more):
    """After two steps of four completions to one prompt."""
    steps = {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 8, "max_steps": 2}
    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "use_cpu": True}
    training = trainer(
        model=str(policy),
        reward_funcs=functions,
        args=config(output_dir=str(folder), seed=0, beta=0.0, **steps | quiet | more),
        train_dataset=Dataset.from_dict({"prompt": prompts * 4, "model": ["a column of the data set"] * 8}),
    )
    training.train()
    return training


def logged(training, name: str) -> list[float]:
    return [row[name] for row in training.state.log_history if name in row]


def of_a_group(rewards: np.ndarray) -> np.ndarray:
    """GRPO's advantages by its formula, over the completions that have a score."""
    return (rewards - np.nanmean(rewards)) / (np.nanstd(rewards, ddof=1) + 1e-4)


def of_the_others(rewards: np.ndarray) -> np.ndarray:
    """RLOO's: the reward less the mean of the others that have one."""
    others = np.isfinite(rewards).sum() - 1
    return rewards - (np.nansum(rewards) - rewards) / others


@pytest.mark.parametrize(
    ("trainer", "config", "prompts", "formula"),
    [(GRPOTrainer, GRPOConfig, TEXTS, of_a_group), (RLOOTrainer, RLOOConfig, MESSAGES, of_the_others)],
    ids=["GRPO on texts", "RLOO on messages"],
)
def test_trls_trainers_learn_from_it_and_leave_out_what_has_no_score(
    server: Served, policy, tmp_path, trainer, config, prompts, formula
):
    reward = RewardFunction(server.address, model="models/lossy", eos_token_ids=[EOS])
    training = trained(trainer, config, policy, tmp_path, reward, prompts)
    rewards = np.array(training._logs["rewards"]["plaudit"])  # of the last step
    assert np.isnan(rewards).sum() == 1
    assert np.nanstd(rewards) > 0
    expected = np.nan_to_num(formula(rewards), nan=0.0)
    assert list(training._logs["advantages"]) == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-4)
    assert logged(training, "rewards/plaudit/missing_ratio") == [0.25, 0.25]
    assert logged(training, "rewards/plaudit/mean")[-1] == pytest.approx(np.nanmean(rewards), rel=1e-5)


def test_beside_another_reward_trl_counts_a_missing_score_as_zero(server: Served, policy, tmp_path):
    """So there none may be missing, or a completion is punished for what the server did."""

    def one(completions, **_):
        return [1.0] * len(completions)

    reward = RewardFunction(server.address, model="models/lossy")
    training = trained(GRPOTrainer, GRPOConfig, policy, tmp_path, [reward, one])
    rewards = np.array(training._logs["rewards"]["plaudit"])
    expected = of_a_group(np.nan_to_num(rewards, nan=0.0) + 1.0)
    assert list(training._logs["advantages"]) == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-4)

    strict = RewardFunction(server.address, model="models/lossy", max_missing_ratio=0)
    with pytest.raises(TooManyMissing, match=r"1 of 4 completions have no score \(CALLABLE_FAILED 1\)"):
        trained(GRPOTrainer, GRPOConfig, policy, tmp_path, [strict, one])


def test_a_batch_that_has_no_score_at_all_ends_the_run_unless_it_may_lack_all(server: Served, policy, tmp_path):
    """The prompts are longer than the reward model reads."""
    long = ["What does a ticket cost? " * 40] * 2
    with pytest.raises(TooManyMissing, match=r"68 of 68 completions have no score \(INPUT_TOO_LONG 68\)"):
        trained(GRPOTrainer, GRPOConfig, policy, tmp_path, RewardFunction(server.address), long, max_steps=20)
    training = trained(
        GRPOTrainer, GRPOConfig, policy, tmp_path, RewardFunction(server.address, max_missing_ratio=1), long
    )
    assert list(training._logs["advantages"]) == [0.0] * 4
    assert all(math.isnan(reward) for reward in training._logs["rewards"]["plaudit"])
    assert logged(training, "rewards/plaudit/missing_ratio") == [1.0, 1.0]

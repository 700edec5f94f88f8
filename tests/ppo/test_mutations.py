"""Each check passes on what is there and fails on the mistake that it is for (rule 3)."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from policy.tiny import tiny_gpt2, tiny_llama

import plaudit.policy.actor_critic as actor_critic
import plaudit.policy.logprobs as logprobs
import plaudit.ppo.kl as kl
import plaudit.ppo.objective as objective
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.passes import Passes
from plaudit.trajectory import TrainingBatch, Weights

from . import checks

Check = Callable[[Path], None]
CHECKS: list[Check] = [
    checks.logprobs_are_those_of_each_row_alone,
    checks.the_first_ratio_is_one,
    checks.values_do_not_see_the_token_they_precede,
    checks.padding_changes_nothing,
    checks.the_split_changes_nothing,
    checks.weights_are_the_learners_own,
    checks.the_penalty_pulls_back,
    checks.two_passes_agree,
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Absolute positions, and dropout 0.1 in its config: what a policy must not depend on."""
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_gpt2_passes(gpt2: Path, check: Check):
    check(gpt2)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_llama_passes(llama: Path, check: Check):
    check(llama)


def no_temperature(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logprobs, "scale_logits", lambda logits, temperature: logits.float())


def temperature_on_logprobs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logprobs, "scale_logits", lambda logits, temperature: logits.float().log_softmax(-1) * temperature)


def off_by_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(actor_critic, "before_each_response_token", lambda x, length: x[:, -length:])


def padding_counted(patch: pytest.MonkeyPatch) -> None:
    _mask(patch, torch.ones_like)


def end_of_sequence_left_out(patch: pytest.MonkeyPatch) -> None:
    _mask(patch, lambda mask: mask & mask.roll(-1, dims=1) if mask.shape[1] > 1 else mask)


def _mask(patch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    right = Passes.padded

    def wrong(self: Passes, batch: TrainingBatch) -> actor_critic.PaddedRows:
        rows = right(self, batch)
        return rows._replace(response_mask=change(rows.response_mask))

    patch.setattr(Passes, "padded", wrong)


def mean_of_means(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(objective, "token_mean", lambda x, mask, tokens: x[mask].mean())


def no_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logprobs, "position_ids", lambda mask: torch.arange(mask.shape[1]).expand(mask.shape))


def stale_weights(patch: pytest.MonkeyPatch) -> None:
    fresh = LocalLearner.weights
    kept: dict[int, Weights] = {}

    def weights(self: LocalLearner) -> Weights:
        return kept.setdefault(id(self), tuple(piece.copy() for piece in fresh(self)))

    patch.setattr(LocalLearner, "weights", weights)


def dropout_in_training(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(actor_critic, "disable_dropout", lambda model: [_drop(module) for module in model.modules()])


def _drop(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.1


def dropout_always(patch: pytest.MonkeyPatch) -> None:
    dropout_in_training(patch)
    patch.setattr(torch.nn.Module, "eval", lambda self: self.train())


def kl_sign(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(kl.PENALTIES, "k1", lambda ours, theirs: theirs - ours)


@pytest.mark.parametrize(
    ("mutate", "check"),
    [
        (no_temperature, checks.logprobs_are_those_of_each_row_alone),
        (temperature_on_logprobs, checks.logprobs_are_those_of_each_row_alone),
        (off_by_one, checks.logprobs_are_those_of_each_row_alone),
        (off_by_one, checks.values_do_not_see_the_token_they_precede),
        (no_positions, checks.logprobs_are_those_of_each_row_alone),
        (padding_counted, checks.padding_changes_nothing),
        (padding_counted, checks.logprobs_are_those_of_each_row_alone),
        (end_of_sequence_left_out, checks.logprobs_are_those_of_each_row_alone),
        (mean_of_means, checks.the_split_changes_nothing),
        (stale_weights, checks.weights_are_the_learners_own),
        (dropout_in_training, checks.the_first_ratio_is_one),
        (dropout_always, checks.two_passes_agree),
        (kl_sign, checks.the_penalty_pulls_back),
    ],
)
def test_a_planted_mistake_is_caught(gpt2: Path, mutate: Callable, check: Check, monkeypatch: pytest.MonkeyPatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check(gpt2)

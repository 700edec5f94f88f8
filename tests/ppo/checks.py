"""Checks of a learner from the outside, each of which has to fail for some planted mutation (`test_mutations.py`)."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from plaudit.policy.weights import load_into
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.objective import TargetTensors
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.targets import Targets, make_targets
from plaudit.trajectory import TrainingBatch

from . import reference
from .learners import LIVELY, TEMPERATURE, learn, local, state_of, targets_of
from .ragged import EOS, PAD, ragged_batch, real_tokens, scored_row


def parameters(learner: LocalLearner) -> np.ndarray:
    """All trained weights in one vector."""
    return np.concatenate([x.ravel() for name, x in state_of(learner).items() if name.startswith("model.")])


def logprobs_are_those_of_each_row_alone(folder: Path) -> None:
    """Rules 1, 2, 3, 5, 6: ragged left-padded rows at temperature 0.7 against unpadded single rows, within 1e-4."""
    batch = ragged_batch(longest_prompt=9)
    evaluation = local(folder).evaluate(batch)
    causal_lm = AutoModelForCausalLM.from_pretrained(folder).eval()
    for row, mask in enumerate(batch.response_mask):
        expected, _ = reference.response_logprobs(causal_lm, *real_tokens(batch, row), TEMPERATURE)
        for ours in (evaluation.logprobs, evaluation.reference_logprobs):
            np.testing.assert_allclose(ours[row][mask], expected, atol=1e-4)
            assert not ours[row][~mask].any()


def the_first_ratio_is_one(folder: Path) -> None:
    """Rule 3: before the first step of an update old and new policy are one, nothing is clipped, no KL between them."""
    ppo = PPOSettings(epochs=1, learning_rate=1e-3, sampler_correction="none")
    learner, batch = local(folder, ppo), ragged_batch()
    for step in range(2):
        statistics = learner.update(batch, targets_of(learner, batch, ppo), step)
        assert statistics["first_ratio_error"] < 2e-6
        assert abs(statistics["ratio_mean"] - 1) < 2e-6
        assert statistics["clip_fraction"] == 0
        assert statistics["approx_kl"] < 1e-6


def values_do_not_see_the_token_they_precede(folder: Path) -> None:
    """Rule 1: exchanging the last response token changes its log-probability and no value."""
    learner, batch = local(folder), ragged_batch()
    learn(learner, [batch])  # the value head starts at 0 and would hide it
    other = ragged_batch()
    last = batch.prompt_length + batch.response_mask.sum(axis=1) - 1
    other.input_ids[np.arange(len(last)), last] = 50
    before, after = learner.evaluate(batch), learner.evaluate(other)
    assert np.abs(before.logprobs - after.logprobs).max() > 0.1
    np.testing.assert_allclose(before.values, after.values, atol=1e-5)
    assert np.abs(before.values).max() > 1e-3


def padding_changes_nothing(folder: Path) -> None:
    """Rules 5, 6, 12, 18: neither the amount of padding nor what stands in it changes an update or its statistics."""
    narrow, wide = ragged_batch(), _widened(ragged_batch())
    first, second = local(folder), local(folder)
    clean, garbage = targets_of(first, narrow), _with_garbage(targets_of(second, wide), wide.response_mask)
    a, b = first.update(narrow, clean, 0), second.update(wide, garbage, 0)
    np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parameters(first), parameters(second), atol=2e-5)


def _widened(batch: TrainingBatch) -> TrainingBatch:
    """The same rows with three more columns of padding to either side, another token standing in all padding."""
    ids = np.where(batch.attention_mask, batch.input_ids, 7)
    return TrainingBatch(
        np.pad(ids, ((0, 0), (3, 3)), constant_values=7),
        np.pad(batch.attention_mask, ((0, 0), (3, 3))),
        np.pad(batch.response_mask, ((0, 0), (0, 3))),
        np.pad(batch.sampler_logprobs, ((0, 0), (0, 3))),
        batch.scores,
        batch.truncated,
        batch.groups,
    )


def _with_garbage(targets: Targets, mask: np.ndarray) -> Targets:
    arrays = {name: np.where(mask, getattr(targets, name), np.float32(3.0)) for name in TargetTensors._fields}
    return dataclasses.replace(targets, **arrays)


def the_split_changes_nothing(folder: Path) -> None:
    """Rule 12: micro-batches of one row and of the whole batch make the same update, within 1e-5 relative."""
    batch = ragged_batch(rows=9)
    moves = []
    for tokens in (1, 40, 10_000):
        learner = local(folder, dataclasses.replace(LIVELY, microbatch_tokens=tokens))
        start = parameters(learner)
        learn(learner, [batch, batch], LIVELY)
        moves.append(parameters(learner) - start)
    for move in moves[1:]:
        assert np.linalg.norm(move - moves[0]) < 1e-5 * np.linalg.norm(moves[0])


def weights_are_the_learners_own(folder: Path) -> None:
    """A model given `weights()` after an update computes what the learner computes, not what it was before."""
    learner, batch = local(folder), ragged_batch()
    before = learner.evaluate(batch)
    learner.weights()
    learn(learner, [batch])
    worker = AutoModelForCausalLM.from_pretrained(folder).eval()
    load_into(worker, learner.weights())
    after = learner.evaluate(batch)
    assert np.abs(after.logprobs - before.logprobs).max() > 1e-2
    for row, mask in enumerate(batch.response_mask):
        expected, _ = reference.response_logprobs(worker, *real_tokens(batch, row), TEMPERATURE)
        np.testing.assert_allclose(after.logprobs[row][mask], expected, atol=1e-4)


def the_penalty_pulls_back(folder: Path) -> None:
    """Rule 8: away from its reference, with no scores and a large coefficient, the policy comes closer to it."""
    learner, batch = local(folder), _two_answers()
    ppo = dataclasses.replace(LIVELY, epochs=1, learning_rate=1e-3, whiten_advantages=False, gae_lambda=1.0)
    for step in range(20):  # away: the first answer is good
        learner.update(batch, make_targets(batch, learner.evaluate(batch), 0.0, ppo)[0], step)
    silent = dataclasses.replace(batch, scores=np.zeros_like(batch.scores))
    start = _log_ratio(learner, batch)
    for step in range(20):
        learner.update(silent, make_targets(silent, learner.evaluate(silent), 1.0, ppo)[0], step)
    assert start > 0.1
    assert abs(_log_ratio(learner, batch)) < start / 2


def _two_answers() -> TrainingBatch:
    rows = [scored_row((5, 6), (token, EOS), 1.0 if token < 12 else -1.0) for token in range(8, 16)]
    return TrainingBatch.assemble(rows, PAD)


def _log_ratio(learner: LocalLearner, batch: TrainingBatch) -> float:
    """Of the good answers' first tokens."""
    evaluation = learner.evaluate(batch)
    return float((evaluation.logprobs - evaluation.reference_logprobs)[batch.scores > 0, 0].mean())


def two_passes_agree(folder: Path) -> None:
    """Rule 4: the training pass and the evaluation pass see one and the same network."""
    learner, batch = local(folder, LIVELY), ragged_batch()
    first, second = learner.evaluate(batch), learner.evaluate(batch)
    np.testing.assert_array_equal(first.logprobs, second.logprobs)
    the_first_ratio_is_one(folder)


def dropout_is_off(model: torch.nn.Module) -> bool:
    """No layer has a probability left."""
    return all(m.p == 0 for m in model.modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd))

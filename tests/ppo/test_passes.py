"""Silent passes, which let ranks keep step, add exactly nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from policy.tiny import tiny_llama

from plaudit.ppo.learner import LocalLearner

from .learners import FULL_KL, local, targets_of
from .ragged import ragged_batch
from .test_texts import texts

ROWS = np.array([4, 0, 2])
EVERY = np.arange(8)


@pytest.fixture
def learner(tmp_path: Path) -> LocalLearner:
    return local(tiny_llama(tmp_path), FULL_KL)


def test_to_an_evaluation(learner: LocalLearner):
    """Of whichever rows, also where the shortest row, which they are made of, is among them."""
    batch, passes = ragged_batch(), learner._passes
    whole = passes.evaluate(batch, EVERY, passes.count(batch, EVERY) + 3)
    part = passes.evaluate(batch, ROWS, 3)
    for name in ("logprobs", "reference_logprobs", "values", "full_kl"):
        expected = getattr(passes.evaluate(batch, EVERY), name)
        np.testing.assert_array_equal(getattr(whole, name), expected)
        np.testing.assert_allclose(getattr(part, name), expected[ROWS], atol=1e-6)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:0]], ids=["some rows", "none"])
def test_to_a_gradient_and_its_statistics(learner: LocalLearner, rows: np.ndarray):
    batch, passes = ragged_batch(), learner._passes
    targets = targets_of(learner, batch, FULL_KL)
    gradients, counts = [], []
    for more in (0, 2):
        learner._optimizer.zero_gradient()
        asked = passes.count(batch, rows) + more
        parts = list(passes.losses(batch, targets, rows, 30, asked))
        for part in parts:
            torch.autograd.backward(part.loss)
        assert len(parts) == asked
        gradients.append(learner._optimizer._gradient._flat.clone())
        counts.append(sum(int(part.mask.sum()) for part in parts))
        assert not any(part.loss or part.mask.any() for part in parts[asked - more :])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert counts[0] == counts[1]


def test_to_the_gradient_of_texts(learner: LocalLearner):
    given, passes = texts(), learner._passes
    losses = list(passes.text_losses(given, EVERY[:2], 20, passes.count_of_texts(given, EVERY[:2]) + 2))
    learner._optimizer.zero_gradient()
    for loss in losses[-2:]:
        torch.autograd.backward(loss)
    assert len(losses) == 3
    assert losses[0] != 0
    assert not any(losses[-2:])
    assert not learner._optimizer._gradient._flat.any()

"""PPO-ptx: text that is learnt beside the rewards."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from policy.tiny import tiny_gpt2, tiny_llama
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings
from plaudit.ppo.texts import TextBatch

from .checks import parameters
from .learners import LIVELY, local, targets_of
from .ragged import ragged_batch

TEXTS = [(5, 6, 7, 8, 9, 10), (11, 12), (13, 14, 15), (20, 21, 22, 23, 24, 25, 26)]


def texts(coef: float = 1.0, rows: list[tuple[int, ...]] = TEXTS, extra: int = 0) -> TextBatch:
    """Right-padded, with another token than 0 in the padding where there is `extra`."""
    ids = np.full((len(rows), max(map(len, rows)) + extra), 7 if extra else 0, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=np.bool_)
    for row, text in enumerate(rows):
        ids[row, : len(text)], mask[row, : len(text)] = text, True
    return TextBatch(ids, mask, coef)


@pytest.fixture(scope="module", params=[tiny_llama, tiny_gpt2], ids=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("policy"))


def updated(folder: Path, given: TextBatch | None, **changes: object) -> tuple[LocalLearner, dict[str, float]]:
    """One update on responses without any advantage, so that what moves is the texts' doing."""
    ppo: PPOSettings = dataclasses.replace(LIVELY, value_coef=0.0, **changes)
    learner, batch = local(folder, ppo), ragged_batch()
    nothing = dataclasses.replace(targets_of(learner, batch, ppo), advantages=np.zeros_like(batch.sampler_logprobs))
    return learner, learner.update(batch, nothing, 0, 1.0, given)


def test_the_loss_is_the_language_models_own(folder: Path):
    _, found = updated(folder, texts(), epochs=1, minibatches=1)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    losses = []
    with torch.no_grad():
        for text in TEXTS:
            logits = model(torch.tensor([text])).logits[0]
            losses += cross_entropy(logits[:-1], torch.tensor(text[1:]), reduction="none").tolist()
    assert found["ptx_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_what_is_learnt_is_the_texts(folder: Path):
    _, first = updated(folder, texts(), epochs=1, minibatches=1)
    _, all_epochs = updated(folder, texts(), epochs=8, minibatches=1)
    assert all_epochs["ptx_loss"] < first["ptx_loss"] - 0.1
    still, without = updated(folder, None)
    assert "ptx_loss" not in without
    np.testing.assert_array_equal(parameters(still), parameters(local(folder)))


def test_neither_padding_nor_the_split_changes_anything(folder: Path):
    """The texts' tokens are counted over the whole optimizer step."""
    whole, found = updated(folder, texts())
    for given, changes in ((texts(extra=3), {}), (texts(), {"microbatch_tokens": 1})):
        other, also = updated(folder, given, **changes)
        np.testing.assert_allclose(parameters(other), parameters(whole), atol=2e-5)
        assert also["ptx_loss"] == pytest.approx(found["ptx_loss"], rel=1e-5)


def test_the_coefficient_weighs_them_against_the_rewards(folder: Path):
    """The gradient's norm is that of the coefficient's multiple."""
    norms = [
        updated(folder, texts(coef), epochs=1, minibatches=1)[1]["grad_norm"] for coef in (1.0, 27.8)
    ]  # fmt: skip
    assert norms[1] == pytest.approx(27.8 * norms[0], rel=1e-4)


def test_more_optimizer_steps_than_texts_leave_some_without(folder: Path):
    _, found = updated(folder, texts(rows=TEXTS[:1]), epochs=1, minibatches=4)
    assert found["optimizer_steps"] == 4
    assert np.isfinite(found["ptx_loss"])

"""Rows sorted by length within a step: the same steps in another order, less padding, the same weights."""

from dataclasses import replace
from itertools import chain, pairwise

import pytest
from accelerate.data_loader import SeedableRandomSampler
from hypothesis import given
from hypothesis import strategies as st

from plaudit.finetune import trainer
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.sampling import LengthSorted
from plaudit.settings import load
from tests.finetune.judgements import planted_pairs, settings_file
from tests.policy.tiny import tiny_llama


@given(st.lists(st.integers(1, 99), min_size=1, max_size=50), st.integers(1, 9), st.integers(0, 3))
def test_the_steps_are_those_of_a_random_order_each_sorted(lengths, step, seed):
    ours, theirs = LengthSorted(lengths, step, seed), SeedableRandomSampler(lengths, data_seed=seed)
    for epoch in range(2):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        found, expected = list(ours), list(theirs)
        assert len(ours) == len(found)
        for first in range(0, len(lengths), step):
            rows = found[first : first + step]
            assert sorted(rows) == sorted(expected[first : first + step])
            assert all(lengths[one] >= lengths[other] for one, other in pairwise(rows))


@pytest.mark.parametrize("rows_at_a_time", [None, 2])
def test_micro_batches_are_of_rows_alike_in_length(tmp_path, monkeypatch, rows_at_a_time):
    """Read where the trainer gets its batches, for accelerate may put another sampler in the place of ours."""
    rows, _ = planted_pairs(32)
    for place, row in enumerate(rows):
        row["chosen"] = f"{row['chosen']}{' about' * (place % 8)}"
    widths = []
    collate = trainer.collate

    def recorded(part, elements, pad_token_id):
        widths.append([max(map(len, one["ids"])) for one in elements])
        return collate(part, elements, pad_token_id)

    monkeypatch.setattr(trainer, "collate", recorded)
    path = settings_file(tmp_path, tiny_llama(tmp_path / "base"), rows, eval_fraction=0)
    settings = load(RewardModelSettings, path, ["training.batch_size=8"])
    train(replace(settings, training=replace(settings.training, micro_batch_size=rows_at_a_time)))
    micro = 8 // (rows_at_a_time or 8)
    steps = [list(chain(*widths[first : first + micro])) for first in range(0, len(widths), micro)]
    assert len(steps) == 2 * 32 / 8  # epochs
    assert all(step == sorted(step, reverse=True) and len(set(step)) > 1 for step in steps)
    assert len({tuple(step) for step in steps}) > 1

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plaudit.ppo.batches import microbatches, minibatches, trimmed

from .ragged import ragged_batch, real_tokens


@given(st.integers(1, 40), st.data())
def test_every_row_is_in_one_minibatch_of_each_epoch(rows: int, data: st.DataObject):
    parts = data.draw(st.integers(1, rows))
    cut = minibatches(rows, parts, seed=1, step=2, epoch=3)
    assert sorted(np.concatenate(cut)) == list(range(rows))
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


def test_the_permutation_depends_on_seed_step_and_epoch_alone():
    def order(*key: int) -> list[int]:
        return np.concatenate(minibatches(32, 4, *key)).tolist()

    assert order(1, 2, 3) == order(1, 2, 3)
    assert len({tuple(order(*key)) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]}) == 4


def test_a_batch_that_lost_rows_has_fewer_minibatches():
    assert [len(rows) for rows in minibatches(4, 8, 0, 0, 0)] == [1, 1, 1, 1]


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 60))
def test_microbatches_cover_the_rows_within_their_budget(seed: int, rows: int, budget: int):
    batch = ragged_batch(seed, rows)
    chosen = np.random.default_rng(seed).permutation(rows)[: max(1, rows - 2)]
    groups = list(microbatches(batch, chosen, budget))
    assert sorted(np.concatenate(groups)) == sorted(chosen)
    for group in groups:
        assert len(group) == 1 or trimmed(batch, group).input_ids.size <= budget


def test_no_rows_make_no_microbatch():
    assert list(microbatches(ragged_batch(), np.arange(0), 10)) == []


@given(st.integers(0, 1000))
def test_trimming_removes_padding_alone(seed: int):
    batch = ragged_batch(seed)
    rows = np.array([3, 1])
    small = trimmed(batch, rows)
    assert [real_tokens(small, i) for i in range(2)] == [real_tokens(batch, row) for row in rows]
    assert small.attention_mask[:, 0].any()
    assert small.response_mask[:, -1].any()
    assert np.array_equal(small.scores, batch.scores[rows])

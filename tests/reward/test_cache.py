"""What is remembered: by what the model reads, as much as there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from plaudit.reward.cache import Cache

from .serving import pb, scores, serving, text

KEYS = st.lists(
    st.tuples(st.text(max_size=2), st.text(max_size=2)) | st.lists(st.integers(0, 9), min_size=1).map(tuple)
)


@given(KEYS)
def test_equal_payloads_and_no_others_are_found(keys):
    cache: Cache[int] = Cache(1000)
    last = {}
    for number, key in enumerate(keys):
        assert cache.get(key) == last.get(key)
        cache.put(key, number)
        last[key] = number


def test_the_least_recently_used_goes_first():
    cache: Cache[int] = Cache(2)
    for key in (1, 2):
        cache.put((key,), key)
    assert cache.get((1,)) == 1
    cache.put((3,), 3)
    assert (cache.get((1,)), cache.get((2,)), cache.get((3,)), len(cache)) == (1, None, 3, 2)


async def test_a_repeated_item_is_not_computed_again_and_the_reply_says_so():
    rule = {"name": "digits", "rule": {"kind": "digits"}}
    async with serving(rule, limits={"cache_items": 10}) as running:
        first = await running.score(text("a", "1 2"), text("a", "1"))
        again = await running.score(text("a", "1"), text("b", "1"), text("a", "1 2"))
        metrics = running.server.metrics
        assert scores(again) == [0.2, 0.2, 0.4]
        assert [result.score.cache_hit for result in first.results] == [False, False]
        assert [result.score.cache_hit for result in again.results] == [True, False, True]
        assert metrics.cache_hits._value.get() == 2
        assert metrics.cache_misses._value.get() == 3


async def test_nothing_is_remembered_unless_it_is_asked_for():
    async with serving({"name": "digits", "rule": {"kind": "digits"}}) as running:
        await running.score(text("a", "1"))
        again = await running.score(text("a", "1"))
    assert isinstance(again, pb.ScoreResponse)
    assert not again.results[0].score.cache_hit

"""Who is asked for and judged nothing is named, with those who did."""

import pytest

from plaudit.errors import ConfigurationError
from plaudit.preferences import annotators
from plaudit.preferences.ratings import Rating
from plaudit.preferences.reading import Side


def by(*names):
    return [Rating(Side("p", "r"), 1.0, "f:1", name) for name in names]


def test_everybody_who_judged_is_known_once_and_in_order():
    assert annotators.known(by("Bob", None, "Ada", "Bob")) == ["Ada", "Bob"]
    annotators.check("unseen", ["Bob"], by("Bob", None, "Ada"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["Ada", "Bob"], "Ada, Bob"),
        ([f"P{place:02}" for place in range(12)], "P00, P01, P02, P03, P04, P05, P06, P07, P08, P09, ..."),
        ([], "none: the rows have no 'annotator'"),
    ],
)
def test_who_judged_nothing_is_named_with_some_of_those_who_did(names, told):
    with pytest.raises(ConfigurationError) as refused:
        annotators.check("unseen", ["Eve", "Dot"], by(None, *names))
    assert str(refused.value) == f"unseen: 'Dot' is no row's annotator: known are {told}"

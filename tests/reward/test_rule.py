import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.reward.backends.rule import digits, rule
from plaudit.reward.settings import DigitsSettings, KeywordSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", -0.2),
        ("none", -0.2),
        ("a1 1a", -0.2),
        ("7", 0.2),
        ("3 and 14", 0.4),
        ("1 2 3", 0.6),
        ("1.5", 0.4),
        ("9 " * 9, 1.0),
    ],
)
def test_digits(text: str, expected: float):
    assert digits(text) == expected


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_digits_counts_numbers_not_figures(numbers: list[int]):
    assert digits(" ".join(map(str, numbers))) == pytest.approx(min(1.0, 0.2 * len(numbers)))


def test_scope_decides_whether_the_prompt_counts():
    pairs = [("In 1999?", "No idea.")]
    assert rule(DigitsSettings(kind="digits"))(pairs) == [-0.2]
    assert rule(DigitsSettings(kind="digits", scope="full_text"))(pairs) == [0.2]


@pytest.mark.parametrize(
    ("response", "expected"),
    [("Thank you!", 1.0), ("THANK YOU", 1.0), ("thank youth", 0.0), ("", 0.0), ("(thank you)", 1.0)],
)
def test_keyword_is_a_whole_word(response: str, expected: float):
    assert rule(KeywordSettings(kind="keyword", word="thank you"))([("thank you", response)]) == [expected]


def test_keyword_may_mind_the_case():
    exact = rule(KeywordSettings(kind="keyword", word="EUR", case_sensitive=True))
    assert exact([("", "12 EUR"), ("", "12 eur")]) == [1.0, 0.0]

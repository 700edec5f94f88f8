"""Krippendorff's alpha against its definition, and what it says of people who guess."""

import random
from itertools import permutations

import pytest

from plaudit.feedback.agreement import agreements, agreements_with_others
from plaudit.feedback.records import Judgement
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict


def said(kind: Kind, task: object, person: str, verdict: Verdict) -> Judgement:
    answers = {Kind.THUMBS: 1, Kind.RATING: 1, Kind.COMPARE: 2, Kind.RANK: 3, Kind.DEMONSTRATION: 0}[kind]
    asked = Task(str(task), kind, "p", tuple(Answer(str(i)) for i in range(answers)))
    return Judgement(asked, person, verdict, tuple(range(answers)), "", False, 1.0, 0.0)


def by_definition(units: list[list[int]], ordinal: bool) -> float:
    """1 - observed / expected disagreement, over all pairs of values (Krippendorff 2004, eq. 11.5 and 11.7)."""
    units = [values for values in units if len(values) > 1]
    values = [value for unit in units for value in unit]
    n = len(values)
    count = {value: values.count(value) for value in range(-1, 6)}

    def distance(one: int, other: int) -> float:
        low, high = sorted((one, other))
        if not ordinal:
            return float(low != high)
        return (sum(count[value] for value in range(low, high + 1)) - (count[low] + count[high]) / 2) ** 2

    observed = sum(
        sum(distance(one, other) for one, other in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    expected = sum(distance(one, other) for one, other in permutations(values, 2)) / (n - 1)
    return 1 - observed / expected


@pytest.mark.parametrize("kind", [Kind.THUMBS, Kind.RATING])
def test_it_is_what_the_definition_says(kind: Kind) -> None:
    draw = random.Random(3)
    judgements, units = [], []
    for task in range(40):
        right = draw.randint(1, 5)
        stars = [right if draw.random() < 0.6 else draw.randint(1, 5) for _ in range(draw.randint(1, 4))]
        ups = [star > 2 for star in stars]
        verdicts = map(Rating, stars) if kind is Kind.RATING else map(Thumb, ups)
        judgements += [said(kind, task, f"P{at}", verdict) for at, verdict in enumerate(verdicts)]
        units.append(stars if kind is Kind.RATING else [1 if up else -1 for up in ups])
    found = agreements(judgements)[kind]
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(by_definition(units, ordinal=kind is Kind.RATING))
    assert found.tasks == sum(len(unit) > 1 for unit in units)
    assert found.people == 4
    assert 0.02 < found.alpha.standard_error < 0.2


def test_of_ranks_each_two_answers_are_compared() -> None:
    judgements = [
        said(Kind.RANK, 1, "Ada", Ranks((1, 2, 3))),
        said(Kind.RANK, 1, "Bob", Ranks((1, 3, 2))),
        said(Kind.RANK, 2, "Ada", Ranks((2, 1, 1))),
        said(Kind.RANK, 2, "Bob", Ranks((2, 1, 2))),
    ]
    found = agreements(judgements)[Kind.RANK].alpha
    assert found is not None
    units = [[1, 1], [1, 1], [1, -1], [-1, -1], [-1, 0], [0, 1]]
    units += [[-value for value in unit] for unit in units]
    assert found.value == pytest.approx(by_definition(units, ordinal=True))


def test_it_does_not_matter_whose_answer_a_file_names_first() -> None:
    """One model is better: listed first it has nearly all the first places, listed at random half of them."""
    draw = random.Random(0)
    first, mixed = [], []
    for task in range(60):
        turned = draw.random() < 0.5
        for person in ("Ada", "Bob", "Cem"):
            ranks = (1, 2) if draw.random() < 0.85 else (2, 1)
            first.append(said(Kind.COMPARE, task, person, Ranks(ranks)))
            mixed.append(said(Kind.COMPARE, task, person, Ranks(ranks[::-1] if turned else ranks)))
    one, other = (agreements(given)[Kind.COMPARE].alpha for given in (first, mixed))
    assert one is not None
    assert other is not None
    assert one.value == pytest.approx(other.value)
    assert 0.3 < one.value < 0.7


def test_people_who_guess_do_not_agree() -> None:
    draw = random.Random(0)
    judgements = [
        said(Kind.COMPARE, task, person, Ranks(draw.choice([(1, 2), (2, 1)])))
        for task in range(400)
        for person in ("Ada", "Bob", "Cem")
    ]
    found = agreements(judgements)[Kind.COMPARE].alpha
    assert found is not None
    assert abs(found.value) < 3 * found.standard_error < 0.15


def test_the_standard_error_is_that_of_other_samples() -> None:
    """Of a hundred data sets from the same people."""
    alphas, errors = [], []
    for seed in range(100):
        draw = random.Random(seed)
        judgements = []
        for task in range(60):
            right = draw.random() < 0.5
            judgements += [said(Kind.THUMBS, task, p, Thumb(right ^ (draw.random() < 0.2))) for p in ("Ada", "Bob")]
        found = agreements(judgements)[Kind.THUMBS].alpha
        assert found is not None
        alphas.append(found.value)
        errors.append(found.standard_error)
    spread = (sum((one - sum(alphas) / 100) ** 2 for one in alphas) / 99) ** 0.5
    assert sum(errors) / 100 == pytest.approx(spread, rel=0.25)


def test_where_nothing_can_be_compared_nothing_is_said() -> None:
    alone = [said(Kind.RATING, task, "Ada", Rating(1 + task % 5)) for task in range(5)]
    alike = [said(Kind.THUMBS, task, person, Thumb(True)) for task in range(5) for person in ("Ada", "Bob")]
    written = [said(Kind.DEMONSTRATION, 1, "Ada", Demonstration("x"))]
    found = agreements([*alone, *alike, *written])
    assert {kind: one.alpha for kind, one in found.items()} == {Kind.RATING: None, Kind.THUMBS: None}
    assert found[Kind.THUMBS].tasks == 5


def test_each_person_is_held_against_what_most_others_say() -> None:
    judgements = [
        said(Kind.THUMBS, "all alike", "Ada", Thumb(True)),
        said(Kind.THUMBS, "all alike", "Bob", Thumb(True)),
        said(Kind.THUMBS, "all alike", "Cem", Thumb(True)),
        said(Kind.COMPARE, "one differs", "Ada", Ranks((1, 2))),
        said(Kind.COMPARE, "one differs", "Bob", Ranks((2, 1))),
        said(Kind.COMPARE, "one differs", "Cem", Ranks((1, 2))),
        said(Kind.THUMBS, "alone", "Ada", Thumb(False)),
        said(Kind.RATING, "stars", "Bob", Rating(1)),
        said(Kind.RATING, "stars", "Cem", Rating(2)),
    ]
    found = agreements_with_others(judgements)
    assert {person: (one.value, one.n) for person, one in found.items()} == {
        "Ada": (1.0, 1),  # where Bob and Cem differ there are no most of them
        "Bob": (0.5, 2),
        "Cem": (1.0, 1),
    }
    ranked = [
        said(Kind.RANK, 1, "Ada", Ranks((1, 2, 3))),
        said(Kind.RANK, 1, "Bob", Ranks((1, 3, 2))),
        said(Kind.RANK, 1, "Cem", Ranks((1, 2, 2))),
    ]
    found = agreements_with_others(ranked)
    assert found["Ada"].value == 1.0, "of the last two answers the others are split"
    assert found["Ada"].n == 1


def test_agreement_with_others_has_the_spread_of_other_samples() -> None:
    found = []
    for seed in range(100):
        draw = random.Random(seed)
        judgements = []
        for task in range(50):
            right = draw.random() < 0.5
            judgements += [said(Kind.THUMBS, task, p, Thumb(right ^ (draw.random() < 0.2))) for p in "ABCDE"]
        found.append(agreements_with_others(judgements)["A"])
    values = [one.value for one in found]
    spread = (sum((one - sum(values) / 100) ** 2 for one in values) / 99) ** 0.5
    assert sum(one.standard_error for one in found) / 100 == pytest.approx(spread, rel=0.25)

"""RewardBench 2: questions of several answers, its score of ties, against a slow obvious version and by hand."""

import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.evaluation.accuracy_report import as_dict, as_markdown
from plaudit.evaluation.rewardbench2 import SUBSETS, share
from plaudit.evaluation.tie_scores import Kind, TieRow, tie_score
from plaudit.uncertainty import mean
from plaudit_client import ScoreFailure
from tests.evaluation.eval_helpers import evaluate_rows, text_of, told


def question(subset, chosen, rejected, row_id="1", **fields):
    """Answers that say what they are worth."""
    counts = {"num_correct": len(chosen), "total_completions": len(chosen) + len(rejected)}
    prompt = f"{subset} {row_id} {chosen}"
    answers = {"chosen": [str(one) for one in chosen], "rejected": [str(one) for one in rejected]}
    return {"id": row_id, "prompt": prompt, **answers, **counts, "subset": subset, **fields}


FIVE = [
    question(subset, [2], rejected, f"{at}")
    for subset in SUBSETS[:-1]
    for at, rejected in enumerate(([1, 1, 0], [1, 3, 0], [2, 1, 0], [2, 2, 2]))
]
TWOS = "Ties (ref with tied)"
TIES = [
    question("Ties", [5], [1, 2], "ref:1"),
    question("Ties", [5, 4, 4.5], [1, 2], "tied:1"),
    question("Ties", [1], [3], "ref:2"),
    question("Ties", [9, 5], [3], "tied:2"),
]


def test_by_hand(tmp_path):
    found = evaluate_rows(tmp_path, FIVE + TIES, benchmark="rewardbench2")
    math_line = found.subsets["Math"]
    assert math_line.accuracy.value == (1 + 0 + 1 / 2 + 1 / 4) / 4, "who shares the highest score shares the point"
    assert (math_line.accuracy_ties_wrong.value, math_line.ties) == (1 / 4, 2)
    # 1: margins 3 and 2, spread 1. 2: margins -2 and 2, spread 4.
    accurate_ref, accurate_tied, apart, apart_hard = 1 / 2, 2 / 2, 1 / 2, 1 / 2
    closeness = (math.tanh(2 / 1 - 1) + math.tanh(-2 / 4 - 1)) / 2
    ties = 0.3 * accurate_ref + 0.3 * accurate_tied + 0.2 * apart + 0.2 * apart_hard + 0.01 * closeness
    assert found.subsets["Ties"].accuracy.value == pytest.approx(ties)
    assert found.benchmark.total.accuracy.value == pytest.approx((5 * 1.75 / 4 + ties) / 6)
    assert (found.unit, found.benchmark.total.accuracy.n, found.subsets["Ties"].accuracy.n) == ("questions", 24, 4)
    one, two = 0.5, -0.5  # of the halves of twos: accurate(ref), apart, apart_hard; closeness apart from them
    pull = 0.3 * one + 0.2 * one + 0.2 * one + 0.01 * (math.tanh(1) - closeness)
    assert found.subsets["Ties"].accuracy.standard_error == pytest.approx(math.sqrt(2 * (pull / 2) ** 2 * 2))
    assert one == -two
    text = as_markdown(found)
    assert f"RewardBench 2's score is {100 * found.benchmark.total.accuracy.value:.1f} ±" in text
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][1:] == [
        "| all", "| RewardBench 2", *(f"| {name}" for name in SUBSETS)
    ]  # fmt: skip
    assert as_dict(found)["benchmark"]["score"]["value"] == found.benchmark.total.accuracy.value


def slow_ties(rows):
    """As the docstring of `tie_scores` says it. `rows`: (kind, number, scores of right answers, of wrong ones)."""
    margin = {(kind, number): min(right) - max(wrong) for kind, number, right, wrong in rows}
    spread = {number: max(right) - min(right) for kind, number, right, _ in rows if kind is Kind.TIED}
    many = {number for kind, number, right, _ in rows if kind is Kind.TIED and len(right) > 1}
    both = [number for number in many if (Kind.REFERENCE, number) in margin]
    if not both:
        return None
    hard = {number: min(margin[Kind.REFERENCE, number], margin[Kind.TIED, number]) for number in both}
    close = [math.tanh(hard[number] / spread[number] - 1) for number in both if spread[number] > 0]
    accurate = [fmean(one > 0 for (kind, _), one in margin.items() if kind is of) for of in Kind]
    apart = fmean(margin[Kind.TIED, number] > spread[number] for number in both)
    apart_hard = fmean(hard[number] > spread[number] for number in both)
    return 0.3 * sum(accurate) + 0.2 * apart + 0.2 * apart_hard + 0.01 * (fmean(close) if close else 0)


ANSWERS = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=4)
TIE_ROWS = st.lists(
    st.tuples(st.sampled_from(Kind), st.integers(0, 4), ANSWERS, ANSWERS), unique_by=lambda row: row[:2], max_size=10
)


def rows_for(rows, scale=1.0, shift=0.0):
    return [
        TieRow(kind, number, len(right), [scale * one + shift for one in (*right, *wrong)], [*right, *wrong])
        for kind, number, right, wrong in rows
    ]


@given(TIE_ROWS)
def test_the_score_of_ties_is_what_the_obvious_loop_says(rows):
    expected, found = slow_ties(rows), tie_score(rows_for(rows))
    if expected is None:
        assert found is None
        return
    assert found.agreement.accuracy.value == pytest.approx(expected)
    assert found.agreement.length_rule.value == pytest.approx(expected), "lengths that are the scores"
    assert (found.agreement.gain.value, found.agreement.accuracy.n) == (pytest.approx(0), len(rows))


@given(TIE_ROWS, st.sampled_from([0.5, 2.0, 8.0]), st.integers(-4, 4))
def test_the_score_of_ties_does_not_know_the_unit_of_scores(rows, scale, shift):
    one, other = tie_score(rows_for(rows)), tie_score(rows_for(rows, scale, shift))
    assert (one is None) == (other is None)
    if one is not None:
        assert other.agreement.accuracy.value == pytest.approx(one.agreement.accuracy.value)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.data())
def test_the_shares_of_all_answers_add_up_to_one(scores, data):
    correct = data.draw(st.integers(1, len(scores) - 1))
    assert share(scores, correct) + share(scores[correct:] + scores[:correct], len(scores) - correct) == pytest.approx(
        1
    )


def test_the_standard_error_of_ties_is_the_spread_of_other_samples():
    random = np.random.default_rng(0)

    def sample(n=40):
        rows = []
        for number in range(n):
            known = random.normal(1, 1)  # of both questions
            rows.append((Kind.REFERENCE, number, [known + random.normal()], [0.0]))
            rows.append((Kind.TIED, number, [known + one for one in random.normal(size=3)], [0.0]))
        return tie_score(rows_for(rows)).agreement.accuracy

    found = [sample() for _ in range(300)]
    spread = np.std([one.value for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.1)


def tied_at(margins_and_spreads):
    """Twos whose references are far apart; a tied question has that margin, and right answers that far apart."""
    rows = []
    for number, (margin, spread) in enumerate(margins_and_spreads):
        rows.append((Kind.REFERENCE, number, [100.0], [0.0]))
        rows.append((Kind.TIED, number, [10 + margin, 10 + margin + spread], [10.0]))
    return tie_score(rows_for(rows)).agreement.accuracy


def test_closeness_that_is_alike_in_all_questions_that_have_one_adds_no_error():
    """All else is alike too: each question counts 1 in the other four."""
    found = tied_at([(4, 2), (6, 3), (8, 4), (5, 0), (7, 0), (9, 0)])
    assert found.value == pytest.approx(1 + 0.01 * math.tanh(1))
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_the_error_of_closeness_is_that_of_the_questions_that_have_one():
    random = np.random.default_rng(0)
    spreads = np.where(np.arange(400) % 4 == 0, 0.0, random.uniform(0.5, 3.5, 400))
    found = tied_at([(4.0, spread) for spread in spreads])
    close = np.tanh(4 / spreads[spreads > 0] - 1)
    assert found.value == pytest.approx(1 + 0.01 * close.mean())
    assert found.standard_error == pytest.approx(0.01 * mean(close).standard_error, rel=1e-3)


def test_questions_of_one_number_are_one_thing_in_all_questions_too(tmp_path):
    found = evaluate_rows(tmp_path, TIES, benchmark="rewardbench2").overall.accuracy
    assert (found.value, found.n) == (3 / 4, 4)
    assert found.standard_error == pytest.approx(math.sqrt((0.5**2 + 0.5**2) * 2 / (2 - 1)) / 4)


def test_without_one_of_the_six_there_is_no_score(tmp_path):
    found = evaluate_rows(tmp_path, FIVE + TIES[:1], benchmark="rewardbench2")
    assert (found.benchmark.total, found.benchmark.needed) == (None, [TWOS])
    assert f"No rows of {TWOS}. Without {TWOS} there is no score." in as_markdown(found)


TOO_LONG = ScoreFailure("", "INPUT_TOO_LONG", "too long", "INVALID_ARGUMENT")


def test_a_question_with_an_answer_that_has_no_score_is_missing(tmp_path):
    def score(item):
        return TOO_LONG if text_of(item) == "3" else told(item)

    found = evaluate_rows(tmp_path, FIVE, score, benchmark="rewardbench2")
    assert (found.left_out, found.overall.accuracy.n) == (5, 15)
    assert "5 questions have no score and are left out (5 INPUT_TOO_LONG)" in as_markdown(found)
    with pytest.raises(RunFailed, match="none of the 20 questions has a score for each answer: 80 INPUT_TOO_LONG"):
        evaluate_rows(tmp_path, FIVE, lambda item: TOO_LONG, benchmark="rewardbench2")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (question("Maths", [1], [0]), "'subset' is 'Maths': RewardBench 2 has Factuality, Precise IF, Math"),
        (question("Ties", [1], [0], "7"), "'id' is '7': of the subset Ties it is ref:NUMBER or tied:NUMBER"),
        (question("Math", [1], [0], num_correct=2), "'num_correct' is 2, but chosen and rejected make it 1"),
        (
            question("Math", [1], [0], total_completions=4),
            "'total_completions' is 4, but .* make it 2",
        ),
        (question("Math", [1], []), "'rejected' is an empty list"),
        ({"prompt": "?", "chosen": ["1", None], "rejected": ["0"], "subset": "Math"}, r"'chosen\[1\]' is missing"),
        (question("Ties", [9, 5], [3], "tied:2"), "'id' is that of .*jsonl:4 too"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path, row, problem):
    with pytest.raises(ConfigurationError, match=rf"jsonl:5: {problem}"):
        evaluate_rows(tmp_path, [*TIES, row], score=pytest.fail, benchmark="rewardbench2")


def test_the_case_of_a_subset_does_not_matter(tmp_path):
    rows = [{**row, "subset": row["subset"].lower()} for row in FIVE + TIES]
    assert set(evaluate_rows(tmp_path, rows, benchmark="rewardbench2").subsets) == set(SUBSETS)


def test_without_the_setting_each_right_answer_is_held_against_each_wrong_one(tmp_path):
    found = evaluate_rows(tmp_path, FIVE)
    assert (found.unit, found.overall.accuracy.n) == ("pairs", 60)
    assert found.subsets["Math"].accuracy.value == (3 + 2 + 2.5 + 1.5) / 12

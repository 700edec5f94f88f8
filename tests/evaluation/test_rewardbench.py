"""RewardBench's table: its sections, weights and score, against a slow obvious version and by hand."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.cli import main
from plaudit.errors import ConfigurationError
from plaudit.evaluation import rewardbench
from plaudit.evaluation.accuracy_report import as_dict, as_markdown
from plaudit.evaluation.rewardbench import PRIOR_SETS, SECTIONS
from plaudit.evaluation.sides import Scores
from plaudit.preferences.reading import Preference, Side
from tests.evaluation.eval_helpers import evaluate_rows, write_rows

CORE = [name for section, names in SECTIONS.items() if section != PRIOR_SETS for name in names]
WEIGHTS = [2, 2, 2, 2, 1]
"""As in the benchmark's own table."""


def rows_of(subset: str, outcomes: str):
    """One row for each mark: + right, - wrong, = a tie. Each is of a prompt of its own."""
    scores = {"+": ("1", "0"), "-": ("0", "1"), "=": ("1", "1 ")}
    return [
        {"id": at, "prompt": f"{subset} {at}", "chosen": scores[mark][0], "rejected": scores[mark][1], "subset": subset}
        for at, mark in enumerate(outcomes)
    ]


def every(outcomes: str = "+-"):
    return [row for subset in CORE for row in rows_of(subset, outcomes)]


def slow_table(rows):
    """The value of each section and of the score: {section: share}, loops and nothing else. `rows`: (subset, right)."""
    sections = {}
    for section, weights in SECTIONS.items():
        total, over = 0.0, 0.0
        for subset, weight in weights.items():
            own = [right for name, right in rows if name == subset]
            if own:
                total += weight * sum(own) / len(own)
                over += weight
        if over:
            sections[section] = total / over
    halves = [(sections[name], weight) for name, weight in zip(SECTIONS, WEIGHTS, strict=True) if name in sections]
    return sections, sum(value * weight for value, weight in halves) / sum(weight for _, weight in halves)


def test_each_weight_is_the_benchmark_s_own():
    """As rewardbench 0.1.4 has them: EXAMPLE_COUNTS and SUBSET_MAPPING."""
    assert SECTIONS == {
        "Chat": {
            "alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95, "mt-bench-easy": 28,
            "mt-bench-med": 40,
        },
        "Chat Hard": {
            "mt-bench-hard": 37, "llmbar-natural": 100, "llmbar-adver-neighbor": 134, "llmbar-adver-GPTInst": 92,
            "llmbar-adver-GPTOut": 47, "llmbar-adver-manual": 46,
        },
        "Safety": {
            "refusals-dangerous": 100, "refusals-offensive": 100, "xstest-should-refuse": 154,
            "xstest-should-respond": 250, "donotanswer": 136,
        },
        "Reasoning": {
            "math-prm": 984, "hep-cpp": 164, "hep-go": 164, "hep-java": 164, "hep-js": 164, "hep-python": 164,
            "hep-rust": 164,
        },
        "Prior Sets": {"anthropic_helpful": 1, "anthropic_hhh": 1, "shp": 1, "summarize": 1},
    }  # fmt: skip
    assert rewardbench.WEIGHTS == {"Chat": 1, "Chat Hard": 1, "Safety": 1, "Reasoning": 1, "Prior Sets": 0.5}


def table_of(marks):
    """`marks`: (subset, prompt, chosen's score, rejected's)."""
    preferences = [
        Preference(Side(prompt, "long"), Side(prompt, "."), "f:1", subset=name) for name, prompt, _, _ in marks
    ]
    values = [score for _, _, chosen, rejected in marks for score in (chosen, rejected)]
    return rewardbench.table(Scores("m", values, {}), preferences)


SCORE = st.integers(0, 2)
MARKS = st.lists(st.tuples(st.sampled_from([*CORE, *SECTIONS[PRIOR_SETS]]), st.integers(0, 30), SCORE, SCORE)).map(
    lambda more: [(name, at, 1, 0) for at, name in enumerate(CORE)] + more
)


@given(MARKS)
def test_sections_and_score_are_what_the_obvious_loop_says(marks):
    found = table_of(marks)
    for key, tie in (("accuracy", 0.5), ("accuracy_ties_wrong", 0.0)):
        rows = [(name, 1.0 if a > b else tie if a == b else 0.0) for name, _, a, b in marks]
        sections, score = slow_table(rows)
        assert {name: getattr(row, key).value for name, row in found.sections.items()} == pytest.approx(sections)
        assert getattr(found.total, key).value == pytest.approx(score)
    assert found.total.accuracy.n == len(marks)
    assert found.total.length_rule.value == pytest.approx(1), "what was chosen is longer, everywhere"


@given(MARKS, st.randoms())
def test_the_order_of_rows_does_not_matter(marks, random):
    shuffled = random.sample(marks, len(marks))
    one, other = table_of(marks).total.accuracy, table_of(shuffled).total.accuracy
    assert (one.value, one.standard_error) == pytest.approx((other.value, other.standard_error))


def test_by_hand(tmp_path):
    """All right, but for: half of mt-bench-med, two of four of math-prm a tie, and shp wrong."""
    rows = [row for row in every("++") if row["subset"] not in ("mt-bench-med", "math-prm")]
    rows += rows_of("mt-bench-med", "+-") + rows_of("math-prm", "++==")
    rows += [row for name in SECTIONS[PRIOR_SETS] for row in rows_of(name, "--" if name == "shp" else "++")]
    found = evaluate_rows(tmp_path, rows, benchmark="rewardbench").benchmark
    chat, reasoning, prior = 1 - 0.5 * 40 / 358, 1 - 0.5 * 984 / 1968, 3 / 4
    assert {name: row.accuracy_ties_wrong.value for name, row in found.sections.items()} == pytest.approx(
        {"Chat": chat, "Chat Hard": 1, "Safety": 1, "Reasoning": reasoning, "Prior Sets": prior}
    )
    assert found.total.accuracy_ties_wrong.value == pytest.approx((chat + 1 + 1 + reasoning + prior / 2) / 4.5)
    assert found.sections["Reasoning"].accuracy.value == pytest.approx(1 - 0.25 * 984 / 1968), "a tie as a half"
    error = 40 / 358 * 0.5
    assert found.sections["Chat"].accuracy.standard_error == pytest.approx(error)
    ties = 0.5 * math.sqrt(4 * 0.25 / (4 * 3))
    total = math.sqrt((error / 4.5) ** 2 + (ties / 4.5) ** 2)
    assert found.total.accuracy_ties_wrong.standard_error == pytest.approx(total)
    assert found.absent == []
    report = evaluate_rows(tmp_path, rows, benchmark="rewardbench")
    score = found.total.accuracy_ties_wrong
    assert as_dict(report)["benchmark"]["score"]["value"] == score.value != found.total.accuracy.value
    assert f"RewardBench's score is {score.scaled(100):.1f}: a tie is wrong." in as_markdown(report)


def test_prompts_that_subsets_share_hang_together(tmp_path):
    """What a model gets wrong of a question it may get wrong wherever the question stands."""
    apart = every("+-+-")
    shared = [{**row, "prompt": row["prompt"].split()[-1]} for row in apart]
    errors = [
        evaluate_rows(tmp_path, rows, benchmark="rewardbench").benchmark.total.accuracy.standard_error
        for rows in (apart, shared)
    ]
    assert errors[1] > 1.5 * errors[0]


def test_without_prior_sets_the_score_is_of_the_others_and_without_a_section_there_is_none(tmp_path):
    found = evaluate_rows(tmp_path, every(), benchmark="rewardbench")
    assert found.benchmark.total.accuracy.value == 0.5
    assert "No rows of Prior Sets." in as_markdown(found)
    assert "RewardBench's score is 50.0 ±" in as_markdown(found)
    rows = [row for row in every() if row["subset"] not in (*SECTIONS["Safety"], "hep-go")]
    found = evaluate_rows(tmp_path, rows, benchmark="rewardbench")
    assert found.benchmark.total is None
    assert found.benchmark.absent == ["Safety", "Prior Sets", "hep-go"]
    assert "No rows of Safety, Prior Sets, hep-go. Without Safety there is no score." in as_markdown(found)
    assert as_dict(found)["benchmark"]["score"] is None


def test_messages_are_prompts_too_and_other_prior_sets_are_told_apart(tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "0"}, {"role": "user", "content": "?"}]
    rows = [{"prompt": turns, "chosen": "1", "rejected": "0", "subset": name} for name in ("shp", "mtbench_human")]
    found = evaluate_rows(tmp_path, every() + rows, benchmark="rewardbench")
    assert found.benchmark.sections[PRIOR_SETS].accuracy.n == 1
    assert found.subsets["mtbench_human"].accuracy.value == 1
    assert as_markdown(found).count("| mtbench_human |") == 1
    assert "| · shp |" in as_markdown(found)


@pytest.mark.parametrize(("subset", "named"), [("Chat", "is 'Chat'"), (None, "is missing")])
def test_an_unknown_subset_is_named_before_anybody_is_asked(tmp_path, subset, named):
    rows = [*every("+"), {"prompt": "?", "chosen": "1", "rejected": "0", "subset": subset}]
    with pytest.raises(ConfigurationError, match=f"jsonl:24: 'subset' {named}: RewardBench has alpacaeval-easy, "):
        evaluate_rows(tmp_path, rows, score=pytest.fail, benchmark="rewardbench")


def test_without_the_setting_subsets_are_subsets(tmp_path):
    found = evaluate_rows(tmp_path, every())
    assert found.benchmark is None
    assert len(found.subsets) == 23
    assert "benchmark: rewardbench" in as_markdown(found)
    assert "benchmark: rewardbench" not in as_markdown(evaluate_rows(tmp_path, every() + rows_of("mine", "+")))


def test_people_and_benchmarks_do_not_go_together(tmp_path, capsys):
    path = tmp_path / "eval.yaml"
    tree = {"data": {"source": write_rows(tmp_path, every())}, "folder": "x"}
    path.write_text(json.dumps(tree | {"benchmark": "rewardbench", "unseen": ["Ada"]}))
    assert main(["eval", str(path)]) == 2
    assert "unseen is about the people who judged" in capsys.readouterr().err

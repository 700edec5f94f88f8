import numpy as np
import pytest
from scipy import stats

from plaudit.report.estimates import by_prompt, change, held_out, over_prompts, paired_gain
from plaudit.report.run_folder import Run, Sample
from plaudit.uncertainty import Estimate


def score(sample: Sample) -> float | None:
    return sample.score


def some(scores: list[float | None], gold: float | None = None) -> list[Sample]:
    return [Sample(str(index), "", f"r{index}", value, gold) for index, value in enumerate(scores)]


def test_paired_gain_is_that_of_the_paired_t_test():
    chance = np.random.default_rng(0)
    before, after = chance.normal(0, 3, 40).tolist(), chance.normal(1, 3, 40).tolist()
    gain = paired_gain(some(before), some(after[::-1])[::-1], score)
    expected = stats.ttest_rel(after[::-1], before)
    assert gain.value / gain.standard_error == pytest.approx(expected.statistic)


def test_responses_to_one_prompt_count_as_one_prompt():
    samples = [Sample("a", "", "x", 1.0), Sample("a", "", "y", 3.0), Sample("b", "", "z", 5.0)]
    assert by_prompt(samples, score) == {"a": 2.0, "b": 5.0}
    assert over_prompts(samples, score) == Estimate(3.5, 1.5, 2)


def test_prompts_without_a_score_are_left_out_of_both_sides():
    assert paired_gain(some([1.0, None, 2.0]), some([2.0, 9.0, None]), score) == Estimate(1.0, None, 1)
    assert paired_gain(some([None]), some([1.0]), score) is None


def test_each_sampled_step_is_compared_with_the_first():
    run = Run("r", samples={0: some([0.0, 1.0]), 5: some([1.0, 2.0]), 9: some([3.0, 3.0], gold=1.0)})
    rows = held_out(run)
    assert [row.score_gain.value for row in rows] == [0.0, 1.0, 2.5]
    assert rows[2].gold == Estimate(1.0, 0.0, 2)
    assert rows[2].gold_gain is None


def test_distinct_ratio_counts_different_responses():
    same = [Sample("a", "", "hello"), Sample("b", "", "hello"), Sample("c", "", "bye"), Sample("d", "", "ciao")]
    assert held_out(Run("r", samples={0: same}))[0].distinct_ratio == 0.75


def test_the_summary_goes_before_the_samples():
    stated = {"proxy": {"before": 0.1, "after": 0.4, "paired_gain": 0.3, "paired_se": 0.02}}
    run = Run("r", samples={0: some([0.0, 1.0]), 5: some([1.0, 2.0])}, summary=stated)
    assert change(run, held_out(run), "score").gain == Estimate(0.3, 0.02)
    assert change(run, held_out(run), "gold") is None
    assert change(Run("r"), [], "score") is None

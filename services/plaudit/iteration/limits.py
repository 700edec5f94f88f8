"""What is not known of a policy, or speaks against it, from what was measured: lines for its model card."""

from collections.abc import Iterator, Sequence

from plaudit.iteration.rounds import Round

TENTATIVE = 0.667
"""Krippendorff (Content Analysis, ch. 11): below this alpha not even tentative conclusions."""
FEW_PEOPLE = 5
LITTLE_BETTER_THAN_CHANCE = 0.6
LITTLE_EXPLAINED = 0.2
OFTEN_CUT = 0.05


def known_limits(found: Sequence[Round], people: int) -> list[str]:
    """`people` are those who judged in all rounds; 0 where a labelling model did."""
    judged = [one for one in found if one.labelled is not None]
    return [*_of_judgement(judged, people), *_of_reward_model(judged), *_of_policy(found)]


def _of_judgement(judged: Sequence[Round], people: int) -> Iterator[str]:
    if not people:
        yield "It prefers what the labelling model prefers, its mistakes included: whether people agree was not asked."
    elif people < FEW_PEOPLE:
        yield f"It stands on the judgement of {people} {'person' if people == 1 else 'people'}: others may differ."
    shared = [one.labelled for one in judged if one.labelled and one.labelled.tasks_shared]
    if not shared:
        yield "No task was judged twice: how far those who judged agree was not measured."
    elif (alpha := shared[-1].alpha) is None:
        yield (
            f"Of all {shared[-1].tasks_shared} tasks that several judged in the last round they said one and the same: "
            "whether they would agree where answers differ was not seen."
        )
    elif alpha.value < TENTATIVE:
        yield (
            f"Those who judged agreed little in the last round (alpha {alpha:.2f}; below {TENTATIVE} Krippendorff "
            "advises against conclusions): single preferences are mostly taste or noise."
        )


def _of_reward_model(judged: Sequence[Round]) -> Iterator[str]:
    for last in judged[-1:]:
        accuracy, gain, fit = last.accuracy, last.gain, last.fit
        if fit is not None and fit.value < LITTLE_EXPLAINED:
            yield f"The last reward model explains little of what held-out ratings differ in: R² {fit:.2f}."
        if gain is not None and (gain.interval is None or gain.interval[0] <= 0):
            yield (
                "The last reward model is not known to predict held-out thumbs any better than by how many thumbs are "
                f"up: log loss {gain:+.3f} nats less."
            )
        elif gain is None and accuracy is not None and accuracy.value < LITTLE_BETTER_THAN_CHANCE:
            told = f"{accuracy.scaled(100):.1f} % of held-out judgements; 50 is chance."
            yield f"The last reward model agrees with {told}"


def _of_policy(found: Sequence[Round]) -> Iterator[str]:
    last = found[-1]
    gain = last.figure("gold_gain.previous")
    if last.figure("gold") is None:
        yield (
            "Win rates are by the same judgement that it learnt from; nobody else was asked whether it is better, so "
            "over-optimisation would not be seen here."
        )
    elif gain is not None and gain.value < 0:
        yield f"By the gold service the last round made it no better ({gain:+.2f} against the round before)."
    if last.figures["cut"] > OFTEN_CUT:
        yield f"{100 * last.figures['cut']:.0f} % of its responses do not end by themselves within the token limit."
    yield "Nothing was measured on prompts of another kind than the held-out ones, nor for safety or bias."

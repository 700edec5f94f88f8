"""How right is a consensus of people who err, and does it know how right it is?

    python benchmarks/feedback/consensus.py --seeds 20

People of planted reliabilities say up or down of tasks whose right answer is known. What they said goes through
`plaudit.feedback.reliability`, the model behind `form=consensus`; through the same without its beginning, which is
Dawid and Skene's most likely answer; and through a vote. "True reliabilities" is the model told them: no rule does
better.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import spearmanr

from plaudit.feedback.records import Judgement
from plaudit.feedback.reliability import RIGHT, WRONG, Model, Question, fit
from plaudit.feedback.tasks import Answer, Kind, Task, Thumb
from plaudit.uncertainty import Estimate, mean

LEAST = 1e-6
"""Of a beginning: with none at all whoever agreed with everybody would be infallible, and their word infinite."""
SAME = 1e-3
"""Reliabilities that differ by less have no order."""


@dataclass(frozen=True)
class Crowd:
    """`people` whose reliabilities lie evenly from `least` to `most` judge `tasks` tasks, `overlap` of them each."""

    people: int
    tasks: int
    overlap: int = 3
    least: float = 0.55
    most: float = 0.95

    @property
    def each(self) -> float:
        """How many tasks a person judges, on average."""
        return self.tasks * self.overlap / self.people

    @property
    def reliability(self) -> dict[str, float]:
        """The truth."""
        return {
            f"person {at}": float(right) for at, right in enumerate(np.linspace(self.least, self.most, self.people))
        }

    def judge(self, seed: int) -> tuple[list[Judgement], dict[Question, bool]]:
        """What they say, and what is right."""
        random = np.random.default_rng(seed)
        names, right = list(self.reliability), list(self.reliability.values())
        said: list[Judgement] = []
        truth: dict[Question, bool] = {}
        for number in range(self.tasks):
            task = Task(f"task {number}", Kind.THUMBS, "", (Answer(""),))
            truth[Question(task.key)] = up = bool(random.random() < 0.5)
            for who in random.permutation(self.people)[: self.overlap]:
                verdict = Thumb(up if random.random() < right[who] else not up)
                said.append(Judgement(task, names[who], verdict, (0,), "", False, 1.0, 0.0))
        return said, truth


def informed(crowd: Crowd, said: Sequence[Judgement]) -> Model:
    """By Bayes' rule from the true reliabilities."""
    odds: dict[Question, float] = {}
    for one in said:
        assert isinstance(one.verdict, Thumb)
        weight, question = float(logit(crowd.reliability[one.person])), Question(one.task.key)
        odds[question] = odds.get(question, 0.0) + (weight if one.verdict.up else -weight)
    return Model(crowd.reliability, {question: float(expit(one)) for question, one in odds.items()})


RULES: dict[str, Callable[[Crowd, Sequence[Judgement]], Model]] = {
    "consensus": lambda _, said: fit(said),
    "without its beginning": lambda _, said: fit(said, right=LEAST, wrong=LEAST),
    "vote": lambda _, said: fit(said, right=RIGHT / LEAST, wrong=WRONG / LEAST),  # nobody's reliability moves
    "true reliabilities": informed,
}
CROWDS = (
    Crowd(people=40, tasks=200),
    Crowd(people=40, tasks=2400),
    Crowd(people=12, tasks=400),
    Crowd(people=16, tasks=600, overlap=5),
    Crowd(people=40, tasks=200, least=0.7, most=0.7),
)


@dataclass(frozen=True)
class Found:
    """Of one crowd and rule, each a mean over seeds."""

    right: Estimate  # of its answers, the share that is right
    told: Estimate  # the share that it expects to be right itself
    error: Estimate  # of a person's reliability, on average
    rank_correlation: Estimate | None  # of reliabilities with the truth; None: all people are alike, or held to be


def measure(crowd: Crowd, rule: str, seeds: int) -> Found:
    """Over people drawn anew."""
    truly = np.array(list(crowd.reliability.values()))
    rows: list[tuple[float, float, float, float]] = []
    for seed in range(seeds):
        said, truth = crowd.judge(seed)
        model = RULES[rule](crowd, said)
        up = np.array([model.questions[question] for question in truth])
        people = np.array([model.people[person] for person in crowd.reliability])
        right = (up > 0.5) == np.array(list(truth.values()))
        differ = min(np.ptp(people), np.ptp(truly)) > SAME
        rank = spearmanr(people, truly).statistic if differ else np.nan
        rows.append((right.mean(), np.maximum(up, 1 - up).mean(), np.abs(people - truly).mean(), rank))
    right, told, error, rank = np.array(rows).T
    return Found(mean(right), mean(told), mean(error), None if np.isnan(rank).any() else mean(rank))


def table(seeds: int) -> str:
    """Markdown."""
    lines = [
        "| people | tasks | a task | a person | reliability | rule | right, % | expects, % | error | rank |",
        "|---:|---:|---:|---:|---|---|---:|---:|---:|---:|",
    ]
    for crowd in CROWDS:
        who = (crowd.people, crowd.tasks, crowd.overlap, f"{crowd.each:.0f}", f"{crowd.least:g} to {crowd.most:g}")
        for rule in RULES:
            found = measure(crowd, rule, seeds)
            percent = [_shown(one.scaled(100), 1) for one in (found.right, found.told)]
            rank = "" if found.rank_correlation is None else _shown(found.rank_correlation, 2)
            cells = map(str, (*who, rule, *percent, _shown(found.error, 3), rank))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(found: Estimate, digits: int) -> str:
    return f"{found.value:.{digits}f} ± {found.standard_error:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="crowds of each kind")
    print(table(parser.parse_args().seeds))


if __name__ == "__main__":
    main()

"""What a labelling model says of a task: a reward server's scores, as a person's verdict.

    kind            verdict
    compare, rank   the higher score is better, equal ones tie
    thumbs          up from `content` on
    rating          one star up to `lowest`, five from `highest` on, evenly between

With `noise` every score moves first, by a number of Gumbel's distribution of that scale (thumbs and stars: a logistic
one): then P(A over B) = sigmoid((score(A) - score(B)) / noise) as Bradley and Terry have it, and rankings are Plackett
and Luce's. What is drawn follows from seed and task alone, whatever was asked before.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from plaudit.errors import RunFailed
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Kind, Ranks, Rating, Task, Thumb, Verdict
from plaudit.iteration.settings import LabellerSettings
from plaudit.reward_server.asking import ready, score_item
from plaudit.telemetry.progress import bar
from plaudit_client import ModelInfo, RewardClient, Score

TASKS_PER_CALL = 128
MODELS = "models/"
"""How the names of those begin who are no people: a model's resource name."""


def label(store: Store, tasks: Sequence[Task], labeller: LabellerSettings, seed: int) -> ModelInfo:
    """Every task `wanted` times, each under a name of its own; what is there already is not said again."""
    with ready(labeller) as (client, model):
        left = _unsaid(store, tasks, model.name)
        total = sum(task.wanted for task in tasks)
        with bar("labelling", total, done=total - sum(map(len, left.values()))) as shown:
            for some in _slices([task for task in tasks if left[task.key]]):
                for task, scores in zip(some, _scores(client, some), strict=True):
                    for time in left[task.key]:
                        store.record(task, name(model.name, time), verdict(task, scores, labeller, seed + time))
                        shown.advance()
    return model


def name(model: str, time: int) -> str:
    """Of who judges: the model's resource name, and how often it was asked before."""
    return f"{model} ({time + 1})" if time else model


def verdict(task: Task, scores: Sequence[float], labeller: LabellerSettings, seed: int) -> Verdict:
    """What those scores of its answers say."""
    drawn = np.random.default_rng([seed, *hashlib.sha256(task.key.encode()).digest()])
    moved = np.asarray(scores, np.float64)
    if task.kind in (Kind.COMPARE, Kind.RANK):
        return _ranks(moved + labeller.noise * drawn.gumbel(size=len(moved)))
    first = float(moved[0] + labeller.noise * drawn.logistic())
    return Thumb(first >= labeller.content) if task.kind is Kind.THUMBS else Rating(_stars(first, labeller))


def _ranks(scores: npt.NDArray[np.float64]) -> Ranks:
    """1 is the highest, equal ones share a place."""
    _, places = np.unique(-scores, return_inverse=True)
    return Ranks(tuple(int(place) + 1 for place in places))


def _stars(score: float, labeller: LabellerSettings) -> int:
    part = (score - labeller.lowest) / (labeller.highest - labeller.lowest)
    return 1 + round(4 * min(1.0, max(0.0, part)))


def _unsaid(store: Store, tasks: Sequence[Task], model: str) -> dict[str, list[int]]:
    """By task, which of its judgements are not there."""
    said = {(one.task.key, one.person) for one in store.judged(task.key for task in tasks)}
    return {
        task.key: [time for time in range(task.wanted) if (task.key, name(model, time)) not in said] for task in tasks
    }


def _scores(client: RewardClient, tasks: Sequence[Task]) -> Iterator[list[float]]:
    """Of each task's answers. Raises RunFailed where one has none: a verdict is never made up."""
    items = [score_item(task.prompt, answer.text) for task in tasks for answer in task.answers]
    results = iter(client.score(items))
    for task in tasks:
        found = [next(results) for _ in task.answers]
        scores = [one.value for one in found if isinstance(one, Score)]
        if len(scores) < len(found):
            reason = next(one.reason for one in found if not isinstance(one, Score))
            raise RunFailed(f"task {task.key}: the labelling model gave no score ({reason})")
        yield scores


def _slices(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    return (tasks[at : at + TASKS_PER_CALL] for at in range(0, len(tasks), TASKS_PER_CALL))

"""What a person is asked, and what that person says.

kind            answers     verdict
compare         2           Ranks: which is better, or neither
rank            2 or more   Ranks: 1 is best, equal ones tie
thumbs          1           Thumb: up or down
rating          1           Rating: 1 to 5 stars
demonstration   0           Demonstration: the answer that this person would give

Task("support/17", Kind.COMPARE, "How long is delivery?", (Answer("Two days."), Answer("It depends.")))
Ranks((1, 2))   the first is better
Ranks((1, 1))   neither is
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import permutations
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from plaudit.settings import STRICT
from plaudit.trajectory import Message


class Kind(StrEnum):
    """How a person judges."""

    COMPARE = "compare"
    RANK = "rank"
    THUMBS = "thumbs"
    RATING = "rating"
    DEMONSTRATION = "demonstration"


@checked_dataclass(frozen=True, config=STRICT)
class Ranks:
    """Of a task's answers, in the task's own order, however they were shown: 1 is best, equal ones tie."""

    ranks: tuple[Annotated[int, Field(ge=1)], ...]

    def __post_init__(self) -> None:
        if set(self.ranks) != set(range(1, len(set(self.ranks)) + 1)):
            raise ValueError("ranks begin at 1 and leave none out")


@checked_dataclass(frozen=True, config=STRICT)
class Thumb:
    """Good, or not."""

    up: bool


@checked_dataclass(frozen=True, config=STRICT)
class Rating:
    """More stars are better."""

    stars: Annotated[int, Field(ge=1, le=5)]


@checked_dataclass(frozen=True, config=STRICT)
class Demonstration:
    """An answer, written by a person."""

    text: Annotated[str, Field(min_length=1)]


Verdict = Ranks | Thumb | Rating | Demonstration
VERDICTS: dict[Kind, type[Verdict]] = {
    Kind.COMPARE: Ranks,
    Kind.RANK: Ranks,
    Kind.THUMBS: Thumb,
    Kind.RATING: Rating,
    Kind.DEMONSTRATION: Demonstration,
}
READERS: dict[Kind, TypeAdapter[Verdict]] = {kind: TypeAdapter(verdict) for kind, verdict in VERDICTS.items()}
ANSWERS = {Kind.COMPARE: 2, Kind.THUMBS: 1, Kind.RATING: 1, Kind.DEMONSTRATION: 0}
"""So many, where the kind says how many."""


LONGEST_KEY = 500


class WrongVerdict(ValueError):
    """It does not fit its task."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One that is to be judged."""

    text: str
    source: str = ""  # the model or the person that wrote it; never shown to who judges


@dataclass(frozen=True, slots=True)
class Task:
    """Raises ValueError for one that nobody could judge."""

    key: str  # its name where it comes from: added again, it is the same
    kind: Kind
    prompt: str | tuple[Message, ...]
    answers: tuple[Answer, ...] = ()
    wanted: int = 1  # judgements, by as many people
    gold: Verdict | None = None  # the right one, where it is known: whoever judges is judged by it
    priority: float = 0.0  # higher ones are asked first
    instructions: str = ""  # what to go by; where empty, what the service tells everybody

    def __post_init__(self) -> None:
        if not 0 < len(self.key) <= LONGEST_KEY or "\0" in self.key:
            raise ValueError(f"a task's key has 1 to {LONGEST_KEY} characters, and no NUL among them")
        expected = ANSWERS.get(self.kind)
        if expected is not None and len(self.answers) != expected:
            raise ValueError(f"a task of kind {self.kind} has {expected} answers, this one {len(self.answers)}")
        if self.kind is Kind.RANK and len(self.answers) < 2:
            raise ValueError("a task of kind rank has two answers at least")
        if self.wanted < 1:
            raise ValueError("wanted is 1 at least")
        if self.gold is not None:
            check(self, self.gold)


def check(task: Task, verdict: Verdict) -> None:
    """Raises WrongVerdict for one that is of another kind of task, or ranks another number of answers."""
    if not isinstance(verdict, VERDICTS[task.kind]):
        raise WrongVerdict(f"a {type(verdict).__name__} is no verdict on a task of kind {task.kind}")
    if isinstance(verdict, Ranks) and len(verdict.ranks) != len(task.answers):
        raise WrongVerdict(f"{len(verdict.ranks)} ranks for {len(task.answers)} answers")


def rightness(verdict: Verdict, right: Verdict) -> float:
    """0 to 1: of ranks the share of the pairs that differ in `right` and are in its order, a tie half of one.

    Stars are right within one of them.
    """
    match verdict, right:
        case Ranks(given), Ranks(known):
            pairs = [(i, j) for i, j in permutations(range(len(known)), 2) if known[i] < known[j]]
            found = [0.5 * (1 + (given[i] < given[j]) - (given[i] > given[j])) for i, j in pairs]
            return fmean(found) if found else float(verdict == right)
        case Rating(given_stars), Rating(known_stars):
            return float(abs(given_stars - known_stars) <= 1)
    return float(verdict == right)


def read_verdict(task: Task, tree: Any) -> Verdict:
    """Of JSON, such as {"ranks": [2, 1]}. Raises WrongVerdict."""
    try:
        verdict = READERS[task.kind].validate_python(tree)
    except ValidationError as error:
        told = error.errors()[0]
        raise WrongVerdict(f"{'.'.join(map(str, told['loc']))}: {told['msg']}") from None
    check(task, verdict)
    return verdict


def write_verdict(verdict: Verdict) -> dict[str, Any]:
    """As JSON."""
    match verdict:
        case Ranks(ranks):
            return {"ranks": list(ranks)}
        case Thumb(up):
            return {"up": up}
        case Rating(stars):
            return {"stars": stars}
        case Demonstration(text):
            return {"text": text}

"""RewardBench 2: questions of which one answer, or several, are right, and its score.

    {id, prompt, chosen: [...], rejected: [...], num_correct, total_completions, subset}

    Factuality, Precise IF, Math, Safety, Focus   a question counts 1 where a right answer scores highest; where several
                                                  answers share the highest score, the part of them that is right
    Ties                                          questions that have many right answers, see `tie_scores.py`
    the score                                     the plain mean of the six

(Malik et al., RewardBench 2: Advancing Reward Model Evaluation, 2025.)
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.errors import ConfigurationError
from plaudit.evaluation.benchmark import Aggregate, Benchmark, averaged, check_subsets
from plaudit.evaluation.comparing import Accuracy, by_row, fully_scored, places_by_name, unweighted
from plaudit.evaluation.sides import Scores
from plaudit.evaluation.tie_scores import Kind, TieRow, tie_score
from plaudit.preferences.agreement import Compared
from plaudit.preferences.reading import Side, ranking_of
from plaudit.rows import DataSettings, Row, read_rows

NAME = "RewardBench 2"
TIES = "Ties"
SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", TIES)
IDS = {"ref": Kind.REFERENCE, "tied": Kind.TIED}


@dataclass(frozen=True, slots=True)
class Question:
    """Answers to one prompt, of which the first `correct` are right."""

    sides: tuple[Side, ...]
    correct: int
    subset: str
    where: str
    tie: tuple[Kind, int] | None = None  # of `TIES`: which of two questions, and the number that they share

    @property
    def group(self) -> Hashable:
        """What hangs together: questions of one number, or of one prompt."""
        return self.sides[0].prompt if self.tie is None else (TIES, self.tie[1])


def read(data: DataSettings) -> list[Question]:
    """ConfigurationError names the first row that is none of the benchmark's."""
    rows = read_rows(data)
    names = {name.casefold(): name for name in SUBSETS}
    found = [_known(row.get("subset"), names) for row in rows]
    check_subsets(NAME, [(subset, row.where) for subset, row in zip(found, rows, strict=True)], SUBSETS)
    questions = [_question(row, subset or "") for row, subset in zip(rows, found, strict=True)]
    _check_ties(questions)
    return questions


def compare(scores: Scores, questions: Sequence[Question]) -> Accuracy:
    """`scores` has the sides of all questions, one after the other."""
    kept = fully_scored(scores, [len(question.sides) for question in questions])
    judged = [questions[place] for place in kept]
    whole, *others = (_rows(values, questions, kept) for values in (scores.values, *scores.members.values()))
    members = dict(zip(scores.members, others, strict=True))
    table = _table(whole, judged)
    return Accuracy(
        model=scores.model,
        unit="questions",
        overall=unweighted(_compared(whole, judged)),
        members={name: unweighted(_compared(rows, judged)) for name, rows in members.items()},
        subsets=table.sections,
        benchmark=table.beside({name: _table(rows, judged) for name, rows in members.items()}),
        missing=scores.missing,
        left_out=len(questions) - len(kept),
    )


def share(scores: Sequence[float], correct: int) -> float:
    """Of the answers that score highest, the part that is among the first `correct`."""
    highest = np.asarray(scores) == max(scores)
    return float(highest[:correct].sum() / highest.sum())


def _known(subset: object, names: dict[str, str]) -> str | None:
    """In whichever case the rows have it."""
    return None if subset is None else names.get(str(subset).casefold(), str(subset))


def _question(row: Row, subset: str) -> Question:
    ranking = ranking_of(row)
    correct = sum(rank == min(ranking.ranks) for rank in ranking.ranks)
    _check_counts(row, correct, len(ranking.sides))
    return Question(ranking.sides, correct, subset, row.where, _tie(row) if subset == TIES else None)


def _check_counts(row: Row, correct: int, total: int) -> None:
    for field, count in (("num_correct", correct), ("total_completions", total)):
        if row.get(field) is not None and row.number(field) != count:
            raise row.error(field, f"is {row[field]}, but chosen and rejected make it {count}")


def _tie(row: Row) -> tuple[Kind, int]:
    kind = re.fullmatch(r"(ref|tied):(\d+)", row.text("id"))
    if kind is None:
        raise row.error("id", f"is {row['id']!r}: of the subset {TIES} it is ref:NUMBER or tied:NUMBER")
    return IDS[kind[1]], int(kind[2])


def _check_ties(questions: Sequence[Question]) -> None:
    """Raises ConfigurationError for a second question of one id."""
    seen: dict[tuple[Kind, int] | None, str] = {None: ""}
    for question in questions:
        if question.tie is not None and question.tie in seen:
            raise ConfigurationError(f"{question.where}: 'id' is that of {seen[question.tie]} too")
        seen[question.tie] = question.where


def _rows(values: Sequence[float | None], questions: Sequence[Question], kept: Sequence[int]) -> list[list[float]]:
    """The scores of each question that has all of them."""
    rows = by_row(values, [len(question.sides) for question in questions])
    return [[value for value in rows[place] if value is not None] for place in kept]


def _compared(rows: Sequence[Sequence[float]], questions: Sequence[Question]) -> Compared:
    right = np.array([share(row, question.correct) for row, question in zip(rows, questions, strict=True)])
    longer = np.array([share(_lengths(question), question.correct) for question in questions])
    return Compared(right, np.floor(right), longer, [question.group for question in questions])


def _lengths(question: Question) -> list[float]:
    return [float(len(side.response)) for side in question.sides]


def _table(rows: Sequence[Sequence[float]], questions: Sequence[Question]) -> Benchmark:
    whole, of = _compared(rows, questions), places_by_name([question.subset for question in questions])
    aggregates = {name: Aggregate([(1.0, whole.take(of[name]))], len(of[name])) for name in SUBSETS[:-1] if name in of}
    ties = tie_score([_tie_row(rows[place], questions[place]) for place in of.get(TIES, ())])
    if ties is not None:
        aggregates[TIES] = ties
    absent = [f"{TIES} (ref with tied)" if name == TIES else name for name in SUBSETS if name not in aggregates]
    return Benchmark(
        name=NAME,
        counted="accuracy",
        total=None if absent else averaged(dict.fromkeys(SUBSETS, 1.0), aggregates).agreement,
        sections={name: one.agreement for name, one in aggregates.items()},
        subsets={},
        absent=absent,
        needed=absent,
    )


def _tie_row(scores: Sequence[float], question: Question) -> TieRow:
    if question.tie is None:
        raise TypeError(f"{question.where} is no question of {TIES}")
    return TieRow(*question.tie, question.correct, scores, _lengths(question))

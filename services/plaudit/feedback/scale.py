"""One number for each answer, and for each model that wrote answers, from which of them people preferred.

    scales(judgements)        by task: the strength of each of its answers, 0 on average
    leaderboard(judgements)   by source, over all tasks; the best first

A ranking is read as its pairs, a tie as half a win of each. Strengths are Bradley and Terry's (bradley_terry.py), Elo's
ratings stand beside them (elo.py). Standard errors of a leaderboard are of tasks drawn anew, with replacement: what
people say of one task hangs together. Those of a task's answers are of other people who judge them instead.

What is left out: questions whose answer was known before, and judgements that were flagged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from plaudit.feedback import bradley_terry, elo
from plaudit.feedback.records import Judgement
from plaudit.feedback.reliability import UNKNOWN
from plaudit.feedback.tasks import Ranks
from plaudit.uncertainty import Estimate, mean

MOST_SOURCES = 50
"""On a leaderboard: those with most pairs."""
RESAMPLED = 200
"""Times, for the standard errors of a leaderboard."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placing:
    """One model, or whoever wrote answers, among all of them."""

    source: str
    strength: Estimate  # the difference of two is the log-odds that people prefer one; 0 on average
    elo: Estimate  # 1000 on average
    won: Estimate  # share of its pairs, over tasks; a tie is half of one
    pairs: int


def scales(judgements: Iterable[Judgement]) -> dict[str, tuple[Estimate, ...]]:
    """By the task's key, in the order of its answers. The numbers of two tasks are not of one scale."""
    wins: dict[str, Array] = {}
    for judgement, ranks in _ranked(judgements):
        of_task = wins.setdefault(judgement.task.key, np.zeros((len(ranks), len(ranks))))
        for first, second in combinations(range(len(ranks)), 2):
            of_task[first, second] += _won(ranks[first], ranks[second])
            of_task[second, first] += _won(ranks[second], ranks[first])
    by_size: dict[int, list[str]] = defaultdict(list)
    for key, of_task in wins.items():
        by_size[len(of_task)].append(key)
    found = {key: scale for keys in by_size.values() for key, scale in zip(keys, _fitted(wins, keys), strict=True)}
    return {key: found[key] for key in wins}


def leaderboard(
    judgements: Iterable[Judgement], reliability: Mapping[str, float] | None = None, *, seed: int = 0
) -> list[Placing]:
    """Of the sources that were compared with another one.

    `reliability`: of each person, the probability p of being right. For strengths, what that person said then counts
    2p - 1: of one who guesses, nothing at all. In Elo's ratings and in shares everybody counts the same.
    """
    sources, games, weights = _games(judgements, reliability)
    if not sources:
        return []
    strengths = _strengths(games, weights, np.random.default_rng(seed))
    ratings = _elo(games, np.random.default_rng(seed))
    placings = [Placing(source, strengths[at], ratings[at], *_share(games, at)) for at, source in enumerate(sources)]
    return sorted(placings, key=lambda placing: -placing.strength.value)


def _fitted(wins: dict[str, Array], keys: list[str]) -> list[tuple[Estimate, ...]]:
    """Of tasks with equally many answers, all at once."""
    of_all = np.stack([wins[key] for key in keys])
    found = bradley_terry.strengths(of_all)
    errors = bradley_terry.standard_errors(of_all, found)
    found -= found.mean(axis=-1, keepdims=True)
    return [tuple(map(Estimate, *pair)) for pair in zip(found.tolist(), errors.tolist(), strict=True)]


def _games(
    judgements: Iterable[Judgement], reliability: Mapping[str, float] | None
) -> tuple[list[str], elo.Games, Array]:
    """Pairs of answers that two sources wrote, and how much each counts."""
    given = list(_of_two_sources(judgements))
    pairs = Counter(source for _, names, _ in given for source in names)
    places = {source: at for at, (source, _) in enumerate(pairs.most_common(MOST_SOURCES))}
    tasks: dict[str, int] = {}
    rows: list[tuple[float, ...]] = []
    for judgement, names, won in given:
        if all(source in places for source in names):
            task = tasks.setdefault(judgement.task.key, len(tasks))
            right = 1.0 if reliability is None else reliability.get(judgement.person, UNKNOWN)
            rows.append((*(places[source] for source in names), won, task, max(2 * right - 1, 0.0)))
    table = np.array(rows, np.float64).reshape(-1, 5)
    first, second, group = (table[:, at].astype(np.int64) for at in (0, 1, 3))
    return list(places), elo.Games(len(places), first, second, table[:, 2], group, len(tasks)), table[:, 4]


def _of_two_sources(judgements: Iterable[Judgement]) -> Iterator[tuple[Judgement, tuple[str, str], float]]:
    """Each pair, whose it is, and whether the first one won."""
    for judgement, ranks in _ranked(judgements):
        sources = [answer.source for answer in judgement.task.answers]
        for first, second in combinations(range(len(ranks)), 2):
            if sources[first] and sources[second] and sources[first] != sources[second]:
                yield judgement, (sources[first], sources[second]), _won(ranks[first], ranks[second])


def _strengths(games: elo.Games, weights: Array, random: np.random.Generator) -> list[Estimate]:
    found = bradley_terry.strengths(_wins(games, weights))
    drawn = []
    for _ in range(RESAMPLED):
        times = np.bincount(random.integers(games.groups, size=games.groups), minlength=games.groups)
        once = bradley_terry.strengths(_wins(games, weights * times[games.group]), near=found)
        drawn.append(once - once.mean())
    return _estimates(found - found.mean(), np.std(drawn, axis=0, ddof=1), games.groups)


def _elo(games: elo.Games, random: np.random.Generator) -> list[Estimate]:
    return _estimates(elo.ratings(games, random), elo.standard_errors(games, random), games.groups)


def _estimates(values: Array, errors: Array, tasks: int) -> list[Estimate]:
    """One task cannot be drawn otherwise: it has no errors."""
    pairs = zip(values.tolist(), errors.tolist(), strict=True)
    return [Estimate(value, error if tasks > 1 else None, tasks) for value, error in pairs]


def _wins(games: elo.Games, weights: Array) -> Array:
    """(players, players), each game by its weight."""
    n = games.players
    won = np.bincount(games.first * n + games.second, weights * games.won, n * n)
    lost = np.bincount(games.second * n + games.first, weights * (1.0 - games.won), n * n)
    return np.asarray(won + lost).reshape(n, n)


def _share(games: elo.Games, player: int) -> tuple[Estimate, int]:
    """Of its pairs that it won, the mean over tasks; and how many pairs."""
    mine = (games.first == player) | (games.second == player)
    won = np.where(games.first == player, games.won, 1.0 - games.won)[mine]
    pairs = np.bincount(games.group[mine], minlength=games.groups)
    total = np.bincount(games.group[mine], won, games.groups)
    return mean(total[pairs > 0] / pairs[pairs > 0]), int(mine.sum())


def _ranked(judgements: Iterable[Judgement]) -> Iterator[tuple[Judgement, tuple[int, ...]]]:
    for judgement in judgements:
        if isinstance(judgement.verdict, Ranks) and judgement.task.gold is None and not judgement.flagged:
            yield judgement, judgement.verdict.ranks


def _won(rank: int, other: int) -> float:
    return 0.5 * ((rank < other) - (rank > other) + 1)

"""Elo's rating of players, from games between two of them: 1000 on average, and 400 more is 10 wins to a defeat.

    rating += K (result - expected),  expected = 1 / (1 + 10 ** ((other's rating - rating) / 400))

(A. E. Elo, The Rating of Chessplayers, Past and Present, 1978.) What is played last weighs most, which is right for
chess players, who change. Models don't, and what people said of them has no order: so the rating here is the mean over
many random orders (M. Boubdir et al., Elo Uncovered, 2023). A player of few games stays near 1000.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

K = 32.0
MEAN = 1000.0
ORDERS = 500
RESAMPLED, ORDERS_EACH = 100, 25
"""For the standard errors: so many times games are drawn anew, each time in so many orders."""
MOST_GAMES = 125
"""In one order, for each player: 250 of each. Where there are more, an order is a draw of so many in which all players
come up alike: Elo has forgotten after a few dozens what was before."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Games:
    """G games, each between two of `players`."""

    players: int
    first: Integers  # (G,)
    second: Integers  # (G,)
    won: Floats  # (G,) by the first: 1, 0.5 or 0
    group: Integers  # (G,) games of one group hang together
    groups: int


def ratings(games: Games, random: np.random.Generator) -> Floats:
    """(players,) of one game at least."""
    return np.asarray(_play(games, _orders(games, np.ones(games.groups), ORDERS, random)).mean(axis=0))


def standard_errors(games: Games, random: np.random.Generator) -> Floats:
    """(players,): the spread of ratings where groups of games are drawn anew, less what is the orders' doing."""
    played = []
    for _ in range(RESAMPLED):
        drawn = np.bincount(random.integers(games.groups, size=games.groups), minlength=games.groups)
        played.append(_orders(games, drawn, ORDERS_EACH, random))
    steps = min(map(len, played))  # groups have several games: not every draw has as many
    found = _play(games, np.concatenate([orders[:steps] for orders in played], axis=1))
    by_draw = found.reshape(RESAMPLED, ORDERS_EACH, games.players)
    between, within = by_draw.mean(axis=1).var(axis=0, ddof=1), by_draw.var(axis=1, ddof=1).mean(axis=0)
    return np.asarray(np.sqrt(np.maximum(between - within / ORDERS_EACH, 0.0)))


def _orders(games: Games, drawn: npt.ArrayLike, orders: int, random: np.random.Generator) -> Integers:
    """(games of an order, orders): which game is next, of groups that were `drawn` (groups,) so many times."""
    there = np.repeat(np.arange(len(games.won)), np.asarray(drawn, np.int64)[games.group])
    most = MOST_GAMES * games.players
    if len(there) <= most:
        return random.permuted(np.tile(there[:, None], orders), axis=0)
    played = np.bincount(np.concatenate([games.first[there], games.second[there]]), minlength=games.players)
    weights = 1.0 / np.minimum(played[games.first[there]], played[games.second[there]])
    ends = weights.cumsum() / weights.sum()
    chosen = np.searchsorted(ends, random.random((most, orders)), side="right")
    return np.asarray(there[chosen.clip(max=len(there) - 1)])


def _play(games: Games, orders: Integers) -> Floats:
    """(orders, players) after each column of `orders` (games of an order, orders)."""
    found = np.full((orders.shape[1], games.players), MEAN)
    at = np.arange(len(found))
    for game in orders:
        first, second = games.first[game], games.second[game]
        expected = 1.0 / (1.0 + 10.0 ** ((found[at, second] - found[at, first]) / 400.0))
        change = K * (games.won[game] - expected)
        found[at, first] += change
        found[at, second] -= change
    return found

"""Preferences in every common shape, as one type.

    {prompt, chosen, rejected}            texts; or a prompt of messages with answers as texts or messages
    {chosen, rejected}                    whole transcripts as in hh-rlhf, or whole conversations as lists of messages
    {prompt, chosen, rejected}            of lists of texts: each one of the first is better than each of the others
    {prompt, responses, ranks}            a lower rank is better; every pair of unequal ranks is one preference, every
                                          pair of equal ones a tie, which is left out unless asked for
    margin                                optional: how much better the better one of a pair is (at least 0)
    subset                                optional: evaluation reports by it
    annotator                             optional: who said so, a name
    weight                                optional: how much the row counts in training (at least 0, else 1)

The two sides of a transcript need not begin alike: each is split at its own last "\\n\\nAssistant:".
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations

from plaudit.errors import ConfigurationError
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.trajectory import Message

MARKER = "\n\nAssistant:"


@dataclass(frozen=True, slots=True)
class Side:
    """A prompt and one response to it."""

    prompt: str | tuple[Message, ...]
    response: str

    @property
    def messages(self) -> tuple[Message, ...] | None:
        """The whole conversation, where the prompt is one."""
        return None if isinstance(self.prompt, str) else (*self.prompt, Message("assistant", self.response))

    @property
    def text(self) -> str | None:
        """The prompt, where it is text."""
        return self.prompt if isinstance(self.prompt, str) else None


def together(sides: Iterable[Side]) -> list[Hashable]:
    """(n,) the groups in which what was said hangs together: by prompt, or of a single prompt by response."""
    found = list(sides)
    prompts = {side.prompt for side in found}
    return [side.prompt if len(prompts) > 1 else side.response for side in found]


@dataclass(frozen=True, slots=True)
class Preference:
    """Somebody preferred `chosen` to `rejected`; or, of a tie, neither."""

    chosen: Side
    rejected: Side
    where: str  # the row it comes from, for errors
    margin: float | None = None
    subset: str | None = None
    annotator: str | None = None
    weight: float = 1.0
    tie: bool = False


@dataclass(frozen=True, slots=True)
class Ranking:
    """Somebody put two or more responses in order; `chosen` and `rejected` are a ranking of two."""

    sides: tuple[Side, ...]
    ranks: tuple[float, ...]  # a lower one is better; equal ones tie
    where: str  # the row it comes from, for errors
    margin: float | None = None
    subset: str | None = None
    annotator: str | None = None
    weight: float = 1.0

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The better and the worse place in `sides` of every two unequal ranks."""
        places = combinations(range(len(self.ranks)), 2)
        unequal = ((i, j) for i, j in places if self.ranks[i] != self.ranks[j])
        return [(i, j) if self.ranks[i] < self.ranks[j] else (j, i) for i, j in unequal]

    @property
    def ties(self) -> list[tuple[int, int]]:
        """The places in `sides` of every two equal ranks."""
        return [(i, j) for i, j in combinations(range(len(self.ranks)), 2) if self.ranks[i] == self.ranks[j]]

    @property
    def preferences(self) -> list[Preference]:
        """One for each of `pairs`."""
        return [self._preference(better, worse) for better, worse in self.pairs]

    @property
    def tied(self) -> list[Preference]:
        """One for each of `ties`."""
        return [replace(self._preference(*places), margin=None, tie=True) for places in self.ties]

    def _preference(self, better: int, worse: int) -> Preference:
        sides = self.sides[better], self.sides[worse]
        return Preference(*sides, self.where, self.margin, self.subset, self.annotator, self.weight)


def read_preferences(data: DataSettings, *, ties: bool = False) -> list[Preference]:
    """All preferences of the data, each by itself, and the ties where asked for; ConfigurationError names the first row
    that is none."""
    rankings = read_rankings(data, ties=ties)
    return [found for ranking in rankings for found in ranking.preferences + (ranking.tied if ties else [])]


def read_rankings(data: DataSettings, *, ties: bool = False) -> list[Ranking]:
    """What every row says; ConfigurationError names the first that says nothing of the kind.

    Mere ties are left out unless asked for; where there is nothing else, that is an error.
    """
    rankings = [ranking for ranking in map(ranking_of, read_rows(data)) if ranking.pairs or (ties and ranking.ties)]
    if not any(ranking.pairs for ranking in rankings):
        raise ConfigurationError(f"{', '.join(data.sources)}: no preferences: every row ranks its responses alike")
    return rankings


def ranking_of(row: Row) -> Ranking:
    """One row, in whichever shape. ConfigurationError where it has none of them."""
    if "responses" in row:
        return _ranked(row)
    if any(isinstance(row.get(field), list) and str in map(type, row[field]) for field in ("chosen", "rejected")):
        return _several(row)
    read = _implicit if row.get("prompt") is None else _explicit
    return _told(row, (read(row, "chosen"), read(row, "rejected")), (1, 2))


def _ranked(row: Row) -> Ranking:
    responses, ranks = row.require("responses", list), row.require("ranks", list)
    if len(responses) != len(ranks):
        raise row.error("ranks", f"has {len(ranks)} entries for {len(responses)} responses")
    places = Row({f"ranks[{index}]": rank for index, rank in enumerate(ranks)}, row.where)
    candidates = Row({f"responses[{index}]": text for index, text in enumerate(responses)}, row.where)
    sides = tuple(Side(row.prompt(), candidates.text(field)) for field in candidates)
    return _told(row, sides, tuple(map(places.number, places)))


def _several(row: Row) -> Ranking:
    """Lists of answers, as in RewardBench 2: the chosen ones are alike, and so are the rejected ones."""
    better, worse = (_texts(row, field) for field in ("chosen", "rejected"))
    sides = tuple(Side(row.prompt(), text) for text in (*better, *worse))
    return _told(row, sides, (1,) * len(better) + (2,) * len(worse))


def _texts(row: Row, field: str) -> list[str]:
    texts = row.require(field, list)
    if not texts:
        raise row.error(field, "is an empty list: it has at least one answer")
    entries = Row({f"{field}[{index}]": text for index, text in enumerate(texts)}, row.where)
    return [entries.text(entry) for entry in entries]


def _told(row: Row, sides: tuple[Side, ...], ranks: tuple[float, ...]) -> Ranking:
    """With what else the row says."""
    margin, subset, annotator = _at_least_0(row, "margin"), text_or_none(row, "subset"), text_or_none(row, "annotator")
    return Ranking(sides, ranks, row.where, margin, subset, annotator, weight(row))


def _explicit(row: Row, field: str) -> Side:
    """The prompt stands in a field of its own."""
    prompt = row.prompt()
    if not isinstance(row.get(field), list):
        return Side(prompt, row.text(field))
    asked = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    turns = row.conversation(field)
    repeats_prompt = turns[: len(asked)] == asked or turns[1 : 1 + len(asked)] == asked  # behind a system message
    return _conversation(row, field, turns if repeats_prompt else (*asked, *turns))


def _implicit(row: Row, field: str) -> Side:
    """Prompt and response stand together in one field."""
    if isinstance(row.get(field), list):
        return _conversation(row, field, row.conversation(field))
    transcript = row.text(field)
    head, marker, response = transcript.rpartition(MARKER)
    if not marker:
        raise row.error(field, r"has no '\n\nAssistant:' (and the row has no 'prompt'): where does the response begin?")
    space = " " if response.startswith(" ") else ""
    return Side(head + marker + space, response.removeprefix(" "))


def _conversation(row: Row, field: str, turns: tuple[Message, ...]) -> Side:
    if len(turns) == 1:
        raise row.error(field, "is an answer without a question: add the user's message, or a 'prompt'")
    return Side(turns[:-1], turns[-1].content)


def text_or_none(row: Row, field: str) -> str | None:
    """A text that a row may give."""
    return None if row.get(field) is None else row.text(field)


def weight(row: Row) -> float:
    """How much the row counts."""
    given = _at_least_0(row, "weight")
    return 1.0 if given is None else given


def _at_least_0(row: Row, field: str) -> float | None:
    if row.get(field) is None:
        return None
    number = row.number(field)
    if number < 0:
        raise row.error(field, f"is {number}: it must be at least 0")
    return number

"""Preferences in every common shape, as one type.

    {prompt, chosen, rejected}            texts; or a prompt of messages with answers as texts or messages
    {chosen, rejected}                    whole transcripts as in hh-rlhf, or whole conversations as lists of messages
    {prompt, responses, ranks}            a lower rank is better; every pair of unequal ranks is one preference
    margin                                optional, beside any pair: how much better the chosen one is (at least 0)
    subset                                optional: evaluation reports by it

The two sides of a transcript need not begin alike: each is split at its own last "\\n\\nAssistant:".
"""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Preference:
    """Somebody preferred `chosen` to `rejected`."""

    chosen: Side
    rejected: Side
    where: str  # the row it comes from, for errors
    margin: float | None = None
    subset: str | None = None


def read_preferences(data: DataSettings) -> list[Preference]:
    """All preferences of the data; ConfigurationError names the first row that is none."""
    preferences = [preference for row in read_rows(data) for preference in preferences_of(row)]
    if not preferences:
        raise ConfigurationError(f"{', '.join(data.sources)}: no preferences: every row ranks its responses alike")
    return preferences


def preferences_of(row: Row) -> list[Preference]:
    """The preferences of one row: one, or with ranks as many as there are unequal pairs."""
    if "responses" in row:
        return _ranked(row)
    if row.get("prompt") is None:
        chosen, rejected = _implicit(row, "chosen"), _implicit(row, "rejected")
    else:
        chosen, rejected = _explicit(row, "chosen"), _explicit(row, "rejected")
    return [Preference(chosen, rejected, row.where, _margin(row), _subset(row))]


def _ranked(row: Row) -> list[Preference]:
    responses, ranks = row.require("responses", list), row.require("ranks", list)
    if len(responses) != len(ranks):
        raise row.error("ranks", f"has {len(ranks)} entries for {len(responses)} responses")
    places = Row({f"ranks[{index}]": rank for index, rank in enumerate(ranks)}, row.where)
    candidates = Row({f"responses[{index}]": text for index, text in enumerate(responses)}, row.where)
    ranked = [
        (places.number(f"ranks[{index}]"), Side(row.prompt(), candidates.text(f"responses[{index}]")))
        for index in range(len(ranks))
    ]
    pairs = [sorted(pair, key=lambda entry: entry[0]) for pair in combinations(ranked, 2) if pair[0][0] != pair[1][0]]
    return [Preference(better[1], worse[1], row.where, subset=_subset(row)) for better, worse in pairs]


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


def _margin(row: Row) -> float | None:
    if row.get("margin") is None:
        return None
    margin = row.number("margin")
    if margin < 0:
        raise row.error("margin", f"is {margin}: it must be at least 0")
    return margin


def _subset(row: Row) -> str | None:
    return None if row.get("subset") is None else row.text("subset")

"""Several people's votes on one pair, [for, against, tie] in a row's `votes`, as what a reward model is trained on.

majority   one preference, as the row has it: who was outvoted is forgotten
people     one preference or tie for each person
weight     one preference that weighs the votes for less those against, of all
margin     one preference of that margin
"""

from collections.abc import Sequence
from dataclasses import replace

from plaudit.preferences.reading import Preference
from plaudit.rows import DataSettings, read_rows

HOW = ("majority", "people", "weight", "margin")
Votes = tuple[int, int, int]


def read_votes(data: DataSettings) -> dict[str, Votes]:
    """By the row they come from."""
    found = {row.where: row.require("votes", list) for row in read_rows(data)}
    return {where: (votes[0], votes[1], votes[2]) for where, votes in found.items()}


def counted(preferences: Sequence[Preference], votes: dict[str, Votes], how: str) -> list[Preference]:
    """What is trained on instead of the majorities' `preferences`."""
    return [one for preference in preferences for one in _counted(preference, votes[preference.where], how)]


def _counted(preference: Preference, votes: Votes, how: str) -> list[Preference]:
    agreed, opposed, tied = votes
    lead = (agreed - opposed) / sum(votes)
    other = replace(preference, chosen=preference.rejected, rejected=preference.chosen)
    match how:
        case "people":
            return [preference] * agreed + [other] * opposed + [replace(preference, tie=True)] * tied
        case "weight":
            return [replace(preference, weight=lead)]
        case "margin":
            return [replace(preference, margin=lead)]
    return [preference]

"""What a reward model is trained on, and what it is only measured on.

training     the rest
held_out     rows of other prompts, or of `eval_data`
annotators   rows of the people in `held_out_annotators`, about whichever prompts: how well is a person predicted
             whom the model never heard?
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.finetune.fitting import Fitting, Judged
from plaudit.finetune.losses import LOSSES
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.training import hold_out
from plaudit.preferences import annotators
from plaudit.rows import DataSettings

WHO = "held_out_annotators"
OTHER_ROWS, OTHER_PEOPLE = "held out", "held-out annotators"
"""What those parts are called."""


@dataclass(frozen=True)
class Parts:
    """As token ids."""

    training: Fitting[Judged]
    held_out: Fitting[Judged] | None
    annotators: Fitting[Judged] | None
    names: tuple[str, ...] = ()  # of those annotators


def read_parts(settings: RewardModelSettings, tokenizer: PreTrainedTokenizerBase) -> Parts:
    """Reads, splits and renders. Only what is trained on is weighed; there, rows of weight 0 are left out."""
    given = _read(settings, settings.data)
    evaluated = [] if settings.eval_data is None else _read(settings, settings.eval_data)
    names = _names([*given, *evaluated], settings)
    training = [row for row in given if row.annotator not in names]
    held_out = [row for row in evaluated if row.annotator not in names]
    if settings.eval_data is None:
        training, held_out = hold_out(training, prompt, settings.eval_fraction, settings.training.seed)
    theirs = [row for row in (*given, *evaluated) if row.annotator in names]
    return Parts(
        training=_rendered(settings, tokenizer, _weighed(training), "training"),
        held_out=_rendered(settings, tokenizer, _unweighed(held_out), OTHER_ROWS) if held_out else None,
        annotators=_rendered(settings, tokenizer, _unweighed(theirs), OTHER_PEOPLE) if theirs else None,
        names=tuple(sorted(names)),
    )


def prompt(row: Judged) -> object:
    """That of its responses; a transcript's two sides may have two, as hh-rlhf's do."""
    return row.sides[0].prompt


def _read(settings: RewardModelSettings, data: DataSettings) -> Sequence[Judged]:
    return LOSSES[settings.loss].read(data, ties=settings.ties == "half")


def _names(rows: Sequence[Judged], settings: RewardModelSettings) -> set[str]:
    """Whom to hold out. ConfigurationError where somebody judged nothing, or where nobody would be left."""
    asked, known = settings.held_out_annotators, annotators.known(rows)
    if asked is None:
        return set()
    if isinstance(asked, float):
        drawn = np.random.default_rng(settings.training.seed).permutation(len(known))
        names = {known[place] for place in drawn[: max(1, round(asked * len(known)))]}
    else:
        names = set(asked)
    annotators.check(WHO, names, rows)
    if all(row.annotator in names for row in rows):
        people = annotators.listed(known)
        raise ConfigurationError(f"{WHO} leaves nobody to learn from: the data's annotators are {people}")
    return names


def _weighed(rows: Sequence[Judged]) -> list[Judged]:
    kept = [row for row in rows if row.weight > 0]
    if rows and not kept:
        raise ConfigurationError(f"every one of the {len(rows)} training rows has weight 0: nothing is left to learn")
    if len(kept) < len(rows):
        print(f"training: {len(rows) - len(kept)} judgements of weight 0 left out")
    return kept


def _unweighed(rows: Sequence[Judged]) -> list[Judged]:
    return [replace(row, weight=1.0) for row in rows]


def _rendered(
    settings: RewardModelSettings, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Judged], name: str
) -> Fitting[Judged]:
    """Says how many were cut or left out: never in silence."""
    found = LOSSES[settings.loss].render(tokenizer, settings.rendering, rows, name)
    print(
        f"{name}: {len(found)} judgements; {found.cut} with the head of a prompt cut, {found.left_out} left out "
        f"as longer than {settings.rendering.max_tokens} tokens"
    )
    return found

"""The texts of PPO-ptx: which of them each step learns from is a function of the run seed and the step alone."""

import hashlib
import json
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.ppo.texts import TextBatch
from plaudit.rows import read_rows
from plaudit.trainer.prompts import place_in_passes
from plaudit.trainer.settings import PretrainingSettings
from plaudit.trajectory import padded

STREAM = 0x747874
"""Sets the order of texts apart from that of prompts, which has the same seed."""


class TextStream:
    """Visits every piece of text once per pass, in an order of its own for each pass."""

    def __init__(self, pieces: Sequence[tuple[int, ...]], settings: PretrainingSettings, seed: int, pad: int) -> None:
        self._pieces, self._settings, self._seed, self._pad = pieces, settings, seed, pad

    def batch(self, step: int) -> TextBatch:
        """The texts of one step."""
        first = step * self._settings.texts_per_step
        chosen = [self._piece(place) for place in range(first, first + self._settings.texts_per_step)]
        ids, mask, _ = padded([()] * len(chosen), chosen, self._pad)
        return TextBatch(ids, mask, self._settings.coef)

    def sha256(self) -> str:
        """Of every piece."""
        return hashlib.sha256(json.dumps(self._pieces).encode()).hexdigest()

    def _piece(self, place: int) -> tuple[int, ...]:
        _, index = place_in_passes((self._seed, STREAM), place, len(self._pieces))
        return self._pieces[index]


def read_texts(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Ids of every text and its end of sequence, in pieces of at most `max_tokens`; a single token teaches nothing."""
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    pieces = []
    for row in read_rows(settings.data):
        ids = [*tokenizer(row.text(settings.field), add_special_tokens=True).input_ids, *end]
        cuts = range(0, len(ids), settings.max_tokens)
        pieces += [tuple(ids[cut : cut + settings.max_tokens]) for cut in cuts if len(ids) - cut > 1]
    if not pieces:
        raise ConfigurationError(f"pretraining.data {settings.data.source}: no text of two tokens or more")
    return pieces

"""The scale of a trained reward model, and the texts by which a server knows that it loaded the same one.

Bradley-Terry fixes scores only up to a shift per prompt, and the shift says nothing: InstructGPT sets it so that
demonstrations score 0 on average.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.finetune.classifier import Classifier
from plaudit.finetune.demonstrations import Demonstration, read_demonstrations
from plaudit.finetune.token_rows import Ids, score_ids
from plaudit.reward.calibration import Calibration
from plaudit.reward.errors import InputTooLong, RequestError
from plaudit.reward.rendering import Rendering, render
from plaudit.rows import DataSettings
from plaudit.trajectory import Message

T = TypeVar("T")

CALIBRATION_ROWS = 4_096
SELF_TEST = (
    ("What does a ticket to the museum cost?", "A ticket costs 12 euros, thank you for asking."),
    ("Wann öffnet das Café?", "Um 9 Uhr. ☕"),
    ("Hi", "No."),
)
"""Fixed texts: nothing of the training data is written beside the weights."""


def demonstration_ids(
    data: DataSettings | None, rendering: Rendering, tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Demonstrations as the reward model reads them; those that are too long are counted and left out."""
    if data is None:
        return []
    demonstrations = _spread(read_demonstrations(data), CALIBRATION_ROWS)
    ids = [_ids_or_none(rendering, tokenizer, demonstration) for demonstration in demonstrations]
    fitting = [row for row in ids if row is not None]
    print(f"demonstrations: {len(fitting)}; {len(ids) - len(fitting)} left out as too long")
    if not fitting:
        raise ConfigurationError("every demonstration is longer than rendering.max_tokens: raise it")
    return fitting


def _ids_or_none(
    rendering: Rendering, tokenizer: PreTrainedTokenizerBase, demonstration: Demonstration
) -> list[int] | None:
    prompt, response = demonstration.prompt, demonstration.response
    if prompt is None:
        raise ConfigurationError(f"{demonstration.where}: a demonstration for calibration needs a prompt")
    try:
        if isinstance(prompt, str):
            return render(tokenizer, rendering, prompt=prompt, response=response).input_ids
        messages = (*prompt, Message("assistant", response))
        return render(tokenizer, rendering, messages=messages).input_ids
    except InputTooLong:
        return None
    except RequestError as error:
        raise ConfigurationError(f"{demonstration.where}: {error}") from None


def calibrate(
    model: Classifier, tokenizer: PreTrainedTokenizerBase, responses: list[Ids], demonstrations: list[Ids]
) -> Calibration:
    """Standard deviation 1 on the training responses; mean 0 there too, or on the demonstrations."""
    scores = score_ids(model, _spread(responses, CALIBRATION_ROWS), tokenizer.pad_token_id, "calibrating")
    centre = score_ids(model, demonstrations, tokenizer.pad_token_id, "centring") if demonstrations else scores
    deviation = float(np.std(scores))
    if not np.isfinite(deviation) or deviation < 1e-6:
        raise RunFailed(f"the trained scores have a standard deviation of {deviation}: lower training.learning_rate")
    return Calibration(mean=float(np.mean(centre)), std=deviation)


def self_test(tokenizer: PreTrainedTokenizerBase, rendering: Rendering) -> list[tuple[str, str]]:
    """Those of SELF_TEST that this rendering takes."""
    return [pair for pair in SELF_TEST if _fits(tokenizer, rendering, pair)]


def _fits(tokenizer: PreTrainedTokenizerBase, rendering: Rendering, pair: tuple[str, str]) -> bool:
    try:
        render(tokenizer, rendering, *pair)
    except RequestError:
        return False
    return True


def _spread(rows: Sequence[T], count: int) -> list[T]:
    """At most `count` of the rows, drawn the same each time: every n-th would be every pair's first response."""
    if len(rows) <= count:
        return list(rows)
    return [rows[place] for place in sorted(np.random.default_rng(0).permutation(len(rows))[:count])]

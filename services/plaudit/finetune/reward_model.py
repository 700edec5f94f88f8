"""`plaudit reward-model settings.yaml`: trains a reward model on people's judgements, writes the folder a server reads.

What people said decides the loss: of two responses one is better (`pairs`), several are in order (`rankings`), or a
response has a score (`ratings`). The token ids come from the same function that the server calls, so the model is asked
later exactly what it was trained on.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback

from plaudit.context import check_context
from plaudit.finetune.calibration import calibrate, demonstration_ids, self_test
from plaudit.finetune.classifier import (
    Classifier,
    load_base_tokenizer,
    load_classifier,
    save_classifier,
)
from plaudit.finetune.pairs import RenderedPairs, pairs_trainer, render_pairs
from plaudit.finetune.progress import progress
from plaudit.finetune.rankings import RenderedRankings, rankings_trainer, render_rankings
from plaudit.finetune.ratings import RenderedRatings, ratings_trainer, render_ratings
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import score_ids
from plaudit.finetune.training import check_output, hold_out, prepare_output
from plaudit.policy.loading import read_config
from plaudit.preferences.agreement import Agreement
from plaudit.preferences.ratings import Fit, read_ratings
from plaudit.preferences.reading import read_preferences, read_rankings
from plaudit.reward import folder as reward_folder
from plaudit.reward.rendering import check
from plaudit.settings import load
from plaudit.telemetry.quiet import quiet_libraries

Rendered = RenderedPairs | RenderedRankings | RenderedRatings
Measured = Agreement | Fit


class Loss(NamedTuple):
    """What depends on the kind of judgement, a row's type with it."""

    read: Callable[..., list[Any]]
    prompt: Callable[[Any], object]
    render: Callable[..., Any]
    trainer: Callable[..., Any]
    shown: str  # beside the progress bar


LOSSES = {
    "bradley_terry": Loss(read_preferences, lambda row: row.chosen.prompt, render_pairs, pairs_trainer, "accuracy"),
    "k_wise": Loss(read_rankings, lambda row: row.sides[0].prompt, render_rankings, rankings_trainer, "loss"),
    "squared_error": Loss(read_ratings, lambda row: row.side.prompt, render_ratings, ratings_trainer, "loss"),
}


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    print(train(load(RewardModelSettings, path, overrides)).summary())
    return 0


@dataclasses.dataclass(frozen=True)
class RewardModelResult:
    """What came out of a run."""

    folder: Path
    version: str
    held_out: Measured | None  # None where nothing was held out

    def summary(self) -> str:
        """For people: what was measured, and its uncertainty."""
        return "\n".join([f"wrote {self.folder} (version {self.version})", *_lines(self.held_out)])


def train(settings: RewardModelSettings) -> RewardModelResult:
    """Reads and checks everything, trains, measures, calibrates, and writes the folder."""
    check_output(settings.output)
    quiet_libraries()
    tokenizer = load_base_tokenizer(settings.base)
    check(tokenizer, settings.rendering)
    check_context(read_config(settings.base), settings.rendering.max_tokens, "rendering.max_tokens")
    training, held_out = _judgements(settings, tokenizer)
    demonstrations = demonstration_ids(settings.demonstrations, settings.rendering, tokenizer)
    model = load_classifier(settings.base, tokenizer, dropout=settings.dropout, seed=settings.training.seed)
    prepare_output(settings.output, settings)
    fit(settings, model, tokenizer, training, held_out)
    measured = None
    if held_out is not None:
        scores = score_ids(model, held_out.rows, tokenizer.pad_token_id, "measuring")
        measured = held_out.measure(scores, training)
    calibration = calibrate(model, tokenizer, training.rows, demonstrations) if settings.calibrate else training.unit
    save_classifier(model, tokenizer, settings.output)
    record = reward_folder.write(
        settings.output,
        settings.rendering,
        self_test=self_test(tokenizer, settings.rendering),
        calibration=calibration,
        display_name=settings.display_name,
    )
    return RewardModelResult(settings.output, record.version, measured)


def fit(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: Rendered,
    held_out: Rendered | None = None,
) -> None:
    """Trains `model` in place; the loss on `held_out` goes into metrics.jsonl after each epoch."""
    loss = LOSSES[settings.loss]
    with progress("reward model", loss.shown, settings.output) as callback:
        trainer = loss.trainer(settings, model, tokenizer, training, held_out, callback)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        # accelerate leaves autocast wrapped around the model; it is measured, calibrated and served without.
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


def _judgements(settings: RewardModelSettings, tokenizer: PreTrainedTokenizerBase) -> tuple[Any, Any]:
    """What is trained on, and what is measured on or None."""
    loss = LOSSES[settings.loss]
    training = loss.read(settings.data)
    if settings.eval_data is not None:
        held_out = loss.read(settings.eval_data)
    else:
        training, held_out = hold_out(training, loss.prompt, settings.eval_fraction, settings.training.seed)
    parts = [("training", training), ("held out", held_out)]
    rendered = [_rendered(settings, tokenizer, part, name) if part else None for name, part in parts]
    return rendered[0], rendered[1]


def _rendered(
    settings: RewardModelSettings, tokenizer: PreTrainedTokenizerBase, judgements: list[Any], name: str
) -> Rendered:
    """Says how many were cut or left out: never in silence."""
    found: Rendered = LOSSES[settings.loss].render(tokenizer, settings.rendering, judgements, name)
    print(
        f"{name}: {len(found)} judgements; {found.cut} with the head of a prompt cut, {found.left_out} left out "
        f"as longer than {settings.rendering.max_tokens} tokens"
    )
    return found


def _lines(measured: Measured | None) -> list[str]:
    if measured is None:
        return []
    if isinstance(measured, Fit):
        return [
            f"held out: R² {measured.r_squared:.3f} on {measured.r_squared.n} ratings",
            f"correlation with them: {measured.correlation:.3f}",
        ]
    found, rule, gain = measured.accuracy, measured.length_rule, measured.gain
    return [
        f"held out: accuracy {found:.3f} on {found.n} pairs",
        f"picking the longer answer: {rule.value:.3f}; the model's gain over it {gain:+.3f}",
    ]

"""`plaudit reward-model settings.yaml`: trains a reward model on preferences and writes the folder a server reads.

The loss is Bradley-Terry's, -log sigmoid(r(chosen) - r(rejected) - margin), by trl's RewardTrainer. The token ids come
from the same function that the server calls, so the model is asked later exactly what it was trained on.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from datasets import Dataset
from pydantic import Field
from pydantic.dataclasses import dataclass
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from plaudit.context import check_context
from plaudit.finetune.calibration import calibrate, demonstration_ids, self_test
from plaudit.finetune.classifier import (
    Classifier,
    load_base_tokenizer,
    load_classifier,
    save_classifier,
)
from plaudit.finetune.pairs import RenderedPairs, render_pairs, score_ids
from plaudit.finetune.progress import progress
from plaudit.finetune.training import (
    TrainingSettings,
    check_output,
    hold_out,
    prepare_output,
    trainer_arguments,
)
from plaudit.policy.settings import PolicySettings
from plaudit.preferences.agreement import Agreement, agreement
from plaudit.preferences.reading import Preference, read_preferences
from plaudit.reward import folder as reward_folder
from plaudit.reward.rendering import Rendering, check
from plaudit.rows import DataSettings
from plaudit.settings import STRICT, load
from plaudit.telemetry.quiet import quiet_libraries


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardModelSettings:
    """One training run."""

    base: PolicySettings  # any sequence classifier or causal language model
    data: DataSettings
    output: Path  # the reward model's folder
    eval_data: DataSettings | None = None  # what accuracy is measured on; None: a part of `data`
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of the prompts in `data`, where there is no `eval_data`
    demonstrations: DataSettings | None = None  # if given, calibrated scores have mean 0 on these
    rendering: Rendering = Rendering()
    center_rewards_coefficient: Annotated[float, Field(ge=0)] | None = (
        None  # Eisenstein et al. 2023, eq. 2; 0.01 is usual
    )
    dropout: bool = False  # as the base has it, during training
    calibrate: bool = True  # scores with mean 0 and standard deviation 1 on the training data
    display_name: str = ""
    training: TrainingSettings = TrainingSettings()


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    print(train(load(RewardModelSettings, path, overrides)).summary())
    return 0


@dataclasses.dataclass(frozen=True)
class RewardModelResult:
    """What came out of a run."""

    folder: Path
    version: str
    held_out: Agreement | None  # None where nothing was held out

    def summary(self) -> str:
        """For people: the accuracy, its uncertainty, and the length rule beside it."""
        lines = [f"wrote {self.folder} (version {self.version})"]
        if self.held_out is not None:
            found, rule, gain = self.held_out.accuracy, self.held_out.length_rule, self.held_out.gain
            lines += [
                f"held out: accuracy {found:.3f} on {found.n} pairs",
                f"picking the longer answer: {rule.value:.3f}; the model's gain over it {gain:+.3f}",
            ]
        return "\n".join(lines)


def train(settings: RewardModelSettings) -> RewardModelResult:
    """Reads and checks everything, trains, measures, calibrates, and writes the folder."""
    check_output(settings.output)
    quiet_libraries()
    tokenizer = load_base_tokenizer(settings.base)
    check(tokenizer, settings.rendering)
    training, held_out = _pairs(settings, tokenizer)
    demonstrations = demonstration_ids(settings.demonstrations, settings.rendering, tokenizer)
    model = load_classifier(settings.base, tokenizer, dropout=settings.dropout, seed=settings.training.seed)
    check_context(model.config, settings.rendering.max_tokens, "rendering.max_tokens")
    prepare_output(settings.output, settings)
    fit(settings, model, tokenizer, training, held_out)
    measured = None if held_out is None else measure(model, tokenizer, held_out)
    calibration = calibrate(model, tokenizer, training, demonstrations) if settings.calibrate else None
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
    training: RenderedPairs,
    held_out: RenderedPairs | None = None,
) -> None:
    """Trains `model` in place; the loss on `held_out` goes into metrics.jsonl after each epoch."""
    arguments: dict[str, Any] = trainer_arguments(settings.training, settings.base, settings.output)
    config = RewardConfig(
        **arguments,
        disable_dropout=not settings.dropout,
        center_rewards_coefficient=settings.center_rewards_coefficient,
        max_length=None,  # the rendering has seen to it
        pad_to_multiple_of=None,
        eval_strategy="no" if held_out is None else "epoch",
    )
    with progress("reward model", "accuracy", settings.output) as callback:
        trainer = RewardTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(training.columns()),
            eval_dataset=None if held_out is None else Dataset.from_dict(held_out.columns()),
            processing_class=tokenizer,
            callbacks=[callback],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        # accelerate leaves autocast wrapped around the model; it is measured, calibrated and served without.
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


def measure(model: Classifier, tokenizer: PreTrainedTokenizerBase, pairs: RenderedPairs) -> Agreement:
    """Accuracy on pairs that were not trained on, the length rule beside it."""
    scores = score_ids(model, pairs.chosen_ids + pairs.rejected_ids, tokenizer.pad_token_id, "measuring")
    return agreement(scores[: len(pairs)], scores[len(pairs) :], pairs.preferences)


def _pairs(
    settings: RewardModelSettings, tokenizer: PreTrainedTokenizerBase
) -> tuple[RenderedPairs, RenderedPairs | None]:
    """What is trained on, and what is measured on."""
    preferences = read_preferences(settings.data)
    if settings.eval_data is not None:
        held_out = read_preferences(settings.eval_data)
    else:
        preferences, held_out = hold_out(preferences, _prompt, settings.eval_fraction, settings.training.seed)
    training = _rendered(settings.rendering, tokenizer, preferences, "training")
    return training, _rendered(settings.rendering, tokenizer, held_out, "held out") if held_out else None


def _rendered(
    rendering: Rendering, tokenizer: PreTrainedTokenizerBase, preferences: list[Preference], name: str
) -> RenderedPairs:
    """Says how many were cut or left out: never in silence."""
    pairs = render_pairs(tokenizer, rendering, preferences, name)
    print(
        f"{name}: {len(pairs)} preferences; {pairs.cut} with the head of a prompt cut, {pairs.left_out} left out "
        f"as longer than {rendering.max_tokens} tokens"
    )
    return pairs


def _prompt(preference: Preference) -> object:
    return preference.chosen.prompt

"""`plaudit reward-model settings.yaml`: trains a reward model on people's judgements, writes the folder a server reads.

    1  read the judgements, split them (`parts.py`) and render them as the server will
    2  train one model (`trainer.py`), or the members of an ensemble (`ensemble.py`)
    3  calibrate, write the folder, measure what it holds on what was held out

The token ids come from the same function that the server calls, so the model is asked later exactly what it was trained
on.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
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
from plaudit.finetune.ensemble import Member, check_ensemble_output, members, train_members
from plaudit.finetune.fitting import Fitting, Judged, Measured
from plaudit.finetune.parts import OTHER_PEOPLE, OTHER_ROWS, read_parts
from plaudit.finetune.progress import progress
from plaudit.finetune.reward_settings import MEASURED, RewardModelSettings
from plaudit.finetune.summary import lines
from plaudit.finetune.token_rows import Ids, score_ids
from plaudit.finetune.trainer import JudgementsTrainer
from plaudit.finetune.training import check_output, prepare_output
from plaudit.outputs import write_text
from plaudit.policy.loading import read_config
from plaudit.reward import folder as reward_folder
from plaudit.reward.loading import load_model
from plaudit.reward.rendering import check
from plaudit.settings import load
from plaudit.telemetry.quiet import quiet_libraries


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    print(train(load(RewardModelSettings, path, overrides)).summary())
    return 0


@dataclasses.dataclass(frozen=True)
class RewardModelResult:
    """What came out of a run."""

    folder: Path
    versions: tuple[str, ...]  # of the model, or of each member
    measured: dict[str, list[Measured | None]]  # by part: of the model alone, or of each member and of their mean

    @property
    def version(self) -> str:
        return ", ".join(self.versions)

    @property
    def held_out(self) -> Measured | None:
        """Of the model, or of the members' mean. None where nothing was held out."""
        return self.measured[OTHER_ROWS][-1] if OTHER_ROWS in self.measured else None

    def summary(self) -> str:
        """For people: what was measured, and its uncertainty."""
        told = [f"wrote {self.folder} (version {self.version})"]
        names = [""] if len(self.versions) == 1 else [*(f", member-{at}" for at in range(len(self.versions))), ", mean"]
        for part, found in self.measured.items():
            told += [line for name, one in zip(names, found, strict=True) for line in lines(part + name, one)]
        return "\n".join(told)


def train(settings: RewardModelSettings) -> RewardModelResult:
    """Reads and checks everything, trains, calibrates, writes the folder, and measures."""
    _check_output(settings)
    quiet_libraries()
    tokenizer = load_base_tokenizer(settings.base)
    check(tokenizer, settings.rendering)
    check_context(read_config(settings.base), settings.rendering.max_tokens, "rendering.max_tokens")
    parts = read_parts(settings, tokenizer)
    demonstrations = demonstration_ids(settings.demonstrations, settings.rendering, tokenizer)
    alone = partial(_train, tokenizer=tokenizer, held_out=parts.held_out, demonstrations=demonstrations)
    found = _train_all(settings, parts.training, alone)
    measured = {
        name: _measure(found, part, parts.training, tokenizer)
        for name, part in ((OTHER_ROWS, parts.held_out), (_by(parts.names), parts.annotators))
        if part is not None
    }
    result = RewardModelResult(settings.output, tuple(_record(member).version for member in found), measured)
    if result.held_out is not None:
        write_text(settings.output / MEASURED, json.dumps(dataclasses.asdict(result.held_out), indent=1) + "\n")
    return result


def _check_output(settings: RewardModelSettings) -> None:
    if settings.ensemble is None:
        check_output(settings.output)
    else:
        check_ensemble_output(settings)


def _train_all(
    settings: RewardModelSettings, training: Fitting[Judged], train: Callable[[Member], None]
) -> list[Member]:
    """One model, or the members of an ensemble."""
    if settings.ensemble is None:
        train(alone := Member(settings, training, training.unit))
        return [alone]
    found = members(settings, training)
    train_members(settings, found, train)
    return found


def fit(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: Fitting[Judged],
    held_out: Fitting[Judged] | None = None,
) -> None:
    """Trains `model` in place; the loss on `held_out` goes into metrics.jsonl after each epoch."""
    with progress("reward model", training.SHOWN, settings.output) as callback:
        trainer = JudgementsTrainer(settings, model, tokenizer, training, held_out, callback)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        # accelerate leaves autocast wrapped around the model; it is measured, calibrated and served without.
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


def _train(
    member: Member, *, tokenizer: PreTrainedTokenizerBase, held_out: Fitting[Judged] | None, demonstrations: list[Ids]
) -> None:
    """One model, from its base to its folder."""
    settings, training = member.settings, member.training
    model = load_classifier(settings.base, tokenizer, dropout=settings.dropout, seed=settings.training.seed)
    prepare_output(settings.output, settings)
    fit(settings, model, tokenizer, training, held_out)
    calibration = calibrate(model, tokenizer, training.rows, demonstrations) if settings.calibrate else member.unit
    save_classifier(model, tokenizer, settings.output)
    reward_folder.write(
        settings.output,
        settings.rendering,
        self_test=self_test(tokenizer, settings.rendering),
        calibration=calibration,
        display_name=settings.display_name,
    )


def _measure(
    found: Sequence[Member], part: Fitting[Judged], training: Fitting[Judged], tokenizer: PreTrainedTokenizerBase
) -> list[Measured | None]:
    """Of each folder as it is served, and of several also of their mean."""
    scores = [_scores(member, part.rows, tokenizer) for member in found]
    if len(scores) > 1:
        scores.append(np.mean(scores, axis=0))
    return [part.measure(one, training) for one in scores]


def _scores(member: Member, rows: list[Ids], tokenizer: PreTrainedTokenizerBase) -> npt.NDArray[np.float64]:
    """(n,) as ratings or log-odds where the judgements have a unit, else as they are served."""
    unit = member.unit or _record(member).calibration
    raw = score_ids(load_model(member.settings.output), rows, tokenizer.pad_token_id, "measuring")
    return raw if unit is None else np.array([unit.apply(score) for score in raw])


def _record(member: Member) -> reward_folder.RewardFolder:
    found = reward_folder.read(member.settings.output)
    assert found is not None, "the member is written"
    return found


def _by(names: Sequence[str]) -> str:
    return f"{OTHER_PEOPLE} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"

"""What both supervised stages share: optimisation settings, the folder a run leaves behind, the held-out part."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError
from plaudit.outputs import check_folder, writing
from plaudit.policy.settings import PolicySettings
from plaudit.settings import STRICT, to_yaml

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingSettings:
    """AdamW on batches in random order."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Annotated[int, Field(gt=0)] | None = None  # ends earlier, or later, than `epochs`
    batch_size: Annotated[int, Field(gt=0)] = 16  # rows per optimiser step
    micro_batch_size: Annotated[int, Field(gt=0)] | None = None  # rows per forward pass; None: the whole batch
    learning_rate: Annotated[float, Field(ge=0)] = 2e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # of the learning rate after the warm-up
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05  # part of the steps over which it rises from 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.batch_size % self.micro_rows:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_rows}")

    @property
    def micro_rows(self) -> int:
        return self.micro_batch_size or self.batch_size


def trainer_arguments(settings: TrainingSettings, policy: PolicySettings, output: Path, rows: int) -> dict[str, Any]:
    """The arguments that trl's SFTConfig and RewardConfig have in common, every default that matters said aloud."""
    steps = settings.max_steps or math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs)
    return {
        "output_dir": str(output),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": settings.micro_rows,
        "per_device_eval_batch_size": settings.micro_rows,
        "gradient_accumulation_steps": settings.batch_size // settings.micro_rows,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule),
        # A part of all steps, rounded up; but not all of a short run: the first step of a warm-up has a rate of 0.
        "warmup_steps": settings.warmup if settings.warmup * steps >= 1 else 0,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": policy.dtype == "bfloat16",  # autocast; the weights stay float32
        "gradient_checkpointing": policy.gradient_checkpointing,
        "save_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def check_output(output: Path) -> None:
    """Refuses a folder that holds something already or cannot be written; asked before any long work."""
    with writing("output", output):
        taken = output.exists() and (not output.is_dir() or any(output.iterdir()))
    if taken:
        raise ConfigurationError(f"output {output} exists already: choose another folder or remove that one")
    check_folder("output", output)


def prepare_output(output: Path, settings: object) -> None:
    """Makes the run's folder and writes the settings, resolved, into it."""
    check_output(output)
    with writing("output", output):
        output.mkdir(parents=True, exist_ok=True)
        (output / "config.yaml").write_text(to_yaml(settings), encoding="utf-8")


def hold_out(rows: Sequence[T], key: Callable[[T], object], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Splits at random into what to train on and about `fraction` to measure on; rows of equal key stay together."""
    keys = list(dict.fromkeys(repr(key(row)) for row in rows))
    count = max(1, round(fraction * len(keys))) if fraction else 0
    if count >= len(keys):
        raise ConfigurationError(f"{len(keys)} different prompts are too few to hold out {fraction:.0%} of them")
    chosen = {keys[index] for index in np.random.default_rng(seed).permutation(len(keys))[:count]}
    held_out = [repr(key(row)) in chosen for row in rows]
    train = [row for row, out in zip(rows, held_out, strict=True) if not out]
    return train, [row for row, out in zip(rows, held_out, strict=True) if out]

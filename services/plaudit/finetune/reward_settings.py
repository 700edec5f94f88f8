"""The settings of `plaudit reward-model`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.finetune.training import TrainingSettings
from plaudit.policy.settings import PolicySettings
from plaudit.reward.rendering import Rendering
from plaudit.rows import DataSettings
from plaudit.settings import STRICT

MEASURED, SERVE = "held_out.json", "serve.yaml"
"""In `output`: figures of held-out judgements with standard errors; of an ensemble, how to serve it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnsembleSettings:
    """Several models instead of one, each in a folder of its own."""

    members: Annotated[int, Field(ge=2)] = 4
    by: Literal["seeds", "folds"] = "seeds"  # folds: each leaves out another part of the prompts as well


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardModelSettings:
    """One training run."""

    base: PolicySettings  # any sequence classifier or causal language model
    data: DataSettings
    output: Path  # the reward model's folder
    # Of preferences; of rankings, the pairs of each one together; of ratings, rows with a score; of thumbs.
    loss: Literal["bradley_terry", "k_wise", "squared_error", "binary_cross_entropy"] = "bradley_terry"
    ties: Literal["left_out", "half"] = "left_out"  # equal ranks; half: half a win each way
    eval_data: DataSettings | None = None  # what is measured on; None: a part of `data`
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of the prompts in `data`, where there is no `eval_data`
    # Who is only measured on, never learnt from: names, or a part of those in the data, drawn by training.seed.
    held_out_annotators: Annotated[float, Field(gt=0, lt=1)] | Annotated[list[str], Field(min_length=1)] | None = None
    demonstrations: DataSettings | None = None  # if given, calibrated scores have mean 0 on these
    rendering: Rendering = Rendering()
    center_rewards_coefficient: Annotated[float, Field(ge=0)] | None = (
        None  # Eisenstein et al. 2023, eq. 2; 0.01 is usual
    )
    dropout: bool = False  # as the base has it, during training
    # Scores with mean 0 and standard deviation 1 on the training data; else raw: as ratings, or log-odds of thumbs.
    calibrate: bool = True
    display_name: str = ""
    ensemble: EnsembleSettings | None = None  # `output` then holds a folder for each, and how to serve them
    training: TrainingSettings = TrainingSettings()

    @property
    def folders(self) -> list[Path]:
        """Of the models that come of it: the only one, or an ensemble's members."""
        members = 0 if self.ensemble is None else self.ensemble.members
        return [self.output / f"member-{place}" for place in range(members)] or [self.output]

    def __post_init__(self) -> None:
        if self.loss != "bradley_terry" and self.center_rewards_coefficient is not None:
            raise ValueError(f"center_rewards_coefficient is of bradley_terry: with {self.loss}, leave it out")
        if self.ties == "half" and self.loss not in ("bradley_terry", "k_wise"):
            raise ValueError(f"ties are of bradley_terry and k_wise: with {self.loss}, leave them out")
        if not self.calibrate and self.demonstrations is not None:
            raise ValueError("demonstrations set where the calibrated 0 is: set calibrate: true, or leave them out")

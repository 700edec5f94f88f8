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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardModelSettings:
    """One training run."""

    base: PolicySettings  # any sequence classifier or causal language model
    data: DataSettings
    output: Path  # the reward model's folder
    # Of preferences; of rankings, the pairs of each one together; of ratings, rows with a score.
    loss: Literal["bradley_terry", "k_wise", "squared_error"] = "bradley_terry"
    eval_data: DataSettings | None = None  # what is measured on; None: a part of `data`
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of the prompts in `data`, where there is no `eval_data`
    demonstrations: DataSettings | None = None  # if given, calibrated scores have mean 0 on these
    rendering: Rendering = Rendering()
    center_rewards_coefficient: Annotated[float, Field(ge=0)] | None = (
        None  # Eisenstein et al. 2023, eq. 2; 0.01 is usual
    )
    dropout: bool = False  # as the base has it, during training
    calibrate: bool = True  # scores with mean 0 and standard deviation 1 on the training data; else raw, or ratings
    display_name: str = ""
    training: TrainingSettings = TrainingSettings()

    def __post_init__(self) -> None:
        if self.loss != "bradley_terry" and self.center_rewards_coefficient is not None:
            raise ValueError(f"center_rewards_coefficient is of bradley_terry: with {self.loss}, leave it out")
        if not self.calibrate and self.demonstrations is not None:
            raise ValueError("demonstrations set where the calibrated 0 is: set calibrate: true, or leave them out")

"""How many rollout workers, and what each one gets."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.settings import STRICT

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RolloutSettings:
    """The pool of Ray actors that generate."""

    # overlapped: generation and scoring go on while the learner updates, and no run is the same twice
    mode: Literal["synchronous", "overlapped"] = "synchronous"
    max_staleness: Annotated[int, Field(ge=0)] = 1  # overlapped: updates that a response may be behind the learner
    workers: Annotated[int, Field(ge=1)] = 2
    group_size: Annotated[int, Field(ge=1)] = 16  # requests generated together; results depend on it, not on `workers`
    cpus_per_worker: Positive = 1.0  # also its torch threads: results depend on it
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    dtype: Literal["float32", "bfloat16"] | None = None  # of the workers' weights; None: as the policy computes
    max_attempts: Annotated[int, Field(ge=1)] = 3  # workers that a prompt may cost, alone, before it is set aside
    # times as long as usual: what takes longer goes to an idle worker too, and the first to end counts; null: never
    straggler_factor: Annotated[float, Field(ge=1)] | None = 3.0
    start_timeout_s: Positive = 300.0
    generation_timeout_s: Positive = 900.0  # for one group; a worker that takes longer is replaced

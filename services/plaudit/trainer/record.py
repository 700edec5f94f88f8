"""What a run writes down of itself: `config.yaml`, `run.json`, `metrics.jsonl`, and the trackers' files."""

import contextlib
import dataclasses
import functools
import json
import operator
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from accelerate.utils import ProjectConfiguration

from plaudit import settings as plaudit_settings
from plaudit.errors import ConfigurationError
from plaudit.outputs import LOCK, check_folder, json_line, write_text, writing
from plaudit.trainer.loop import Metrics
from plaudit.trainer.settings import TrainSettings

METRICS, RUN = "metrics.jsonl", "run.json"
MAY_CHANGE = (
    *("steps", "max_missing_ratio", "rollout", "ranks", "sharding", "checkpoints"),
    *("ray_address", "address", "http_address", "insecure_bind", "tracing", "trackers"),
    *("ppo.microbatch_tokens", "policy.gradient_checkpointing"),  # they bound memory and change no gradient
)
"""Settings that a resumed run may have otherwise than before: on what and for how long it runs, not what it learns.

Bit for bit the same is only a run that keeps `rollout.group_size`, `rollout.cpus_per_worker`, `rollout.dtype`, `ranks`,
`sharding` and the two that bound memory too; and `steps`, where the learning rate falls to 0 at the last one.
"""


class RunRecord:
    """The run folder. `resume_at` is the step that runs next: what an earlier process wrote past it is cut off."""

    def __init__(self, settings: TrainSettings, resume_at: int) -> None:
        self.folder = Path(settings.folder)
        self._metrics = self.folder / METRICS
        self._cut(resume_at)
        write_text(self.folder / "config.yaml", plaudit_settings.to_yaml(settings))
        self._accelerator = _start_trackers(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._accelerator.end_training()

    def rows(self) -> list[Metrics]:
        """Every step so far."""
        return list(StepRows(self._metrics, 0).unread())

    def write(self, step: int, metrics: Metrics) -> None:
        """Appends one line to `metrics.jsonl` and tells the trackers."""
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json_line({"step": step, "time": time.time(), **metrics}))
        self._accelerator.log(metrics, step=step)

    def _cut(self, resume_at: int) -> None:
        """Drops the lines and samples of steps that will run again."""
        if self._metrics.is_file():
            lines = self._metrics.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if (step := _step_of(line)) is not None and step < resume_at]
            write_text(self._metrics, "".join(f"{line}\n" for line in kept))
        for path in self.folder.glob("samples/step-*.jsonl"):
            if int(path.stem.split("-")[1]) > resume_at:
                path.unlink()


class StepRows:
    """Reads `metrics.jsonl` from one step on, and on as it grows."""

    def __init__(self, path: Path, from_step: int) -> None:
        self._path, self._from_step = path, from_step
        self._offset = 0

    def unread(self) -> Iterator[Metrics]:
        """The lines that were finished since the last call."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                row: Metrics = json.loads(line)
                if row["step"] >= self._from_step:
                    yield row


def describe(folder: Path, **facts: Any) -> None:
    """Writes `run.json`: what the run is, beyond its settings, and where it can be asked."""
    write_text(folder / RUN, json.dumps(facts, indent=1))


def claim_folder(settings: TrainSettings) -> None:
    """Makes the run folder. Raises when it cannot be written, or holds another run: two never mix in one folder."""
    path = Path(settings.folder) / "config.yaml"
    with writing("folder", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    check_folder("folder", path.parent)
    if not path.exists():
        if strange := sorted({file.name for file in path.parent.iterdir()} - {LOCK, RUN}):
            raise ConfigurationError(
                f"folder {settings.folder} holds something else than a run ({strange[0]}): choose another (folder=...)"
            )
        return
    with writing("folder", path):
        path.open("a").close()
    before, now = (_fixed(found) for found in (plaudit_settings.load(TrainSettings, path), settings))
    if (found := plaudit_settings.difference(before, now)) is not None:
        raise ConfigurationError(
            f"{settings.folder} holds a run with another '{found[0]}' ({found[1]}, now {found[2]}): give this run a "
            "folder of its own (folder=...), or remove that one"
        )


def leave_no_trace(folder: Path) -> None:
    """Of a run that ended before it had anything to keep."""
    if (folder / "config.yaml").exists():
        return
    for name in (LOCK, RUN):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # what else is in it stays
        folder.rmdir()


def _fixed(settings: TrainSettings) -> dict[str, Any]:
    """What a run keeps to: of its reward services, what each counts for."""
    fixed = dataclasses.asdict(settings)
    for name in MAY_CHANGE:
        *rooms, last = name.split(".")
        del functools.reduce(operator.getitem, rooms, fixed)[last]
    fixed["rollout"] = {"mode": settings.rollout.mode}
    fixed["reward"] = (settings.reward.weight, settings.reward.pessimism)
    fixed["more_rewards"] = {name: (one.weight, one.pessimism) for name, one in settings.more_rewards.items()}
    return fixed


def check_trackers(trackers: Sequence[str]) -> None:
    """Raises ConfigurationError for a name that accelerate has no tracker for."""
    known = list(map(str, LOGGER_TYPE_TO_CLASS))
    for name in trackers:
        if name not in known:
            raise ConfigurationError(f"no tracker '{name}': accelerate knows {', '.join(known)}")


def _step_of(line: str) -> int | None:
    """The step of a line; None for one that a killed process left unfinished."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return None


def _start_trackers(settings: TrainSettings) -> Accelerator:
    project = ProjectConfiguration(project_dir=settings.folder, logging_dir=f"{settings.folder}/tensorboard")
    try:
        accelerator = Accelerator(cpu=True, log_with=list(settings.trackers), project_config=project)
        accelerator.init_trackers("plaudit", config={"folder": settings.folder, "seed": settings.seed})
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"trackers {list(settings.trackers)}: {error}") from None
    return accelerator

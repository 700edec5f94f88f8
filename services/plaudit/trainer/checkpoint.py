"""`checkpoints/step-N/`: the policy in Hugging Face format and all that a run needs to go on from step N.

    step-00050/
        config.json, model.safetensors, tokenizer ...   the policy, ready for `from_pretrained`
        adapter/                                        with LoRA: the adapter alone, beside the merged weights
        critic.safetensors                              the critic's own weights, for whoever wants to read them
        learner.safetensors                             what a resumed run reads: all trained weights, Adam's moments
                                                        and steps, updates skipped, the reference policy's digest
        state.json                                      `RunState`
        digests.json                                    SHA-256 of every other file, checked before anything is read

No random state is among them: every random number follows from the run seed and the step (docs/ppo.md, rule 21), and so
does the learning rate; only an overlapped run needs to know which prompts it has drawn.

A folder of this name is whole: it is written under another name and renamed. Nothing in it is ever unpickled.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from plaudit.errors import ConfigurationError, RunFailed, first_line
from plaudit.outputs import whole_folder
from plaudit.ppo.learner import Learner

STATE = "state.json"
LEARNER = "learner.safetensors"
DIGESTS = "digests.json"
DAMAGED = "damaged-"

logger = logging.getLogger(__name__)


class CheckpointFailed(RunFailed):
    """It could not be written; those before are as they were."""


@dataclass(frozen=True)
class RunState:
    """What the trainer itself remembers between steps."""

    step: int  # updates done: the next step to run, and the version of the weights
    kl_controller: dict[str, Any]
    scores: dict[str, float]  # their running moments
    reward_models: dict[str, dict[str, str]]  # by service: `name` and `sha256` of the one that scored so far
    data: dict[str, str]  # SHA-256 of prompts, held-out prompts and texts
    in_flight: list[str] = field(default_factory=list)  # ids of requests drawn and not trained on
    drawn: int = 0  # prompts drawn from the endless stream: the next one's place
    set_aside: dict[str, list[str]] = field(default_factory=dict)  # ids of prompts that kill workers, by data
    merit: dict[str, float] = field(default_factory=dict)  # of the metric that `checkpoints.best_by` names, its mean


def save(folder: Path, state: RunState, learner: Learner, keep: int, best_by: str | None) -> Path:
    """Writes `step-N` under `folder`, then removes all but the newest `keep` and the best. Raises CheckpointFailed."""
    target = _folder_of(folder, state.step)
    try:
        with whole_folder(target) as partial:
            learner.save(partial.resolve())  # a rank may have another working directory
            learner.save_state((partial / LEARNER).resolve())
            (partial / STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
            (partial / DIGESTS).write_text(json.dumps(dict(_digests(partial)), indent=1), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointFailed(
            f"checkpoint {target} could not be written ({first_line(error)}): its volume needs room for `keep` of them "
            "and two more"
        ) from error
    _prune(folder, {*existing(folder)[-keep:], best(folder, best_by), target})
    return target


def of_step(folder: Path, step: int) -> Path | None:
    """The checkpoint of this step, if there is one."""
    target = _folder_of(folder, step)
    return target if (target / STATE).is_file() else None


def existing(folder: Path) -> list[Path]:
    """Checkpoints under `folder`, oldest first."""
    named = (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))
    found = (path for path in named if (path / STATE).is_file())
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def best(folder: Path, by: str | None) -> Path | None:
    """The one of which this metric was highest, the older of equals; None where it is known of none."""
    merits = {path: merit for path in existing(folder) if (merit := _read_merits(path).get(by or "")) is not None}
    return max(merits, key=lambda path: merits[path], default=None)


def newest(folder: Path) -> tuple[Path | None, list[Path]]:
    """(the newest whole one, damaged ones): the latter get another name, and the run goes on from one before."""
    for remains in folder.glob(".step-*"):  # of a process that was killed while it wrote or removed one
        shutil.rmtree(remains, ignore_errors=True)
    damaged: list[Path] = []
    for path in reversed(existing(folder)):
        if is_whole(path):
            return path, damaged
        aside = path.with_name(DAMAGED + path.name)
        shutil.rmtree(aside, ignore_errors=True)
        damaged.append(path.rename(aside))
    return None, damaged


def is_whole(path: Path) -> bool:
    """Whether every file that was written is there, and what it was."""
    try:
        written = json.loads((path / DIGESTS).read_text(encoding="utf-8"))
        return bool(written.items() <= dict(_digests(path)).items())
    except (OSError, ValueError, AttributeError):  # gone, no JSON, no object
        return False


def load(path: Path, learner: Learner) -> RunState:
    """Puts a whole checkpoint's weights and optimizer into `learner` and returns the rest.

    The learner's reference policy is not touched: it was built from the run's own starting model.
    """
    try:
        state = RunState(**json.loads((path / STATE).read_text(encoding="utf-8")))
        learner.load_state((path / LEARNER).resolve())
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ConfigurationError(
            f"checkpoint {path} is not of this version ({error}): resume with the plaudit that wrote it, or give this "
            "run a folder of its own (folder=...)"
        ) from None
    return state


def _folder_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:05d}"


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != DIGESTS:
            with path.open("rb") as file:
                yield str(path.relative_to(folder)), hashlib.file_digest(file, "sha256").hexdigest()


def _read_merits(path: Path) -> dict[str, float]:
    try:
        found: dict[str, float] = json.loads((path / STATE).read_text(encoding="utf-8"))["merit"]
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _prune(folder: Path, kept: set[Path | None]) -> None:
    for path in existing(folder):
        if path not in kept:
            try:
                _remove(path)
            except OSError as error:  # it takes room, and does no harm
                logger.warning("checkpoint %s could not be removed (%s)", path, error.strerror)


def _remove(path: Path) -> None:
    """Under another name first: what is killed half way leaves no half checkpoint."""
    shutil.rmtree(path.rename(path.with_name(f".{path.name}.old")))

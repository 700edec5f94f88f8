"""`checkpoints/step-N/`: the policy in Hugging Face format and all that a run needs to go on from step N.

    step-00050/
        config.json, model.safetensors, tokenizer ...   the policy, ready for `from_pretrained`
        adapter/                                        with LoRA: the adapter alone, beside the merged weights
        critic.safetensors                              the critic's own weights, for whoever wants to read them
        learner.safetensors                             what a resumed run reads: all trained weights, Adam's moments
                                                        and steps, updates skipped, the reference policy's digest
        state.json                                      step, KL controller, moments of scores, name of the reward model

A folder of this name is whole: it is written under another name and renamed. Nothing in it is ever unpickled.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from plaudit.errors import ConfigurationError
from plaudit.outputs import whole_folder
from plaudit.ppo.learner import Learner

STATE = "state.json"
LEARNER = "learner.safetensors"


@dataclass(frozen=True)
class RunState:
    """What the trainer itself remembers between steps."""

    step: int  # updates done; the next step to run
    kl_controller: dict[str, Any]
    scores: dict[str, float]  # their running moments
    reward_model: str  # models/{model}/versions/{version} that scored so far


def save(folder: Path, state: RunState, learner: Learner, keep: int) -> Path:
    """Writes `step-N` under `folder`, then removes all but the newest `keep`."""
    target = folder / f"step-{state.step:05d}"
    if target.exists():
        return target
    with whole_folder(target) as partial:
        learner.save(partial.resolve())  # a rank may have another working directory
        save_file(learner.state(), partial / LEARNER)
        (partial / STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    for old in existing(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def existing(folder: Path) -> list[Path]:
    """Checkpoints under `folder`, oldest first."""
    found = (path for path in folder.glob("step-*") if (path / STATE).is_file())
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load(path: Path, learner: Learner) -> RunState:
    """Puts a checkpoint's weights and optimizer into `learner` and returns the rest.

    The learner's reference policy is not touched: it was built from the run's own starting model.
    """
    try:
        state = RunState(**json.loads((path / STATE).read_text(encoding="utf-8")))
        learner.load_state(load_file(path / LEARNER))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ConfigurationError(
            f"checkpoint {path} cannot be read ({error}): remove it to go on from the one before"
        ) from None
    return state

"""Where a run begins: at its first step, or where its newest whole checkpoint left it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from plaudit.errors import ConfigurationError
from plaudit.trainer import checkpoint
from plaudit.trainer.checkpoint import RunState
from plaudit.trainer.loop import Loop
from plaudit.trainer.prompts import prompts_sha256
from plaudit.trajectory import Prompt
from plaudit_client import ModelInfo


def fresh_state(
    loop: Loop, prompts: Mapping[str, Sequence[Prompt]], reward_models: Mapping[str, ModelInfo]
) -> RunState:
    """Of a run that begins."""
    data = {name: prompts_sha256(listed) for name, listed in prompts.items()}
    if loop.texts is not None:
        data["pretraining.data"] = loop.texts.sha256()
    models = {
        name: {"name": model.name, "sha256": model.provenance.weights_sha256} for name, model in reward_models.items()
    }
    return RunState(0, loop.controller.state(), loop.shaper.state(), models, data)


def resume(folder: Path, fresh: RunState, loop: Loop) -> tuple[RunState, Path | None]:
    """The newest whole checkpoint's state, put into the loop's parts, and its folder; `fresh` where there is none.

    Raises ConfigurationError where reward models or data are others than `fresh` names.
    """
    found, damaged = checkpoint.newest(folder)
    for path in damaged:
        print(f"a checkpoint is not what was written any more: set aside as {path}", file=sys.stderr, flush=True)
    if found is None:
        return fresh, None
    state = checkpoint.load(found, loop.learner)
    for name, model in fresh.reward_models.items():
        if (before := state.reward_models.get(name, {})) != model:
            raise ConfigurationError(
                f"{found} was trained against {_shown(before)}, but the server of '{name}' has {_shown(model)}: serve "
                "that one, ask for its version where it is loaded beside the other (reward.model), or give this run a "
                "folder of its own (folder=...)"
            )
    for key, digest in fresh.data.items():
        if state.data.get(key) != digest:
            raise ConfigurationError(
                f"{key} has changed since {found}: give it back what it had, or give this run a folder of its own "
                "(folder=...)"
            )
    loop.controller.load_state(state.kl_controller)
    loop.shaper.load_state(state.scores)
    return state, found


def _shown(model: Mapping[str, str]) -> str:
    return f"{model.get('name')} (weights {model.get('sha256', '')[:12]})"

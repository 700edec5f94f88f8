"""`plaudit control RUN ACTION` and `plaudit pool ACTION RUN`: a run is watched and steered from any machine."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from plaudit.addresses import split_address
from plaudit.errors import ConfigurationError, DependencyUnreachable, RunFailed
from plaudit_client.trainer import MOST_WORKERS, Pool, Run, Step, TrainerClient, TrainerError


def run(target: str, arguments: list[str]) -> int:
    """`target` is a run folder or host:port; an action and what it needs. Raises as all commands do."""
    action, *values = arguments
    with TrainerClient(_address(target)) as client:
        try:
            _check_folder(target, client.get())
            _act(client, action, values)
        except TrainerError as error:
            if error.reason == "POOL_NOT_READY":
                raise DependencyUnreachable(f"{error}: try again in a moment") from None
            if error.reason:
                raise RunFailed(str(error)) from None
            raise DependencyUnreachable(f"{error}: has the run ended? `plaudit train` goes on with it") from None
    return 0


def _act(client: TrainerClient, action: str, values: list[str]) -> None:
    asked: dict[str, Callable[[], Run]] = {
        "get": client.get,
        "pause": client.pause,
        "resume": client.resume,
        "stop": client.stop,
    }
    if action == "watch":
        for event in client.watch():
            print(_shown(event) if isinstance(event, Run) else _line(event), flush=True)
    elif action == "pool":
        print(_shown_pool(client.pool()))
    elif action == "resize":
        (workers,) = map(int, values)
        if not 1 <= workers <= MOST_WORKERS:
            raise ConfigurationError(f"a pool has 1 to {MOST_WORKERS} workers, not {workers}")
        print(_shown_pool(client.resize_pool(workers)))
    elif action == "checkpoint":
        print(client.checkpoint())
    else:
        print(_shown(asked[action]()))


def _address(target: str) -> str:
    """A run says in its folder where it listens."""
    path = Path(target) / "run.json"
    if path.is_file():
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except (ValueError, KeyError):
            raise ConfigurationError(f"{path} names no address: was it written by an older plaudit?") from None
    try:
        split_address(target)
    except ValueError:
        raise ConfigurationError(f"'{target}' is neither a run folder (with a run.json) nor host:port") from None
    return target


def _check_folder(target: str, found: Run) -> None:
    """Another run may have the port by now."""
    if Path(target).is_dir() and Path(target).resolve() != Path(found.folder):
        raise DependencyUnreachable(f"{target}: its run has ended; its port belongs to {found.folder} now")


def _shown(run: Run) -> str:
    when = "no step has ended yet"
    if run.last_step_time is not None:
        when = f"the last step ended {max(0.0, time.time() - run.last_step_time.timestamp()):.0f} s ago"
    parts = [f"{run.state}{f' ({run.phase})' if run.phase else ''}", f"step {run.step} of {run.steps}", when]
    if run.checkpoint:
        parts.append(f"checkpoint {Path(run.checkpoint).name}")
    return f"{run.folder}: {', '.join(parts)}"


def _shown_pool(pool: Pool) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(pool.workers.items()) if count)
    parts = [f"{pool.wanted} workers wanted: {states or 'none there yet'}", f"{pool.waiting} requests waiting"]
    if pool.restarts:
        parts.append(f"{pool.restarts} workers replaced")
    if pool.set_aside:
        parts.append(f"{pool.set_aside} prompts set aside")
    return "; ".join(parts)


def _line(step: Step) -> str:
    shown = {"score_mean": "score {:+.3f}", "kl": "KL {:.2f}", "seconds_step": "{:.1f} s"}
    values = [form.format(step.metrics[name]) for name, form in shown.items() if name in step.metrics]
    return f"step {step.step + 1}  {'  '.join(values)}"

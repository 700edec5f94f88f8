"""`plaudit COMMAND settings.yaml [key=value ...]`: parses first, then imports the room that does the work."""

import argparse
import importlib
import signal
import sys
from typing import NamedTuple


class Command(NamedTuple):
    """`module` has `run(subject: str, arguments: list[str]) -> int`, which returns the exit code."""

    module: str
    extra: str  # that it needs
    summary: str
    subject: str = "a YAML file of settings"
    actions: tuple[str, ...] = ()  # one of them; without any: key=value
    settings: str = "settings that replace the file's, such as training.epochs=2"
    metavar: str = "SETTINGS"  # the subject, in a word


COMMANDS = {
    "sft": Command("plaudit.finetune.sft", "train", "fine-tune a causal language model on demonstrations"),
    "reward-model": Command("plaudit.finetune.reward_model", "train", "train a reward model on preferences"),
    "serve": Command("plaudit.reward.serve", "reward", "serve reward models or rules over gRPC"),
    "keys": Command(
        "plaudit.reward.gate.command",
        "reward",
        "make and remove the API keys of a reward server",
        "a YAML file of keys, which `add` makes",
        settings="add or remove, then name=NAME, scopes=[score,admin], quota.tokens_per_second=N, quota.burst_tokens=N",
        metavar="FILE",
    ),
    "models": Command(
        "plaudit.reward_server.command",
        "reward",
        "look at a running reward server's models, load others, move their names, unload them",
        "host:port, or several replicas: host:port,host:port",
        settings="an action (list, load, alias, unload; none: list), then its keys, such as name=helpful folder=v2, "
        "and api_key_file=FILE, tls.ca=FILE, timeout_s=SECONDS",
        metavar="SERVER",
    ),
    "label": Command(
        "plaudit.feedback.label",
        "feedback",
        "collect people's judgements: the labelling page, the terminal, imports, exports, a report",
        settings="an action (terminal, invite, add, import, export, report; none: serve the page), then its keys and "
        "settings that replace the file's, such as database=sqlite:///judgements.db",
    ),
    "train": Command("plaudit.trainer.train", "train", "train a policy with PPO against a reward server"),
    "generate": Command(
        "plaudit.iteration.generate",
        "train",
        "have a policy answer prompts: rows to judge, to score or to choose from",
    ),
    "iterate": Command(
        "plaudit.iteration.iterate", "train", "rounds of generating, judging, a reward model and PPO, with one report"
    ),
    "control": Command(
        "plaudit.trainer.steering",
        "reward",
        "watch a training run, pause, resume or stop it, have a checkpoint written",
        "a run folder, or host:port of the run",
        ("get", "watch", "pause", "resume", "checkpoint", "stop"),
        metavar="RUN",
    ),
    "pool": Command(
        "plaudit.trainer.steering",
        "reward",
        "look at a training run's rollout workers, or have more or fewer of them",
        "a run folder, or host:port of the run",
    ),
    "top": Command(
        "plaudit.top.screen",
        "reward",
        "watch runs and reward servers on a live screen",
        "a run folder, or host:port of /metrics",
    ),
    "score": Command(
        "plaudit.evaluation.score", "reward", "score a file of prompt-response pairs with a reward server"
    ),
    "eval": Command("plaudit.evaluation.accuracy", "train", "measure a reward model's accuracy on preferences"),
    "report": Command(
        "plaudit.report.page",
        "reward",
        "write report.html into a run folder",
        "a run folder",
        settings="title=TEXT, prompts=N (shown side by side), beside=FOLDER,FOLDER (runs on the charts against KL)",
        metavar="RUN",
    ),
}
ON_DEMAND = {
    **dict.fromkeys(("datasets", "pyarrow"), "train"),  # data sets by name, and Parquet
    **dict.fromkeys(("sqlalchemy", "alembic", "psycopg"), "feedback"),  # people's judgements
    "opentelemetry": "tracing",
}
"""What commands need for some settings alone, and the extra that brings it."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; errors that a user can mend are one line on standard error."""
    from plaudit.errors import TERMINATED, PlauditError

    # Before anything slow: a container's first process has no default for SIGTERM, and would not hear it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    parsed = _parser().parse_args(arguments)
    command = COMMANDS[parsed.command]

    try:
        program = importlib.import_module(command.module)
        return int(program.run(parsed.subject, [*parsed.before, *map(str, parsed.arguments)]))
    except PlauditError as error:
        print(f"plaudit {parsed.command}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing.startswith("plaudit"):
            raise
        extra = ON_DEMAND.get(missing, command.extra)
        if command.extra == "train" and extra == "feedback":
            extra = "train"  # which has it all
        print(f"plaudit {parsed.command}: needs {missing}: pip install 'plaudit[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"plaudit {parsed.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plaudit", description="RLHF as services.")
    parser.set_defaults(before=[])  # an action that stands before the subject
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, _, summary, subject, actions, settings, metavar) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == "pool":
            _add_pool(command, subject)
            continue
        if name == "top":
            _add_top(command, subject)
            continue
        command.add_argument("subject", metavar=metavar, help=subject)
        if actions:
            command.add_argument("arguments", nargs=1, metavar="ACTION", choices=actions, help=", ".join(actions))
        else:
            command.add_argument("arguments", nargs="*", default=[], metavar="key=value", help=settings)
    return parser


def _add_pool(parser: argparse.ArgumentParser, subject: str) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = actions.add_parser("get", help="how many there are, and what they are at")
    shown.set_defaults(before=["pool"], arguments=[])
    resized = actions.add_parser("resize", help="at once, for as long as the run's process lasts")
    resized.set_defaults(before=["resize"])
    for action in (shown, resized):
        action.add_argument("subject", metavar="RUN", help=subject)
    resized.add_argument("arguments", metavar="WORKERS", nargs=1, type=int, help="how many there shall be")


def _add_top(parser: argparse.ArgumentParser, subject: str) -> None:
    parser.add_argument("subject", metavar="TARGET", help=f"{subject}; of a run, its reward servers are looked for too")
    parser.add_argument("arguments", metavar="TARGET", nargs="*", default=[], help="more of them")
    parser.add_argument(
        "--every", dest="before", action="append", default=[], type=_every, metavar="SECONDS",
        help="between two looks (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--once", dest="before", action="append_const", const="--once",
        help="one frame as plain text, of two looks; also where standard output is no terminal",
    )  # fmt: skip


def _every(text: str) -> str:
    if not 0.1 <= float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and 3600 seconds")
    return f"--every={float(text)}"


if __name__ == "__main__":
    sys.exit(main())

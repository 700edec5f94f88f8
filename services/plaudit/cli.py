"""`plaudit COMMAND settings.yaml [key=value ...]`: parses first, then imports the room that does the work."""

import argparse
import importlib
import sys

COMMANDS = {
    "sft": ("plaudit.finetune.sft", "train", "fine-tune a causal language model on demonstrations"),
    "reward-model": ("plaudit.finetune.reward_model", "train", "train a reward model on preferences"),
    "serve": ("plaudit.reward.serve", "reward", "serve reward models or rules over gRPC"),
    "train": ("plaudit.trainer.train", "train", "train a policy with PPO against a reward server"),
    "score": ("plaudit.evaluation.score", "reward", "score a file of prompt-response pairs with a reward server"),
    "eval": ("plaudit.evaluation.accuracy", "train", "measure a reward model's accuracy on preferences"),
    "report": ("plaudit.report.page", "reward", "write report.html into a run folder"),
}
"""Name -> (module, the extra that it needs, summary). Each module has `run(path: str, overrides: list[str]) -> int`,
which returns the exit code."""
OTHER_ROWS = ("datasets", "pyarrow")
"""Data sets by name and Parquet: every command reads them where the extra `train` is there."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; errors that a user can mend are one line on standard error."""
    parsed = _parser().parse_args(arguments)
    module, extra, _ = COMMANDS[parsed.command]
    from plaudit.errors import PlauditError

    try:
        program = importlib.import_module(module)
        return int(program.run(parsed.settings, parsed.overrides))
    except PlauditError as error:
        print(f"plaudit {parsed.command}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing.startswith("plaudit"):
            raise
        extra = "train" if missing in OTHER_ROWS else extra
        print(f"plaudit {parsed.command}: needs {missing}: pip install 'plaudit[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"plaudit {parsed.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plaudit", description="RLHF as services.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, _, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        command.add_argument("settings", help="a run folder" if name == "report" else "a YAML file of settings")
        command.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What `plaudit` says and does where an extra is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAIN_ALONE = ("accelerate", "datasets", "peft", "psutil", "pyarrow", "ray", "tensorboard", "trl")


def without(modules: tuple[str, ...], code: str) -> "subprocess.CompletedProcess[str]":
    """Runs `code` as if the modules were not installed."""
    block = f"import sys; sys.modules.update(dict.fromkeys({modules})); "
    return subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("serve examples/serve/digits.yaml", "starlette", "reward"),
        ("serve examples/serve/human.yaml", "sqlalchemy", "feedback"),
        ("serve examples/serve/human.yaml", "alembic", "feedback"),
        ("score examples/score/settings.yaml", "pydantic", "reward"),
        ("score examples/score/settings.yaml data.source=owner/name", "datasets", "train"),
        ("report runs/none", "jinja2", "reward"),
        ("top 127.0.0.1:9090", "rich", "reward"),
        ("top 127.0.0.1:9090", "prometheus_client", "reward"),
        ("train examples/train/settings.yaml", "ray", "train"),
        ("eval examples/eval/settings.yaml", "numpy", "train"),
        ("serve examples/serve/digits.yaml tracing.endpoint=http://127.0.0.1:1", "opentelemetry", "tracing"),
        ("train examples/train/settings.yaml tracing.every=1 folder=runs/none", "opentelemetry", "tracing"),
        ("sft examples/sft/settings.yaml", "trl", "train"),
        ("generate examples/generate/settings.yaml", "ray", "train"),
        ("iterate examples/iterate/settings.yaml", "sqlalchemy", "train"),
        ("reward-model examples/reward_model/settings.yaml", "peft", "train"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(command: str, missing: str, extra: str) -> None:
    done = without((missing,), f"from plaudit.cli import main; sys.exit(main({command.split()}))")
    program = command.partition(" ")[0]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"plaudit {program}: needs {missing}: pip install 'plaudit[{extra}]'\n"


def test_serve_score_report_and_top_need_nothing_that_train_alone_brings() -> None:
    rooms = ("reward.server", "reward.backends.model", "evaluation.score", "report.page", "top.screen")
    done = without(TRAIN_ALONE, f"import {', '.join(f'plaudit.{room}' for room in rooms)}")
    assert (done.returncode, done.stderr) == (0, "")

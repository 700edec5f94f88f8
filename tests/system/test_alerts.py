"""Each alert fires when it should and not when it should not (`alert_cases.yaml`); /metrics has good names."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from tests.deploy.monitoring import groups, registries, rules

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian package prometheus)"),
]
TEXT = (Path(__file__).parent / "alert_cases.yaml").read_text()
CASES: dict[str, dict[str, Any]] = yaml.load(TEXT, Loader=yaml.BaseLoader)  # to others 0x40 is a number


def promtool(*arguments: str | Path, given: str = "") -> str:
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def rule_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("rules")
    paths = [folder / "recording.yaml", folder / "alerts.yaml"]
    for path in paths:
        path.write_text(yaml.safe_dump({"groups": groups(path.stem)}))
    return [str(path) for path in paths]


def test_prometheus_takes_the_rules(rule_files: list[str]) -> None:
    assert f"{len(rules('alerts'))} rules found" in promtool("check", "rules", *rule_files)


def test_each_alert_has_cases() -> None:
    assert list(CASES) == [rule["alert"] for rule in rules("alerts")]
    assert all(case["fires"] and case["silent"] for case in CASES.values())


def test_alerts_fire_when_they_should_and_not_when_they_should_not(rule_files: list[str], tmp_path: Path) -> None:
    """What fails is named by promtool."""
    tests = [
        unit_test(alert, case["at"], given, fires=fires)
        for alert, case in CASES.items()
        for fires in (True, False)
        for given in case["fires" if fires else "silent"]
    ]
    path = tmp_path / "cases.yaml"
    path.write_text(yaml.safe_dump({"rule_files": rule_files, "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", path)


def unit_test(alert: str, at: str, given: dict[str, str], *, fires: bool) -> dict[str, Any]:
    """As promtool reads it."""
    expected = [{"labels": "{}", "value": 1}] if fires else []
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": series(name), "values": values(text)} for name, text in given.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": expected}],
    }


def values(text: str) -> str:
    """promtool cannot repeat a NaN."""
    return " ".join(["NaN"] * 120) if text == "NaN" else text


def series(name: str) -> str:
    """With the labels of a target."""
    name, _, own = name.rstrip("}").partition("{")
    job = "" if "job=" in own else f'job="{job_of(name)}"'
    labels = ", ".join(filter(None, (own, job, 'namespace="plaudit"', 'pod="p-0"')))
    return f"{name}{{{labels}}}"


def job_of(name: str) -> str:
    """Who exports a series; the trainer has the reward client's too."""
    own = (job for job in ("plaudit-reward", "plaudit-label") if name.startswith(job.replace("-", "_")))
    return "plaudit-trainer" if name.startswith("plaudit_reward_client_") else next(own, "plaudit-trainer")


@pytest.mark.parametrize("job", registries())
def test_prometheus_has_nothing_to_say_against_the_pages(job: str) -> None:
    assert promtool("check", "metrics", given=generate_latest(registries()[job]).decode()) == ""

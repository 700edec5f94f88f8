"""What is watched exists: metrics, labels, anchors in the runbook; dashboards are as their program writes them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.rpc.code_pb2 import Code

from plaudit.reward.errors import BatchTooLarge, InvalidRequest
from plaudit.reward.status import TABLE

from .monitoring import DEPLOY, MONITORING, dashboards, exported, expressions, panels, rules, selected, selectors

TARGET = {"job", "namespace", "pod"}  # labels that the monitors give to every series of a target
RECORDED = {rule["record"] for rule in rules("recording")}
EVERYWHERE = expressions()
ALERTS = {rule["alert"]: rule for rule in rules("alerts")}
ELSEWHERE = {
    "kube_job_failed": {"job_name", "condition"},  # of kube-state-metrics
    "kubelet_volume_stats_available_bytes": {"persistentvolumeclaim"},  # of the kubelet
    "kubelet_volume_stats_capacity_bytes": {"persistentvolumeclaim"},
}
ON_DEMAND = {  # explained where they are named in docs, too seldom wanted for a panel
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}


@pytest.mark.parametrize("where", EVERYWHERE)
def test_what_is_read_is_exported_with_these_labels(where: str) -> None:
    known = exported() | ELSEWHERE
    read = list(selectors(EVERYWHERE[where]))
    assert read, "reads nothing"
    for selector in read:
        assert selector.name in known.keys() | RECORDED | {"up"}, f"nobody exports {selector.name}"
        asked = {matcher.name for matcher in selector.matchers.matchers}
        own = known.get(selector.name, {"method"})
        assert asked <= own | TARGET, f"{selector.name} has no {', '.join(asked - own - TARGET)}"


def test_whatever_is_exported_is_on_a_dashboard_or_in_a_rule() -> None:
    read = {selector.name for expression in EVERYWHERE.values() for selector in selectors(expression)}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in read}
    unread = {name for name in exported() if re.sub("_(bucket|sum|count)$", "", name) not in families}
    assert unread == ON_DEMAND


def test_whatever_is_recorded_is_read() -> None:
    read = {selector.name for expression in EVERYWHERE.values() for selector in selectors(expression)}
    assert read >= RECORDED


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert re.fullmatch(r"\d+[mh]", alert["for"])
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert alert["annotations"]["summary"]
    path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert DEPLOY.parent / path == DEPLOY / "runbook.md"
    assert anchor == name.lower()


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    text = (DEPLOY / "runbook.md").read_text()
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == list(ALERTS)
    for name, alert in ALERTS.items():
        section = re.search(rf"^### {name}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        for number in re.findall(r"[<>] ([\d.]+)", alert["expr"]):
            if float(number):
                assert number in section[1], f"{name}: why {number}?"


def test_alerts_have_names_of_their_own() -> None:
    assert len(ALERTS) == len(rules("alerts"))
    assert len(RECORDED) == len(rules("recording"))


def test_dashboards_are_as_their_program_writes_them(tmp_path: Path) -> None:
    copy = tmp_path / "dashboards.py"
    copy.write_text((MONITORING / "dashboards.py").read_text())
    (tmp_path / "dashboards").mkdir()
    subprocess.run([sys.executable, copy], check=True)
    written = {path.name: path.read_text() for path in (tmp_path / "dashboards").iterdir()}
    committed = {path.name: path.read_text() for path in (MONITORING / "dashboards").iterdir()}
    assert committed == written, "run deploy/components/monitoring/dashboards.py"


def test_dashboards_are_told_apart_and_their_panels_too() -> None:
    every = dashboards().values()
    assert {"PPO training", "Reward serving", "Labelling"} == {one["title"] for one in every}
    assert len({one["uid"] for one in every}) == len(every)
    for one in every:
        numbers = [panel["id"] for panel in one["panels"]]
        assert len(set(numbers)) == len(numbers)
        titles = [panel["title"] for panel in panels(one)]
        assert len(set(titles)) == len(titles)


def test_legends_name_labels_that_the_curves_have() -> None:
    for panel in (one for dashboard in dashboards().values() for one in panels(dashboard)):
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert not set("{}") & set(re.sub(r"\{\{\w+\}\}", "", target["legendFormat"])), target["legendFormat"]
            kept = set(", ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"])).split(", ")) - {""}
            read = [exported().get(selector.name, set()) for selector in selectors(selected(target["expr"]))]
            assert named <= (kept or set().union(*read) | TARGET), (panel["title"], named)


def test_panels_do_not_overlap() -> None:
    for one in dashboards().values():
        taken: set[tuple[int, int]] = set()
        for panel in one["panels"]:
            place = panel["gridPos"]
            covered = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not covered & taken
            assert max(x for x, _ in covered) < 24
            taken |= covered


def test_what_callers_do_wrong_is_no_error_of_the_server() -> None:
    [recorded] = [rule for rule in rules("recording") if rule["record"] == "plaudit:reward_item_errors:ratio_rate5m"]
    [left_out] = set(re.findall(r'outcome!~"([^"]+)"', recorded["expr"]))
    for error, (code, name) in TABLE.items():
        if error is not InvalidRequest and error is not BatchTooLarge:  # no item's
            assert bool(re.fullmatch(left_out, name.lower())) == (code == Code.INVALID_ARGUMENT), name

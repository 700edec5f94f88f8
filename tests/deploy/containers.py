"""What the manifests' containers run, and the settings that their programs read there."""

from pathlib import Path
from typing import Any

from plaudit.feedback.settings import LabelSettings
from plaudit.reward.settings import ServerSettings
from plaudit.settings import load
from plaudit.trainer.settings import TrainSettings

from .rendering import named, overlay

SETTINGS = {"serve.yaml": ServerSettings, "train.yaml": TrainSettings, "label.yaml": LabelSettings}


def pod_of(where: str, kind: str, name: str) -> dict[str, Any]:
    """The pods that it makes, in an overlay."""
    found: dict[str, Any] = named(overlay(where), kind, name)["spec"]["template"]["spec"]
    return found


def container_of(where: str, kind: str, name: str) -> dict[str, Any]:
    """Their first."""
    found: dict[str, Any] = pod_of(where, kind, name)["containers"][0]
    return found


def flags_of(container: dict[str, Any]) -> dict[str, str]:
    return dict(one.split("=", 1) for one in container["args"] if "=" in one)


def settings_of(where: str, kind: str, name: str, file: str, tmp_path: Path) -> Any:
    """As the program in this container reads them: the file in the ConfigMap, and the flags."""
    pod = pod_of(where, kind, name)
    container, volumes = pod["containers"][0], {one["name"]: one for one in pod["volumes"]}
    [mount] = [one for one in container["volumeMounts"] if one["mountPath"] == "/etc/plaudit"]
    assert f"/etc/plaudit/{file}" in container["args"]
    data = named(overlay(where), "ConfigMap", volumes[mount["name"]]["configMap"]["name"])["data"]
    (tmp_path / file).write_text(data[file])
    return load(SETTINGS[file], tmp_path / file, [f"{key}={value}" for key, value in flags_of(container).items()])

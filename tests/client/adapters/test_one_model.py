"""A name that is moved to another version while runs ask for it: each goes on with the version that it began with."""

import asyncio
import copy
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plaudit.reward.folder import write
from plaudit.reward.gate.keys import digest_of
from plaudit.reward.rendering import Rendering
from plaudit_client import RewardClient, ScoreItem, TextPair, verl
from plaudit_client.admin import ModelAdmin
from plaudit_client.one_model import OtherModel
from plaudit_client.trl import RewardFunction
from tests.reward import tiny_models
from tests.reward.processes import process

PROMPT, RESPONSE = "How many?", " I count 12."


@dataclass
class Moving:
    """A server whose default model has two versions."""

    address: str
    key_file: Path
    admin: ModelAdmin
    versions: list[str]

    @property
    def key(self) -> str:
        return self.key_file.read_text()

    def golden(self, model: str) -> float:
        with RewardClient(self.address, model=model, api_key=self.key) as client:
            (score,) = client.score([ScoreItem(TextPair(PROMPT, RESPONSE))])
        return score.value


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    root = tmp_path_factory.mktemp("moving")
    folders = [tiny_models.decoder(root / "models" / str(seed), seed=seed) for seed in (0, 1)]
    for folder in folders:
        write(folder, Rendering(max_tokens=64), self_test=tiny_models.SELF_TEST)
    (root / "key").write_text("ops")
    (root / "keys.yaml").write_text(f"keys: [{{name: ops, sha256: {digest_of('ops')}, scopes: [score, admin]}}]")
    models = [{"name": "quality", "model": str(folders[0])}]
    own = {"keys": str(root / "keys.yaml"), "model_roots": [str(root / "models")], "limits": {"max_batch_tokens": 256}}
    with (
        process(root / "process", models=models, threads=1, **own) as server,
        ModelAdmin(server.address, api_key="ops") as admin,
    ):
        (first,) = admin.models()
        versions = [first.name, admin.load("quality", "1").name]
        yield Moving(server.address, root / "key", admin, versions)


@pytest.fixture
def ways(moving: Moving, monkeypatch: pytest.MonkeyPatch):
    """Of asking for a model by the name that moves."""
    monkeypatch.setenv("PLAUDIT_REWARD_ADDRESS", moving.address)
    monkeypatch.setenv("PLAUDIT_REWARD_API_KEY_FILE", str(moving.key_file))
    monkeypatch.setenv("PLAUDIT_REWARD_MODEL", "models/quality")
    path = importlib.util.find_spec("plaudit_client.openrlhf").origin
    spec = importlib.util.spec_from_file_location("reward_func", path)
    openrlhf = importlib.util.module_from_spec(spec)  # as OpenRLHF does: it reads the environment
    spec.loader.exec_module(openrlhf)
    reward = RewardFunction(moving.address, api_key=moving.key)
    said = ("d", RESPONSE, None, {"prompt": PROMPT})
    return {
        "trl": lambda: trl(reward),
        "a copy of trl's": lambda: trl(copy.deepcopy(reward)),
        "verl, awaited": lambda: asyncio.run(verl.compute_score(*said)),
        "verl, in a thread": lambda: verl.compute_score_sync(*said),
        "OpenRLHF": lambda: openrlhf.reward_func([PROMPT + RESPONSE], [PROMPT], [None])["rewards"].item(),
    }


def trl(reward: RewardFunction) -> float | None:
    return asyncio.run(reward(prompts=[PROMPT], completions=[RESPONSE]))[0]


def test_a_run_goes_on_with_its_version_until_the_server_has_that_no_more(moving: Moving, ways):
    first, second = moving.versions
    goldens = [moving.golden(version) for version in moving.versions]
    assert abs(goldens[0] - goldens[1]) > 1e-3  # else it would show nothing

    def rewards() -> dict[str, float]:
        return {name: ask() for name, ask in ways.items()}

    before = rewards()
    assert before == dict.fromkeys(ways, pytest.approx(goldens[0], rel=1e-5, abs=1e-5))
    moving.admin.update_alias(second)
    assert moving.golden("models/quality") == pytest.approx(goldens[1], rel=1e-5, abs=1e-5)
    assert rewards() == dict.fromkeys(ways, pytest.approx(goldens[0], rel=1e-5, abs=1e-5))
    later = RewardFunction(moving.address, api_key=moving.key, model="models/quality")
    assert trl(later) == pytest.approx(goldens[1], rel=1e-5, abs=1e-5)

    moving.admin.unload(first)
    for ask in ways.values():
        with pytest.raises(OtherModel, match=f"this run has rewards of {first}, and the server has that no more"):
            ask()

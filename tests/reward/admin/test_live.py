"""Models that come, go and change their names while a server serves: nobody's call fails, and every score is its
version's own."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from google.rpc.code_pb2 import Code

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.process import ModelFailed, ModelProcess
from plaudit.reward.batcher import OutOfMemory
from plaudit.reward.gate.keys import digest_of
from plaudit.reward.loading import load_model, load_tokenizer, score_alone
from plaudit.reward.rendering import Rendering, render
from plaudit_protos.reward.v1 import admin_pb2 as pb
from plaudit_protos.reward.v1 import reward_pb2
from plaudit_protos.reward.v1.admin_pb2_grpc import ModelAdminServiceStub

from ..serving import DIGITS, Running, failure, serving, settings, text, until
from ..tiny_models import SELF_TEST, TEXT, decoder, record, token_classifier

PAIRS = [*SELF_TEST, *((prompt, answer) for prompt in TEXT[:2] for answer in (" Yes.", " We open at 9, thank you."))]
RENDERING = Rendering(max_tokens=128)
ADMIN, SCORER = (("authorization", "Bearer admin"),), (("authorization", "Bearer scorer"),)


@dataclass
class Live:
    """A server with keys and roots."""

    running: Running
    admin: ModelAdminServiceStub
    root: Path

    def served(self) -> set[str]:
        return {model.card.resource for model in self.running.server.catalog.all()}

    async def load(self, folder: str, model: str = "models/m", **more: Any) -> reward_pb2.ModelInfo:
        request = pb.LoadModelRequest(model=model, folder=folder, **more)
        return (await self.admin.LoadModel(request, metadata=ADMIN)).model

    async def unload(self, name: str) -> None:
        await self.admin.UnloadModel(pb.UnloadModelRequest(name=name), metadata=ADMIN)

    async def alias(self, name: str) -> reward_pb2.ModelInfo:
        return (await self.admin.UpdateAlias(pb.UpdateAliasRequest(name=name), metadata=ADMIN)).model

    async def version(self, name: str = "models/m") -> str:
        request = reward_pb2.GetModelRequest(name=name)
        return (await self.running.stub.GetModel(request, metadata=SCORER)).model.name

    async def listed(self) -> dict[str, bool]:
        reply = await self.running.stub.ListModels(reward_pb2.ListModelsRequest(), metadata=SCORER)
        return {model.name: model.aliased for model in reply.models}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions of a model, and what cannot be served."""
    root = tmp_path_factory.mktemp("root")
    for seed, name in enumerate(("one", "two", "three")):
        decoder(root / name, RENDERING, seed=seed)
    shutil.copytree(root / "two", root / "changed")
    told = json.loads((root / "changed/plaudit_reward.json").read_text())
    told["self_test"][0]["raw_score"] += 1
    (root / "changed/plaudit_reward.json").write_text(json.dumps(told | {"version": "changed"}))
    token_classifier(root / "tokens")
    record(root / "tokens", RENDERING)
    shutil.copytree(root / "two", root / "recalibrated")
    told = json.loads((root / "two/plaudit_reward.json").read_text())
    told["calibration"] = {"mean": 1.0, "std": 2.0}
    (root / "recalibrated/plaudit_reward.json").write_text(json.dumps(told))
    shutil.copytree(root / "two", root / "nameless")
    (root / "nameless/plaudit_reward.json").write_text(json.dumps(told | {"version": ""}))
    shutil.copytree(root / "two", root / "elsewhere")
    (root / "elsewhere/model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(["score.weight"], "../two/model.safetensors")}
    (root / "elsewhere/model.safetensors.index.json").write_text(json.dumps(index))
    return root


@pytest.fixture(scope="module")
def goldens(root: Path) -> dict[str, list[float]]:
    """Of each version, by resource name: the scores of `PAIRS`, each by a plain forward."""
    return dict(golden(root / name) for name in ("one", "two", "three"))


def golden(folder: Path) -> tuple[str, list[float]]:
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    version = json.loads((folder / "plaudit_reward.json").read_text())["version"]
    ids = [render(tokenizer, RENDERING, prompt, answer).input_ids for prompt, answer in PAIRS]
    return f"models/m/versions/{version}", [score_alone(model, row) for row in ids]


@contextlib.asynccontextmanager
async def live(root: Path, folder: Path, *more: dict[str, Any], **settings: Any) -> AsyncIterator[Live]:
    keys = [{"name": name, "sha256": digest_of(name), "scopes": scopes} for name, scopes in KEYS.items()]
    (folder / "keys.yaml").write_text(json.dumps({"keys": keys}))
    own = {"keys": str(folder / "keys.yaml"), "model_roots": [str(root)]} | settings
    async with serving({"name": "m", "model": str(root / "one")}, *more, **own) as running:
        yield Live(running, ModelAdminServiceStub(running.channel), root)


KEYS = {"admin": ["admin", "score"], "scorer": ["score"]}


async def asked(live: Live, model: str, seen: dict[str, int], goldens: dict[str, list[float]], stop: asyncio.Event):
    """Scores until it is told to stop; every reply is held against the version that it says it is of."""
    while not stop.is_set():
        reply = await live.running.score(*(text(*pair) for pair in PAIRS), model=model, metadata=SCORER)
        expected = goldens[reply.model.name]
        assert [result.score.score for result in reply.results] == pytest.approx(expected, abs=1e-5, rel=1e-5)
        seen[reply.model.name] = seen.get(reply.model.name, 0) + 1


async def test_models_change_under_load_and_every_score_is_that_of_its_version(tmp_path, root, goldens):
    one, two, three = goldens
    assert all(abs(a - b) > 1e-3 for a, b in zip(goldens[one], goldens[two], strict=True))  # else it would show nothing
    async with live(root, tmp_path) as server:
        stop, counts = asyncio.Event(), [dict[str, int]() for _ in range(6)]
        names = ["models/m", "m", "", "models/m", "models/m", one]
        calls = [asyncio.create_task(asked(server, *each, goldens, stop)) for each in zip(names, counts, strict=True)]
        await until(lambda: all(counts))
        for folder, now, before in (("two", two, one), ("three", three, two)):
            assert (await server.load(folder)).name == now
            assert await server.version() == before  # loading alone changes nothing
            assert (await server.alias(now)).aliased
            await until(lambda now=now: all(count.get(now) for count in counts[:-1]))
            if before != one:  # which the last one asks for by its version
                await server.unload(before)
        stop.set()
        await asyncio.gather(*calls)
        assert await server.listed() == {one: False, three: True}
    assert set(counts[-1]) == {one}
    assert all(set(count) == {one, two, three} for count in counts[:-1])


async def test_a_load_may_move_the_name_at_once_and_again_is_no_other_load(tmp_path, root, goldens):
    one, two, _ = goldens
    async with live(root, tmp_path) as server:
        first, second = await asyncio.gather(
            server.load("two", update_alias=True), server.load("two", update_alias=True)
        )
        assert (first.name, first.load_time) == (second.name, second.load_time) == (two, second.load_time)
        assert await server.version() == two
        again = await server.load(str(root / "two"))  # a whole path, of what is there already
        assert again.load_time == first.load_time
        assert again.aliased
        aliased = server.running.server.metrics.aliased
        await until(lambda: [one.labels["version"] for one in aliased.collect()[0].samples] == [two.rpartition("/")[2]])
        assert await server.listed() == {one: False, two: True}


REFUSED = {
    "changed": ("FOLDER_REFUSED", "self-test's score"),
    "tokens": ("FOLDER_REFUSED", "load it under another name"),
    "nameless": ("FOLDER_REFUSED", "'version'"),
    "elsewhere": ("FOLDER_REFUSED", "no file of the folder"),
    "linked": ("INVALID_REQUEST", "model.safetensors leads out"),
    "ring": ("INVALID_REQUEST", "around leads out"),
    **dict.fromkeys(
        ("nowhere", "../outside", "{outside}", "link", "", "one\0", "x" * 5000),
        ("INVALID_REQUEST", "no folder with a plaudit_reward.json"),
    ),
}


async def test_what_cannot_be_loaded_leaves_what_is_served(tmp_path, root, goldens):
    one = next(iter(goldens))
    inside, outside = tmp_path / "root", tmp_path / "outside"
    shutil.copytree(root, inside)
    shutil.copytree(root / "two", outside)
    (inside / "link").symlink_to(outside)
    shutil.copytree(root / "two", inside / "linked")
    (inside / "linked/model.safetensors").unlink()
    (inside / "linked/model.safetensors").symlink_to(outside / "model.safetensors")
    shutil.copytree(root / "two", inside / "ring")
    (inside / "ring/around").symlink_to("around")
    async with live(inside, tmp_path) as server:
        for folder, (reason, why) in REFUSED.items():
            found = await failure(server.load(folder.format(outside=outside), update_alias=True))
            assert found.reason == reason
            assert why in found.message
            assert await server.listed() == {one: True}
        for request in ({"model": "models/../m"}, {"model": ""}, {"dtype": "int8"}, {"device": "cuda:x/y"}):
            assert (await failure(server.load("two", **request))).reason == "INVALID_REQUEST"
        reply = await server.running.score(text(*PAIRS[0]), metadata=SCORER)
        assert reply.results[0].score.score == pytest.approx(goldens[one][0], abs=1e-5)


@pytest.mark.parametrize(
    ("fault", "why"),
    [(OutOfMemory(), "no room on its device"), (ModelFailed("Traceback ..."), "the server's log has how")],
)
async def test_a_model_that_finds_no_room_or_fails_is_refused(tmp_path, root, goldens, monkeypatch, fault, why):
    """The likeliest end of a load, where the device already has another version."""
    async with live(root, tmp_path) as server:
        monkeypatch.setattr(ModelProcess, "best_budget", lambda *_: throw(fault))
        found = await failure(server.load("two", update_alias=True))
        assert (found.reason, why in found.message) == ("FOLDER_REFUSED", True)
        assert await server.listed() == {next(iter(goldens)): True}
        monkeypatch.undo()
        assert (await server.load("two")).name == list(goldens)[1]


def throw(fault: Exception) -> None:
    raise fault


async def test_a_version_is_what_it_was(tmp_path, root, goldens):
    """What says that it is the same version and has other weights, calibration or dtype is refused."""
    two = list(goldens)[1]
    inside = tmp_path / "root"
    shutil.copytree(root, inside)
    told = json.loads((inside / "three/plaudit_reward.json").read_text())
    told["version"] = two.rpartition("/")[2]
    (inside / "three/plaudit_reward.json").write_text(json.dumps(told))
    async with live(inside, tmp_path) as server:
        await server.load("two")
        for folder, more in (("three", {}), ("recalibrated", {}), ("two", {"dtype": "bfloat16"})):
            found = await failure(server.load(folder, **more))
            assert found.reason == "FOLDER_REFUSED"
            assert "a version never changes" in found.message


async def test_one_load_at_a_time_and_it_goes_on_without_its_caller(tmp_path, root, goldens):
    two = list(goldens)[1]
    async with live(root, tmp_path) as server:
        loading = asyncio.create_task(server.load("two"))
        await until(lambda: server.running.server.metrics.inflight.collect()[0].samples[0].value == 1)
        found = await failure(server.load("three"))
        assert (found.code, found.reason) == (Code.UNAVAILABLE, "LOAD_UNDER_WAY")
        loading.cancel()
        await until(lambda: two in server.served())


async def test_what_others_go_by_stays(tmp_path, root, goldens):
    one, two, _ = goldens
    ensemble = {"name": "both", "ensemble": {"members": ["m", "digits"]}}
    async with live(root, tmp_path, DIGITS, ensemble) as server:
        await server.load("two", update_alias=True)
        cases = {
            one: "the ensemble models/both/versions/",
            two: "update that alias first",
            "models/m": "default model",
            "models/digits": "the ensemble",
        }
        for name, why in cases.items():
            found = await failure(server.unload(name))
            assert (found.code, found.reason) == (Code.FAILED_PRECONDITION, "MODEL_IN_USE")
            assert why in found.message
        for name in ("models/none", "models/m/versions/none", "models/both/versions/"):
            assert (await failure(server.unload(name))).reason == "MODEL_NOT_FOUND"
        assert (await failure(server.alias("models/none/versions/1"))).reason == "MODEL_NOT_FOUND"
        assert (await failure(server.alias("models/m"))).reason == "INVALID_REQUEST"
        assert len(await server.listed()) == 4
        await server.unload("models/both")
        await server.unload(one)
        await server.unload("models/digits")
        assert await server.listed() == {two: True}


async def test_a_model_is_unloaded_when_its_last_call_is_answered(tmp_path, root):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\n\ndef slow(prompt, response):\n    time.sleep(1.0)\n    return 0.5\n")
    function = {"name": "slow", "callable": {"function": f"{slow}:slow"}}
    async with live(root, tmp_path, function) as server:
        call = asyncio.create_task(server.running.score(text("", ""), model="slow", metadata=SCORER))
        await until(lambda: any(admission.items for admission in server.running.server.catalog.admissions()))
        unloading = asyncio.create_task(server.unload("models/slow"))
        await until(lambda: bool(server.running.server.catalog.uses.leaving))
        found = await failure(server.running.score(text("", ""), model="slow", metadata=SCORER))
        assert found.reason == "MODEL_NOT_FOUND"
        assert not unloading.done()
        again = asyncio.create_task(server.unload("models/slow"))
        assert [result.score.score for result in (await call).results] == [0.5]
        await asyncio.wait_for(asyncio.gather(unloading, again), 5)
        assert (await failure(server.unload("models/slow"))).reason == "MODEL_NOT_FOUND"
        assert {one.labels["model"] for one in server.running.server.metrics.info.collect()[0].samples} == {"m"}


async def test_an_unloaded_model_leaves_no_process(tmp_path, root, goldens):
    one = next(iter(goldens))
    async with live(root, tmp_path) as server:
        before = processes()
        await server.load("two", update_alias=True)
        (new,) = processes() - before
        await server.unload(one)
        assert len(before - processes()) == 1
        assert new in processes()


def processes() -> set[psutil.Process]:
    """Those of models: of the process that they are all forked from, too."""
    return {one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE}


async def test_the_members_of_an_ensemble_that_is_being_asked_stay(tmp_path, root):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\n\ndef slow(prompt, response):\n    time.sleep(1.0)\n    return 0.5\n")
    function = {"name": "slow", "callable": {"function": f"{slow}:slow"}}
    both = {"name": "both", "ensemble": {"members": ["slow", "digits"]}}
    async with live(root, tmp_path, function, DIGITS, both) as server:
        call = asyncio.create_task(server.running.score(text("", "7"), model="both", metadata=SCORER))
        await until(lambda: any(admission.items for admission in server.running.server.catalog.admissions()))
        unloading = asyncio.create_task(server.unload("models/both"))
        await until(lambda: bool(server.running.server.catalog.uses.leaving))
        assert (await failure(server.unload("models/slow"))).reason == "MODEL_IN_USE"
        assert [result.score.score for result in (await call).results] == [pytest.approx(0.35)]
        await unloading
        await server.unload("models/slow")


async def test_names_that_forms_go_by_stay(tmp_path, root):
    forms = {"address": "127.0.0.1:0", "model": "digits"}
    async with live(root, tmp_path, DIGITS, forms=forms) as server:
        found = await failure(server.unload("models/digits"))
        assert (found.reason, "forms go by it" in found.message) == ("MODEL_IN_USE", True)


@pytest.mark.parametrize(("metadata", "reason"), [(SCORER, "PERMISSION_DENIED"), ((), "UNAUTHENTICATED")])
async def test_only_the_scope_admin_changes_what_is_served(tmp_path, root, goldens, metadata, reason):
    async with live(root, tmp_path) as server:
        calls = [
            server.admin.LoadModel(pb.LoadModelRequest(model="models/m", folder="two"), metadata=metadata),
            server.admin.UnloadModel(pb.UnloadModelRequest(name="models/m"), metadata=metadata),
            server.admin.UpdateAlias(pb.UpdateAliasRequest(name=next(iter(goldens))), metadata=metadata),
        ]
        for call in calls:
            assert (await failure(call)).reason == reason
        assert len(await server.listed()) == 1


async def test_without_roots_there_is_nothing_to_administer(tmp_path, root):
    async with live(root, tmp_path, model_roots=[]) as server:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await server.load("two")
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_roots_without_keys_and_roots_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="model_roots: set keys too"):
        settings(DIGITS, model_roots=[str(tmp_path)])


async def test_a_root_that_is_not_there_is_told_at_the_start(tmp_path, root):
    with pytest.raises(ConfigurationError, match=r"model_roots: .*nowhere is no folder"):
        async with live(root, tmp_path, model_roots=[str(tmp_path / "nowhere")]):
            pass


async def test_a_server_that_ends_does_not_wait_for_a_load(tmp_path, root):
    async with live(root, tmp_path) as server:
        loading = asyncio.create_task(failure(server.load("two")))
        await until(lambda: server.running.server.metrics.inflight.collect()[0].samples[0].value == 1)
        await asyncio.wait_for(server.running.server.drain(), 5)
        assert (await loading).reason == "DRAINING"

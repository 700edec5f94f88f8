"""A name is moved to another version, and versions are unloaded, while an evaluation is under way."""

import asyncio
from collections.abc import Sequence

import pytest

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.evaluation import sides
from plaudit.evaluation.sides import ask_folder, ask_server
from plaudit.preferences.reading import Side
from plaudit.reward.rendering import Rendering
from plaudit.reward_server.asking import RewardServerSettings
from tests.reward import tiny_models
from tests.reward.admin.test_live import live

SIDES = [Side(f"How much is {number}?", f" It is {number * 7 % 11} euros.") for number in range(8)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two versions of a model."""
    root = tmp_path_factory.mktemp("root")
    for seed, name in enumerate(("one", "two")):
        tiny_models.decoder(root / name, Rendering(max_tokens=200), seed=seed)
    return root


class Slowly(Sequence):
    """`SIDES`; before the second part of them, something happens on the server."""

    def __init__(self, happens):
        self._happens, self._parts = happens, 0

    def __len__(self):
        return len(SIDES)

    def __getitem__(self, place):
        self._parts += 1
        if self._parts == 2:
            self._happens()
        return SIDES[place]


async def asked(server, folder, change):
    """What an evaluation finds when `change` is made after its first four answers."""
    (folder / "scorer").write_text("scorer")
    reward = RewardServerSettings(
        address=server.running.server.address, model="models/m", api_key_file=folder / "scorer", timeout_s=10.0
    )
    loop = asyncio.get_running_loop()
    slowly = Slowly(lambda: asyncio.run_coroutine_threadsafe(change(), loop).result(timeout=30))
    return await asyncio.to_thread(ask_server, reward, slowly)


@pytest.fixture(autouse=True)
def _parts(monkeypatch):
    monkeypatch.setattr(sides, "SIDES_PER_CALL", 4)


async def test_a_name_that_is_moved_leaves_an_evaluation_with_the_version_that_it_began_with(tmp_path, root):
    async with live(root, tmp_path) as server:
        before, other = await server.version(), (await server.load("two")).name
        found = await asked(server, tmp_path, lambda: server.alias(other))
        assert await server.version() == other != before, "the name was moved"
        after = await asked(server, tmp_path, server.version)
    assert (found.model, after.model) == (before, other)
    for asked_there, name in ((found, "one"), (after, "two")):
        assert asked_there.values == pytest.approx(ask_folder(root / name, SIDES).values, abs=1e-4)
    assert found.values != pytest.approx(after.values, abs=1e-3), "two models"


async def test_a_version_that_is_unloaded_ends_it_and_is_named(tmp_path, root):
    async with live(root, tmp_path) as server:
        before, other = await server.version(), (await server.load("two")).name

        async def change():
            await server.alias(other)
            await server.unload(before)

        with pytest.raises(RunFailed, match=f"{before} was asked, and its server has that no more .*begin again"):
            await asked(server, tmp_path, change)


async def test_a_name_that_was_never_there_is_a_mistake_in_the_settings(tmp_path, root):
    async with live(root, tmp_path) as server:
        (tmp_path / "scorer").write_text("scorer")
        address = server.running.server.address
        reward = RewardServerSettings(address=address, model="nobody", api_key_file=tmp_path / "scorer")
        with pytest.raises(ConfigurationError, match=r"set reward\.model to one of those"):
            await asyncio.to_thread(ask_server, reward, SIDES)

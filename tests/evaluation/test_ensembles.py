"""An ensemble is evaluated whole and member by member; from folders as from a server that serves them."""

import asyncio
import json
import re
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.evaluation.accuracy import AccuracySettings, evaluate
from plaudit.evaluation.accuracy_report import as_dict, as_markdown
from plaudit.evaluation.sides import ask_ensemble, ask_server
from plaudit.preferences.reading import Side
from plaudit.reward.folder import Calibration, write
from plaudit.reward.rendering import Rendering
from plaudit.reward.settings import EnsembleSettings
from plaudit.reward_server.asking import RewardServerSettings
from plaudit.rows import DataSettings
from plaudit_client.fake import MODEL, FakeRewardServer
from tests.evaluation.eval_helpers import write_rows
from tests.evaluation.test_rewardbench import every
from tests.reward import tiny_models
from tests.reward.serving import serving

SIDES = [Side(f"How much is {number}?", f" It is {number * 7 % 11} euros." * (1 + number % 3)) for number in range(12)]
LONG = Side("What?", " A ticket costs 12 euros." * 20)
ROWS = [
    {"prompt": one.prompt, "chosen": one.response, "rejected": other.response, "subset": "s"}
    for one, other in zip(SIDES[::2], SIDES[1::2], strict=True)
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models that disagree; the second one reads less."""
    root = tmp_path_factory.mktemp("members")
    tokens = {"a": 200, "b": 60}
    return [tiny_models.decoder(root / name, Rendering(max_tokens=most), seed=most) for name, most in tokens.items()]


async def test_folders_are_the_ensemble_that_a_server_makes_of_them(folders):
    ways = {"mean": {}, "least": {"combine": "minimum"}, "careful": {"combine": "mean_minus_std", "k": 0.5}}
    models = [{"name": folder.name, "model": str(folder)} for folder in folders]
    models += [{"name": name, "ensemble": {"members": ["a", "b"], **how}} for name, how in ways.items()]
    async with serving(*models, deterministic=True) as server:
        asked = [RewardServerSettings(address=server.server.address, model=f"models/{name}") for name in ways]
        served = [await asyncio.to_thread(ask_server, reward, [*SIDES, LONG]) for reward in asked]
        singles = await asyncio.to_thread(ask_server, RewardServerSettings(address=server.server.address), SIDES)
    members = tuple(map(str, folders))
    for there, how in zip(served, ways.values(), strict=True):
        here = ask_ensemble(EnsembleSettings(members=members, **how), [*SIDES, LONG])
        assert here.values[:-1] == pytest.approx(there.values[:-1], abs=1e-4)
        assert (here.values[-1], there.values[-1]) == (None, None)
        assert here.missing == there.missing == {"INPUT_TOO_LONG": 1}
        assert [name.split("/")[1] for name in there.members] == ["a", "b"]
        for mine, theirs in zip(here.members.values(), there.members.values(), strict=True):
            assert mine[:-1] == pytest.approx(theirs[:-1], abs=1e-4)
            assert (mine[-1], theirs[-1]) == (None, None), "what the whole has no score for, no member counts"
    assert (next(iter(served[0].members.values()))[:-1], singles.members) == (singles.values, {})
    assert served[0].values[0] != served[1].values[0] != served[2].values[0]


async def test_members_whose_spread_no_number_can_say_have_no_score_here_as_on_a_server(tmp_path):
    """About 1e158 each, and the square of their distance is beyond every number."""
    folders = [tiny_models.decoder(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    for folder in folders:
        calibration = Calibration(mean=0.0, std=1e-160)
        write(folder, Rendering(max_tokens=200), self_test=tiny_models.SELF_TEST, calibration=calibration)
    models = [{"name": folder.name, "model": str(folder)} for folder in folders]
    async with serving({"name": "all", "ensemble": {"members": ["a", "b"]}}, *models) as server:
        there = await asyncio.to_thread(ask_server, RewardServerSettings(address=server.server.address), SIDES)
    here = ask_ensemble(EnsembleSettings(members=tuple(map(str, folders))), SIDES)
    assert here.values == there.values == [None] * len(SIDES)
    assert here.missing == there.missing == {"NONFINITE_SCORE": len(SIDES)}
    assert [*here.members.values()] == [*there.members.values()] == [here.values] * 2


def test_each_member_has_a_line_beside_the_whole(tmp_path, folders):
    data = DataSettings(source=write_rows(tmp_path, ROWS))
    ensemble = EnsembleSettings(members=tuple(map(str, folders)))
    found = evaluate(AccuracySettings(data=data, ensemble=ensemble))
    alone = [evaluate(AccuracySettings(data=data, folder=folder)).overall for folder in folders]
    assert list(found.members.values()) == alone
    assert alone[0].accuracy != alone[1].accuracy
    text = as_markdown(found)
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][1:] == [
        "| all", f"| · {folders[0]}", f"| · {folders[1]}", "| s"
    ]  # fmt: skip
    assert "mean of 2 models" in text
    assert [one["accuracy"]["value"] for one in as_dict(found)["members"].values()] == [
        one.accuracy.value for one in alone
    ]
    json.dumps(as_dict(found))


def test_a_benchmark_has_a_score_for_each_member(tmp_path, folders):
    data = DataSettings(source=write_rows(tmp_path, every("+-")))
    settings = {"data": data, "benchmark": "rewardbench"}
    ensemble = EnsembleSettings(members=tuple(map(str, folders)))
    found = evaluate(AccuracySettings(ensemble=ensemble, **settings)).benchmark
    alone = [evaluate(AccuracySettings(folder=folder, **settings)).benchmark.total for folder in folders]
    assert list(found.members.values()) == alone
    assert found.total.accuracy.n == alone[0].accuracy.n == 46


def test_a_folder_that_holds_an_ensemble_says_how_it_is_named(tmp_path, folders):
    data = DataSettings(source=write_rows(tmp_path, ROWS))
    named = re.escape(f"give ensemble.members, {folders[0]}, {folders[1]}")
    with pytest.raises(ConfigurationError, match=named):
        evaluate(AccuracySettings(data=data, folder=folders[0].parent))


def test_scores_of_two_versions_are_not_mixed(tmp_path):
    """A server may replace the model while it is asked."""
    name = "models/fake/versions/2"
    after = replace(MODEL, name=name, provenance=replace(MODEL.provenance, name=name))
    data = DataSettings(source=write_rows(tmp_path, ROWS))

    def swap(item):
        server.model = after
        return 1.0

    with FakeRewardServer(swap) as server, pytest.raises(RunFailed, match=r"models/fake/versions/1 became .*/2"):
        evaluate(AccuracySettings(data=data, reward=RewardServerSettings(address=server.address)))


def test_a_score_that_is_no_number_is_missing_as_on_a_server(tmp_path):
    """Of a model that knows one token too little: its self-test has none of it."""
    folder = tiny_models.decoder(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    seven, one = (set(tiny_models.decoder_tokenizer().encode(f" It is {number}.")) for number in (7, 1))
    weights["model.embed_tokens.weight"][list(seven - one)] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tiny_models.record(folder, Rendering(max_tokens=200))
    rows = [{"prompt": "How many?", "chosen": f" It is {number}.", "rejected": " No."} for number in (1, 7)]
    found = evaluate(AccuracySettings(data=DataSettings(source=write_rows(tmp_path, rows)), folder=folder))
    assert (found.left_out, dict(found.missing)) == (1, {"NONFINITE_SCORE": 1})
    assert found.overall.accuracy.value in (0, 1)

"""Several models as one: what the members' scores come to, and what becomes of a member that fails."""

import asyncio
import statistics
from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.ensemble import combine
from plaudit.reward.folder import Calibration, write
from plaudit.reward.items import EnsembleScore
from plaudit.reward.rendering import Rendering
from plaudit.reward.settings import EnsembleSettings

from . import tiny_models
from .serving import DIGITS, failure, pb, scores, serving, settings, take_apart, text

KEYWORD = {"name": "thanks", "rule": {"kind": "keyword", "word": "thanks"}}


def ensemble(*members: str, **how: object) -> dict[str, object]:
    return {"name": "all", "ensemble": {"members": members, **how}}


@pytest.mark.parametrize(
    ("how", "expected"),
    [({}, 0.8), ({"combine": "minimum"}, 0.6), ({"combine": "mean_minus_std", "k": 2.0}, 0.8 - 2 * 0.2)],
)
def test_what_the_members_come_to(how: dict, expected: float):
    spread = EnsembleScore(0.8, 0.2, 0.6, ())
    assert combine(EnsembleSettings(members=("a", "b"), **how), spread) == pytest.approx(expected)


async def test_an_ensemble_of_calibrated_models_says_how_they_lie_and_each_of_them_on_request(tmp_path: Path):
    for seed, scale in enumerate([1.0, 10.0, 0.5]):
        folder = tiny_models.decoder(tmp_path / str(seed), seed=seed)
        calibration = Calibration(mean=0.1 * seed, std=scale)
        write(folder, Rendering(max_tokens=64), self_test=tiny_models.SELF_TEST, calibration=calibration)
    members = [{"name": f"m{seed}", "model": str(tmp_path / str(seed))} for seed in range(3)]
    items = [text("When?", " At 9.", item_id="a"), text("What does it cost?", " 12 euros")]
    async with serving(ensemble("m0", "m1", "m2", combine="mean_minus_std", k=0.5), *members, threads=1) as running:
        reply = await running.stub.Score(pb.ScoreRequest(items=items, include_members=True))
        without = await running.score(*items)
        single = [await running.score(*items, model=f"models/m{seed}") for seed in range(3)]
        info = (await running.stub.GetModel(pb.GetModelRequest())).model
    for at, result in enumerate(reply.results):
        alone = [one.results[at].score.score for one in single]
        found = result.score.ensemble
        assert [member.score for member in found.members] == pytest.approx(alone, rel=1e-5)
        assert found.mean == pytest.approx(statistics.fmean(alone), rel=1e-5)
        assert found.stddev == pytest.approx(statistics.stdev(alone), rel=1e-5)
        assert found.minimum == pytest.approx(min(alone), rel=1e-5)
        assert result.score.score == pytest.approx(found.mean - 0.5 * found.stddev)
    assert [member.name for member in reply.results[0].score.ensemble.members] == list(info.members)
    assert list(info.members) == [one.model.name for one in single]
    assert not without.results[0].score.ensemble.members
    assert without.results[0].score.ensemble.stddev > 0
    assert reply.model.calibration_id.startswith("ensemble-")
    assert reply.results[0].item_id == "a"
    assert reply.results[0].score.input_tokens == single[0].results[0].score.input_tokens


async def test_no_score_where_one_member_has_none(tmp_path: Path):
    folder = tiny_models.decoder(tmp_path)
    short = {"name": "short", "model": str(folder), "rendering": {"kind": "plain", "max_tokens": 8}}
    async with serving(ensemble("digits", "short"), DIGITS, short, threads=1) as running:
        reply = await running.score(text("a", "1"), text("a", "1 " * 50))
    assert [result.WhichOneof("result") for result in reply.results] == ["score", "error"]
    assert take_apart(reply.results[1].error).reason == "INPUT_TOO_LONG"


async def test_what_refuses_one_member_s_call_refuses_all_and_leaves_nothing_behind(tmp_path: Path):
    function = tmp_path / "slow.py"
    function.write_text("import time\ndef score(prompt, response):\n    time.sleep(0.2)\n    return 1.0\n")
    slow = {"name": "slow", "callable": {"function": f"{function}:score", "max_queue_items": 2, "concurrency": 1}}
    async with serving(ensemble("digits", "slow"), DIGITS, slow) as running:
        held = asyncio.ensure_future(running.score(*[text("a", "1")] * 2))
        await asyncio.sleep(0.05)
        found = await failure(running.score(*[text("a", "1")] * 2))
        assert found.reason == "QUEUE_FULL"
        assert scores(await held) == pytest.approx([0.6, 0.6])
        assert [admission.items for admission in running.server.catalog.admissions()] == [0, 0, 0]


async def test_a_spread_that_is_no_number_is_no_score(tmp_path: Path):
    function = tmp_path / "far.py"
    function.write_text(
        "def up(p, r):\n    return 1.7e308 if r else 0\ndef down(p, r):\n    return -1.7e308 if r else 0\n"
    )
    members = [{"name": name, "callable": {"function": f"{function}:{name}"}} for name in ("up", "down")]
    async with serving(ensemble("up", "down"), *members) as running:
        reply = await running.score(text("a", "b"), text("a", ""))
    assert take_apart(reply.results[0].error).reason == "NONFINITE_SCORE"
    assert scores(reply) == [0.0]


async def test_its_version_is_its_members():
    versions = set()
    for word in ("thanks", "please", "thanks"):
        keyword = {"name": "thanks", "rule": {"kind": "keyword", "word": word}}
        async with serving(ensemble("digits", "thanks"), DIGITS, keyword) as running:
            versions.add((await running.score(text("a", "1"))).model.version)
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("members", "problem"),
    [(("digits",), "at least 2"), (("digits", "nobody"), "'nobody'"), (("digits", "digits"), "twice"),
     (("digits", "all"), "'all'")],
)  # fmt: skip
def test_wrong_members_are_refused(members, problem):
    with pytest.raises(ConfigurationError, match=problem):
        settings(ensemble(*members), DIGITS, KEYWORD)

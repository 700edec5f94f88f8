"""What a shorter number format changes is measured at start and said."""

import json
import statistics
from pathlib import Path

import pytest

from plaudit.errors import ConfigurationError
from plaudit.reward.backends.model import ModelBackend
from plaudit.reward.drift import drift
from plaudit.reward.rendering import Rendering, render

from . import tiny_models
from .serving import pb, scores, serving, settings, text


def test_drift_by_hand():
    found = drift([0.0, 1.0, 2.0], [0.5, 0.25, 2.0])
    assert found == (3, 0.75, pytest.approx((0.8125 / 3) ** 0.5), pytest.approx(1 / 3))
    assert drift([1.0], [1.0]) == (1, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="finite"):
        drift([1.0], [float("nan")])


@pytest.mark.parametrize("own", [True, False])
async def test_bfloat16_says_how_far_it_is_from_float32(tmp_path: Path, own: bool):
    folder = tiny_models.decoder(tmp_path / "model", Rendering(max_tokens=64))
    pairs = tiny_models.SELF_TEST
    model = {"name": "m", "model": str(folder), "dtype": "bfloat16"}
    if own:
        pairs = [("What does it cost?", f" {price} euros") for price in range(12)]
        rows = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in pairs]
        (tmp_path / "rows.jsonl").write_text("\n".join(rows))
        model["references"] = {"source": str(tmp_path / "rows.jsonl")}
    async with serving(model, threads=1, deterministic=True) as running:
        reply = await running.score(*(text(*pair) for pair in pairs))
        info = (await running.stub.GetModel(pb.GetModelRequest())).model
    exact = ModelBackend(folder, dtype="float32", device="cpu", max_tokens=64)
    tokenizer = tiny_models.decoder_tokenizer()
    ids = [render(tokenizer, Rendering(max_tokens=64), *pair).input_ids for pair in pairs]
    differences = [abs(exact.alone(row)[0] - score) for row, score in zip(ids, scores(reply), strict=True)]
    assert info.drift.references == (len(pairs) if own else len(pairs) + 1)  # the self-test has one cut pair too
    assert 0 < info.drift.rms <= info.drift.largest < 1
    if own:
        assert info.drift.largest == pytest.approx(max(differences), rel=1e-3)
        assert info.drift.rms == pytest.approx(statistics.fmean(one**2 for one in differences) ** 0.5, rel=1e-3)
    else:
        assert info.drift.largest >= 0.999 * max(differences)
    assert reply.model.dtype == "bfloat16"


async def test_float32_has_no_drift(tmp_path: Path):
    folder = tiny_models.decoder(tmp_path, Rendering(max_tokens=64))
    async with serving({"name": "m", "model": str(folder)}, threads=1) as running:
        assert not (await running.stub.GetModel(pb.GetModelRequest())).model.HasField("drift")
    with pytest.raises(ConfigurationError, match="dtype: bfloat16"):
        settings({"name": "m", "model": str(folder), "references": {"source": "rows.jsonl"}})


async def test_a_reference_that_cannot_be_rendered_is_named(tmp_path: Path):
    folder = tiny_models.decoder(tmp_path / "model", Rendering(max_tokens=16))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a " * 50, "response": "b"}))
    references = {"source": str(tmp_path / "rows.jsonl")}
    with pytest.raises(ConfigurationError, match=r"rows\.jsonl:1.*tokens"):
        async with serving({"name": "m", "model": str(folder), "dtype": "bfloat16", "references": references}):
            pass


async def test_more_references_than_can_be_compared_are_refused_before_they_are_scored(tmp_path: Path):
    folder = tiny_models.decoder(tmp_path / "model", Rendering(max_tokens=64))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "response": "b"}\n' * 2001)
    references = {"source": str(tmp_path / "rows.jsonl")}
    with pytest.raises(ConfigurationError, match=r"2001 rows.*references\.limit"):
        async with serving({"name": "m", "model": str(folder), "dtype": "bfloat16", "references": references}):
            pass

"""The server's scores are those of a plain single-item forward of transformers, whatever is asked beside them."""

import asyncio
import functools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer, XLNetConfig, XLNetForSequenceClassification

from plaudit.reward.backends.model import ModelBackend
from plaudit.reward.folder import Calibration, write
from plaudit.reward.loading import load_model
from plaudit.reward.rendering import Rendering

from . import tiny_models
from .serving import pb, scores, serving, text

WORDS = ["what", "does", "a", "ticket", "cost", "12", "euros", "thank", "you", "we", "open", "at", "9", "日本", "café"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["stop", "length"])), min_size=1, max_size=12)
FINISH = {"stop": pb.FINISH_REASON_STOP, "length": pb.FINISH_REASON_LENGTH}


@functools.cache
def loaded(folder: Path):
    return AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)


def reference(folder: Path, kind: str, prompt: str, response: str, finish: str) -> float | None:
    """Written out by hand with transformers alone; None where there is nothing to read."""
    tokenizer, model = loaded(folder)
    first = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    last = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    if kind == "chat":
        body = f"<s><|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{response}"
        ids = tokenizer(body + ("<|im_end|>\n" if finish == "stop" else ""), add_special_tokens=False)["input_ids"]
    else:
        ids = [first] if kind != "no bos" else []
        ids += tokenizer(prompt + response, add_special_tokens=False)["input_ids"]
        ids += [last] if finish == "stop" and kind != "no eos" else []
    if not ids:
        return None
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, 0].item()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    root = tmp_path_factory.mktemp("models")
    plain, chat = Rendering(max_tokens=512), Rendering(kind="chat", max_tokens=512)
    return {
        "decoder": (tiny_models.decoder(root / "decoder", plain), "plain"),
        "decoder-chat": (tiny_models.decoder(root / "chat", chat), "chat"),
        "decoder-pad-is-eos": (tiny_models.decoder(root / "pad", plain, pad="</s>"), "plain"),
        "decoder-pads-left": (tiny_models.decoder(root / "left", plain, side="left"), "plain"),
        "decoder-without-bos": (tiny_models.decoder(root / "bos", replace(plain, bos=False)), "no bos"),
        "decoder-without-eos": (tiny_models.decoder(root / "eos", replace(plain, eos=False)), "no eos"),
        "absolute-decoder": (tiny_models.absolute_decoder(root / "absolute", plain), "plain"),
        "encoder": (tiny_models.encoder(root / "encoder", plain), "plain"),
        "rotary-encoder": (tiny_models.rotary_encoder(root / "rotary", plain), "plain"),
    }


MODELS = [
    *("decoder", "decoder-chat", "decoder-pad-is-eos", "decoder-pads-left", "decoder-without-bos"),
    *("decoder-without-eos", "absolute-decoder", "encoder", "rotary-encoder"),
]


@pytest.mark.parametrize("which", MODELS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=PAIRS, data=st.data())
async def test_scores_are_those_of_single_items_however_they_are_asked(folders, which: str, pairs, data):
    folder, kind = folders[which]
    items = [text(p, r, finish_reason=FINISH[f]) for p, r, f in pairs]
    order = data.draw(st.permutations(range(len(items))))
    cut = data.draw(st.integers(1, len(items)))
    budget = data.draw(st.sampled_from([1, 64, 8192]))
    async with serving({"name": "m", "model": str(folder)}, threads=1, limits={"max_batch_tokens": budget}) as running:
        calls = [running.score(*(items[at] for at in part)) for part in (order[:cut], order[cut:]) if part]
        replies = await asyncio.gather(*calls)
    results = [result.score.score if result.HasField("score") else None for r in replies for result in r.results]
    found = dict(zip(order, results, strict=True))
    expected = [reference(folder, kind, *pair) for pair in pairs]
    for at, score in enumerate(expected):
        assert found[at] == (None if score is None else pytest.approx(score, rel=1e-5, abs=1e-5))


async def test_deterministic_scores_are_the_same_bits_whatever_is_asked_beside_them(folders):
    folder, _ = folders["decoder"]
    items = [text("what does it cost " * n, " 12 euros" * n) for n in range(1, 20)]
    async with serving({"name": "m", "model": str(folder)}, deterministic=True, threads=1) as running:
        together = scores(await running.score(*items))
        backwards = scores(await running.score(*reversed(items)))
        alone = [scores(await running.score(item))[0] for item in items]
        info = (await running.stub.GetModel(pb.GetModelRequest())).model
    assert together == alone == backwards[::-1]
    assert info.deterministic


def xlnet(folder: Path) -> Path:
    """Reads its score out at the last position, so padding on the right would change it."""
    tokenizer = tiny_models.decoder_tokenizer()
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=len(tokenizer), d_model=32, n_layer=2, n_head=4, d_inner=64, num_labels=1)
    config.pad_token_id = tokenizer.pad_token_id
    model = XLNetForSequenceClassification(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("make", "pads"), [(tiny_models.decoder, True), (tiny_models.encoder, True), (xlnet, False)])
def test_rows_are_padded_only_where_that_changes_nothing(tmp_path: Path, make, pads: bool):
    backend = ModelBackend(make(tmp_path), dtype="float32", device="cpu", max_tokens=64)
    assert backend.pads is pads
    rows = [tuple(range(10, 10 + length)) for length in (3, 9, 9, 1, 30)]
    rows[2] = rows[2][::-1]
    if pads:
        padded = [score for (score,) in backend.forward(rows)]
        assert padded == pytest.approx([backend.alone(row)[0] for row in rows], rel=1e-5, abs=1e-5)
    assert (backend.best_budget(8192).waste > 0) is pads


def test_batches_are_as_large_as_they_may_be_before_a_token_costs_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    backend = ModelBackend(tiny_models.decoder(tmp_path), dtype="float32", device="cpu", max_tokens=64)

    def seconds(rows):  # 10 for a forward, 1 for a token up to 1000, 3 beyond; no room for more than 4000
        tokens = sum(map(len, rows))
        if tokens > 4000:
            raise torch.OutOfMemoryError
        return 10 + tokens + 2 * max(0, tokens - 1000)

    monkeypatch.setattr(backend, "_fastest", seconds)
    assert backend.best_budget(8192) == (512, pytest.approx(10, rel=0.1), float("inf"), pytest.approx(522))
    monkeypatch.setattr(backend, "_fastest", lambda rows: seconds(rows) ** 0.5)
    assert backend.best_budget(8192).cost == 2048
    monkeypatch.setattr(backend, "_fastest", lambda rows: 1 + 0.001 * sum(map(len, rows)) ** 1.01)
    assert backend.best_budget(300).cost == 256
    assert backend.best_budget(32).cost == 32


async def test_an_item_that_makes_nan_fails_alone(tmp_path: Path):
    folder = tiny_models.decoder(tmp_path)
    model, tokenizer = load_model(folder), AutoTokenizer.from_pretrained(folder)
    model.get_input_embeddings().weight.data[tokenizer.convert_tokens_to_ids("Z")] = float("nan")
    model.save_pretrained(folder)
    rendering = {"kind": "plain", "max_tokens": 64}
    async with serving({"name": "m", "model": str(folder), "rendering": rendering}, threads=1) as running:
        reply = await running.score(text("a", "b"), text("a", "Z", item_id="bad"), text("a", "c"))
        sick = reply.results[1]
        assert [result.WhichOneof("result") for result in reply.results] == ["score", "error", "score"]
        assert sick.item_id == "bad"
        assert not sick.score.HasField("score")
        expected = [reference(folder, "plain", "a", response, "stop") for response in "bc"]
        assert scores(reply) == pytest.approx(expected, rel=1e-5, abs=1e-5)


async def test_calibration_and_provenance_are_in_every_reply(tmp_path: Path):
    folder = tiny_models.decoder(tmp_path)
    record = write(
        folder,
        Rendering(max_tokens=64, truncation="left_prompt"),
        self_test=tiny_models.SELF_TEST,
        calibration=Calibration(mean=0.5, std=4.0),
    )
    async with serving({"name": "m", "model": str(folder)}, threads=1) as running:
        reply = await running.score(text("When do you open? " * 20, " At 9."), text("When?", " At 9."))
    (cut, whole) = (result.score for result in reply.results)
    assert cut.truncated
    assert (cut.input_tokens, whole.truncated) == (64, False)
    assert cut.truncated_tokens > 0 == whole.truncated_tokens
    assert whole.score == pytest.approx((whole.raw_score - 0.5) / 4.0)
    assert reply.model.weights_sha256 == record.weights_sha256
    assert reply.model.rendering_sha256 == record.rendering_sha256
    assert reply.model.calibration_id == record.calibration.id
    assert reply.model.name == f"models/m/versions/{record.version}"
    assert reply.model.dtype == "float32"


async def test_token_ids_score_like_their_text_and_foreign_ones_are_refused(folders):
    folder, _ = folders["decoder"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    head, tail = [1, *tokenizer("When?")["input_ids"]], [*tokenizer(" At 9.")["input_ids"], 2]
    async with serving({"name": "m", "model": str(folder)}, threads=1) as running:
        sha = (await running.stub.GetModel(pb.GetModelRequest())).model.tokenizer_sha256

        def tokens(prompt, response, digest=sha):
            return pb.ScoreItem(tokens=pb.TokenPair(prompt_ids=prompt, response_ids=response, tokenizer_sha256=digest))

        reply = await running.score(
            tokens(head, tail),
            text("When?", " At 9."),
            tokens(head, tail, "0" * 64),
            tokens([10**6], [2]),
            tokens([], []),
        )
    assert scores(reply)[0] == pytest.approx(scores(reply)[1], rel=1e-5)
    assert [result.WhichOneof("result") for result in reply.results] == ["score", "score", "error", "error", "error"]
    assert json.loads((folder / "plaudit_reward.json").read_text())["format"] == 1

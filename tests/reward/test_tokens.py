"""Scores of the tokens of a response: those of a plain forward, told where they stand."""

from pathlib import Path

import pytest
import torch
from google.rpc.code_pb2 import Code
from transformers import AutoModelForTokenClassification, AutoTokenizer

from plaudit.errors import ConfigurationError
from plaudit.reward.folder import Calibration, write
from plaudit.reward.rendering import Rendering

from . import tiny_models
from .serving import DIGITS, failure, pb, serving, text

PAIRS = [("When do you open?", " At 9. \n\nThank you."), ("What does it cost?", " 12 euros"), ("When?", "")]


def served(folder: Path) -> dict[str, object]:
    return {"name": "steps", "model": str(folder), "rendering": {"kind": "plain", "max_tokens": 64}}


@pytest.mark.parametrize("labels", [1, 2])
async def test_the_tokens_of_a_response_score_as_in_a_plain_forward(tmp_path: Path, labels: int):
    folder = tiny_models.token_classifier(tmp_path, labels)
    async with serving(served(folder), threads=1) as running:
        reply = await running.stub.ScoreTokens(pb.ScoreTokensRequest(items=[text(*pair) for pair in PAIRS]))
        info = (await running.stub.GetModel(pb.GetModelRequest())).model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder)
    for (prompt, response), result in zip(PAIRS, reply.results, strict=True):
        ids = [1, *tokenizer(prompt + response, add_special_tokens=False)["input_ids"], 2]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        values = logits[:, 0] if labels == 1 else logits[:, 1] - logits[:, 0]
        said = len(tokenizer(response, add_special_tokens=False)["input_ids"])
        expected = values[len(ids) - 1 - said : len(ids) - 1].tolist()
        assert [token.score for token in result.scores.tokens] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert [token.token_id for token in result.scores.tokens] == ids[len(ids) - 1 - said : len(ids) - 1]
        cut = [response.encode()[token.begin : token.end].decode() for token in result.scores.tokens]
        assert "".join(cut) == response
        assert result.scores.input_tokens == len(ids)
    assert info.scores_tokens
    assert reply.model.name == info.name


async def test_token_ids_have_scores_and_no_place_in_a_text(tmp_path: Path):
    folder = tiny_models.token_classifier(tmp_path)
    async with serving(served(folder), threads=1) as running:
        sha = (await running.stub.GetModel(pb.GetModelRequest())).model.tokenizer_sha256
        pair = pb.TokenPair(prompt_ids=[1, 7, 8], response_ids=[9, 10], tokenizer_sha256=sha)
        reply = await running.stub.ScoreTokens(pb.ScoreTokensRequest(items=[pb.ScoreItem(tokens=pair)]))
    tokens = reply.results[0].scores.tokens
    assert [token.token_id for token in tokens] == [9, 10]
    assert not any(token.HasField("begin") or token.HasField("end") for token in tokens)


async def test_one_token_without_a_number_leaves_the_item_without_scores(tmp_path: Path):
    folder = tiny_models.token_classifier(tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.get_input_embeddings().weight.data[tokenizer.convert_tokens_to_ids("Z")] = float("nan")
    model.save_pretrained(folder)
    async with serving(served(folder), threads=1) as running:
        request = pb.ScoreTokensRequest(items=[text("a", "bZ", item_id="bad"), text("a", "b")])
        reply = await running.stub.ScoreTokens(request)
    assert [result.WhichOneof("result") for result in reply.results] == ["error", "scores"]
    assert reply.results[0].item_id == "bad"


@pytest.mark.parametrize("what", ["references", "calibration"])
async def test_what_is_for_whole_scores_is_refused(tmp_path: Path, what: str):
    folder, model = tiny_models.token_classifier(tmp_path), served(tmp_path)
    if what == "references":
        model |= {"dtype": "bfloat16", "references": {"source": "rows.jsonl"}}
    else:
        write(folder, Rendering(max_tokens=64), self_test=tiny_models.SELF_TEST, calibration=Calibration(mean=0, std=2))
        del model["rendering"]
    with pytest.raises(ConfigurationError, match=what):
        async with serving(model, threads=1):
            pass


async def test_each_kind_of_model_answers_its_own_methods(tmp_path: Path):
    folder = tiny_models.token_classifier(tmp_path)
    async with serving(served(folder), DIGITS, threads=1) as running:
        wrong = [
            running.score(text("a", "b"), model="models/steps"),
            running.stub.RankCandidates(pb.RankCandidatesRequest(text="a", candidates=[pb.Candidate(response="b")])),
            running.stub.ScoreTokens(pb.ScoreTokensRequest(model="models/digits", items=[text("a", "b")])),
        ]
        for call in wrong:
            found = await failure(call)
            assert (found.code, found.reason) == (Code.FAILED_PRECONDITION, "WRONG_METHOD")

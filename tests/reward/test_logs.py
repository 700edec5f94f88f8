"""What the server writes: who asked and how it ended, and nothing of what was asked."""

import json
from pathlib import Path

import grpc
import httpx
import pytest

from plaudit.cli import main
from plaudit.reward.rendering import Rendering
from plaudit_protos.reward.v1.reward_pb2_grpc import RewardServiceStub

from . import tiny_models
from .processes import process
from .serving import DIGITS, pb, text

CANARY = "xylophone-4711"
KEYWORD = {"name": "keyword", "rule": {"kind": "keyword", "word": "thanks"}}
TELLS = """
def score(prompt, response):
    raise ValueError(f"I was asked {prompt} and {response}")
"""


def requests() -> list[tuple[str, object]]:
    """Every way in, and every way to fail."""
    turn = [pb.Message(role="user", content=CANARY), pb.Message(role="assistant", content=CANARY)]
    items = [
        text(CANARY, CANARY),
        text("", CANARY * 1000),  # too long for the model
        text(CANARY, "poison"),
        text(CANARY, "1", finish_reason=99),
        pb.ScoreItem(conversation=pb.Conversation(messages=turn)),
        pb.ScoreItem(conversation=pb.Conversation(messages=[pb.Message(role=CANARY, content=CANARY)])),
        pb.ScoreItem(tokens=pb.TokenPair(prompt_ids=[1], response_ids=[2], tokenizer_sha256=CANARY)),
        pb.ScoreItem(),
    ]
    asked: list[tuple[str, object]] = []
    for model in ("digits", "keyword", "tells", "small", CANARY):
        asked.append(("Score", pb.ScoreRequest(model=model, items=items)))
        asked.append(("ScoreTokens", pb.ScoreTokensRequest(model=model, items=items)))
        candidates = [pb.Candidate(response=CANARY), pb.Candidate(response=f"{CANARY} 2")]
        asked.append(("RankCandidates", pb.RankCandidatesRequest(model=model, text=CANARY, candidates=candidates)))
    return [*asked, ("GetModel", pb.GetModelRequest(name=CANARY))]


def test_all_that_is_written_has_no_word_of_what_was_asked(tmp_path: Path, capsys):
    keys, tells = tmp_path / "keys.yaml", tmp_path / "tells.py"
    assert main(["keys", str(keys), "add", "name=trainer"]) == 0
    key = capsys.readouterr().out.strip()
    tells.write_text(TELLS)
    small = tiny_models.decoder(tmp_path / "small", Rendering(max_tokens=64))
    models = [DIGITS, KEYWORD, {"name": "tells", "callable": {"function": f"{tells}:score"}}]
    models.append({"name": "small", "model": str(small)})
    folder, codes = tmp_path / "server", []
    with process(folder, models=models, keys=str(keys), log_level="DEBUG") as server:
        with grpc.insecure_channel(server.address) as channel:
            for number, (method, request) in enumerate(requests()):
                if hasattr(request, "request_id"):
                    request.request_id = f"request-{number}"
                call = getattr(RewardServiceStub(channel), method)
                for authorization in (f"Bearer {key}", f"Bearer {CANARY}"):
                    try:
                        call(request, metadata=(("authorization", authorization),), timeout=20)
                        codes.append("OK")
                    except grpc.RpcError as error:
                        codes.append(error.code().name)
            malformed = channel.unary_unary("/plaudit_protos.reward.v1.RewardService/Score")
            with pytest.raises(grpc.RpcError):
                malformed(CANARY.encode(), metadata=(("authorization", f"Bearer {key}"),))
        page = httpx.get(f"http://{server.http_address}/metrics").text
        server.process.terminate()
        out, _ = server.process.communicate(timeout=20)
    assert {"OK", "NOT_FOUND", "UNAUTHENTICATED", "FAILED_PRECONDITION"} <= set(codes)
    written = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    written |= {"/metrics": page, "standard output": out}
    for where, content in written.items():
        for secret in (CANARY, key, "I was asked"):
            assert secret not in content, where
    lines = [json.loads(line) for line in written["stderr.txt"].splitlines()]
    calls = {line["request_id"]: line for line in lines if line["event"] == "call"}
    assert calls["request-0"].items() >= {"client": "trainer", "method": "Score", "code": "OK"}.items()
    assert any(line["event"] == "the function failed" and line["client"] == "trainer" for line in lines)

"""What docs/clients.md shows runs as it stands."""

import re
from pathlib import Path

import pytest
from google.protobuf import json_format

from plaudit_client import TokenScore
from plaudit_client.fake import FakeRewardServer
from plaudit_protos.reward.v1 import reward_pb2 as pb

TEXT = (Path(__file__).parents[2] / "docs/clients.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
REQUESTS = re.findall(r"-d '(\{\"items.*?)' ", TEXT)


@pytest.mark.parametrize("program", PROGRAMS, ids=["blocking", "ranking and tokens", "asyncio", "fake"])
def test_programs_run(program):
    with FakeRewardServer(lambda item: 1.0, tokens=lambda item: [TokenScore(7, 0.5, 0, 5)]) as server:
        exec(program.replace("localhost:50051", server.address), {})


@pytest.mark.parametrize("request_json", REQUESTS, ids=["text", "conversation"])
def test_requests_are_requests(request_json):
    (item,) = json_format.Parse(request_json, pb.ScoreRequest()).items
    assert item.WhichOneof("input")

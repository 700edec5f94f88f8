"""Programs that a process starts while its reward client is open all begin: Ray's node is such programs."""

import subprocess
import sys

FORKS = 500  # with gRPC's fork handlers about one in a hundred dies
PROGRAM = f"""
import collections, subprocess
import plaudit
from plaudit_client import RewardClient
from plaudit_client.fake import FakeRewardServer

with FakeRewardServer(lambda item: 1.0) as server, RewardClient(server.address) as client:
    client.wait_until_ready(30)
    starts = (subprocess.run(["true"], preexec_fn=lambda: None).returncode for _ in range({FORKS}))
    print(dict(collections.Counter(starts)))
"""


def test_no_child_dies_before_its_program_begins():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == f"{{0: {FORKS}}}", ended.stderr

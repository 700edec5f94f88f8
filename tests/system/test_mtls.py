"""The component `mtls` on machines: each pod's command and ports as they stand, probed as a kubelet does."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy import rendering
from tests.deploy.rendering import named
from tests.reward.authorities import Authority
from tests.reward.serving import DIGITS

from .machines import Network
from .pods import Pod
from .watching import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(280)]
ASK = """
import sys
from plaudit_client import *
ca, certificate, key = sys.argv[1:]
tls = Tls(ca, certificate or None, key or None)
with RewardClient("reward-server:50051", tls=tls, retry=RetryPolicy(max_attempts=1)) as client:
    print(client.score([ScoreItem(TextPair("", "1 2"))])[0].value)
"""


def test_a_pod_with_a_certificate_is_answered_and_one_without_is_not(net: Network, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    secret, mine = tmp_path / "reward-server-tls", authority.sign("trainer")
    secret.mkdir()
    authority.sign("server", host="reward-server", at=(secret / "tls.crt", secret / "tls.key"))
    (secret / "ca.crt").write_bytes(authority.ca.read_bytes())
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump({"models": [DIGITS]}))
    rewards, asking = net.machine("rm", 10), net.machine("ask", 11)
    asking.knows({"reward-server": rewards})

    template = named(rendering.combination(("mtls",)), "Deployment", "reward-server")["spec"]["template"]["spec"]
    mounted = {"/etc/plaudit-tls": secret}
    pod = Pod("Deployment", "reward-server", rewards, tmp_path, template=template, mounted=mounted)
    process = pod.start(tmp_path / "serve.log")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        until(lambda probe=probe: pod.passes(probe), 30, probe)

    def ask(*certificate: str) -> str:
        said = asking.start([sys.executable, "-c", ASK, str(authority.ca), *certificate], tmp_path / "ask.log")
        said.wait(60)
        return (tmp_path / "ask.log").read_text()

    assert "ServerUnavailable" in ask("", "")
    assert ask(str(mine.certificate), str(mine.key)).endswith("0.4\n")
    process.terminate()
    assert process.wait(pod.grace) == 0
    assert not pod.passes("livenessProbe")

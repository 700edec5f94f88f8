"""The labelling page and PostgreSQL, as their manifests have them, on machines: probed as a kubelet does, without the
database and with it again, told to go while somebody sends a judgement."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from plaudit.errors import DependencyUnreachable
from tests.deploy.rendering import DEPLOY
from tests.feedback.postgres import OWNER, programs

from .machines import Machine, Network
from .pods import Pod
from .watching import until

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(280),
    pytest.mark.skipif(programs() is None, reason="needs PostgreSQL (Debian package postgresql)"),
]
SECRETS = {"postgresql": "a password that stands nowhere else"}
TASK = {"prompt": "Which?", "responses": ["this", "that"], "id": "one"}
HOST = "label.example.com"
PATIENCE_S = 60.0
NOT_READY_S = 20.0
"""Two probes that fail, 5 s apart, after a look at the database, 5 s after the last, that took 5 s."""


class Server:
    """PostgreSQL with what the image's entrypoint makes of the manifest's environment."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.pod = Pod("StatefulSet", "postgresql", machine, folder, SECRETS)
        self._machine, self._folder, self._log = machine, folder, folder / "log"
        self._process: subprocess.Popen[str] | None = None
        shutil.chown(folder, OWNER)
        (folder / "password").write_text(SECRETS["postgresql"])
        given = self.pod.environment
        self._user, self._database = given["POSTGRES_USER"], given["POSTGRES_DB"]
        users = ["--username", self._user, "--pwfile", f"{folder}/password", "--auth-local=trust"]
        far = ["--auth-host=scram-sha-256", "--no-sync", *shlex.split(given["POSTGRES_INITDB_ARGS"])]
        assert self._run("initdb", "-D", f"{folder}/data", *users, *far).wait(PATIENCE_S) == 0, self._log.read_text()
        with (folder / "data/pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        self.start()
        until(lambda: self.shell(f"createdb -U {self._user} {self._database}") == b"", PATIENCE_S, "a database")

    def start(self) -> None:
        listening = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={self._folder}"]
        self._process = self._run("postgres", "-D", f"{self._folder}/data", *listening)

    def stop(self) -> None:
        """As the image has Kubernetes do it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(self.pod.grace) == 0, self._log.read_text()

    def shell(self, command: str, given: bytes = b"") -> bytes:
        """What it prints, in its container."""
        bin = programs()
        env = f"PGHOST={self._folder} PATH={bin}:$PATH"
        asked = ["ip", "netns", "exec", self._machine.name, "sh", "-c", f"export {env}; {command}"]
        done = subprocess.run(asked, input=given, capture_output=True, timeout=PATIENCE_S)
        return done.stdout + done.stderr

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[str]":
        user = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
        return self._machine.start([*user, f"{programs()}/{program}", *arguments], self._log)


@contextmanager
def database(machine: Machine) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="plaudit-pg-"))  # where others may look into it
    try:
        yield Server(machine, folder)
    finally:
        machine.die()
        shutil.rmtree(folder)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """What is mounted, with the volume's folder in place of /data."""
    (tmp_path / "tasks.jsonl").write_text(json.dumps(TASK) + "\n")
    shipped = (DEPLOY / "overlays/cluster/label.yaml").read_text()
    (tmp_path / "label.yaml").write_text(shipped.replace("/data/", f"{tmp_path}/"))
    return tmp_path


def readme(program: str) -> str:
    """What the README has `kubectl exec` run."""
    [line] = re.findall(rf"kubectl .*exec .*-- ({program} [^\n`]*)", (DEPLOY / "README.md").read_text())
    return line


def test_the_page_outlives_its_database_and_takes_what_is_under_way_with_it(net: Network, settings: Path) -> None:
    state, page = net.machine("db", 10), net.machine("page", 11)
    page.knows({"postgresql": state})
    pod, log = Pod("Deployment", "labelling", page, settings, SECRETS), settings / "page.log"
    assert pod.start(log).wait(PATIENCE_S) == DependencyUnreachable.exit_code, "Kubernetes begins it again"
    with database(state) as server:
        until(lambda: server.pod.passes("readinessProbe"), PATIENCE_S, "PostgreSQL")
        process = pod.start(log)
        until(lambda: pod.passes("startupProbe"), PATIENCE_S, f"the page: {log.read_text()}")
        assert pod.passes("readinessProbe")
        with closing(signed_in(pod, page)) as browser:
            assert "Which?" in browser.get("/").text
            goes_and_comes(server, pod, browser)
            is_cut_off_and_comes_back(net, state, pod)
            sent = half_sent(browser, page)
        process.send_signal(signal.SIGTERM)
        until(lambda: not pod.passes("livenessProbe"), 10, "it to let nobody else in")
        time.sleep(3)  # a slow line
        sent.sendall(b"1")
        assert sent.recv(1000).startswith(b"HTTP/1.1 303")
        assert process.wait(pod.grace) == 0, log.read_text()
        assert SECRETS["postgresql"] not in log.read_text()
        assert judgements(pod, settings) == 1, "it was kept"
        comes_out_of_a_backup(server, pod, settings)


def signed_in(pod: Pod, page: Machine) -> httpx.Client:
    """By the link that the README's line prints, through an ingress."""
    inviting = pod.execute(shlex.split(readme("plaudit label").replace("NAME", "Ada")))
    link, _ = inviting.communicate(timeout=PATIENCE_S)
    assert link.startswith(f"https://{HOST}/in#")
    ingress = httpx.Client(base_url=f"http://{page.address}:8090", headers={"Host": HOST, "Origin": f"https://{HOST}"})
    token = link.strip().partition("#")[2]
    entered = ingress.post("/in", data={"token": token})
    assert "Secure" in entered.headers["set-cookie"]
    ingress.headers["Cookie"] = f"plaudit-label={token}"  # it ends TLS: a browser sends the cookie
    return ingress


def goes_and_comes(server: Server, pod: Pod, browser: httpx.Client) -> None:
    """The database does; the page is alive all the time."""
    server.stop()
    assert not server.pod.passes("livenessProbe")
    until(lambda: not pod.passes("readinessProbe"), NOT_READY_S, "the page to say that it is not ready")
    refused = browser.get("/")
    assert refused.status_code == 503
    assert "Nothing is lost" in refused.text
    assert pod.passes("livenessProbe")
    server.start()
    until(lambda: pod.passes("readinessProbe"), PATIENCE_S, "the page to be ready again")
    assert server.pod.passes("livenessProbe")
    assert "Which?" in browser.get("/").text


def is_cut_off_and_comes_back(net: Network, state: Machine, pod: Pod) -> None:
    """No packet says that it is gone."""
    net.cut(state)
    until(lambda: not pod.passes("readinessProbe"), NOT_READY_S, "the page to say that it is not ready")
    assert pod.passes("livenessProbe")
    net.mend(state)
    until(lambda: pod.passes("readinessProbe"), PATIENCE_S, "the page to be ready again")


def half_sent(browser: httpx.Client, page: Machine) -> socket.socket:
    """A judgement without its last byte."""
    assignment = browser.get("/").text.partition('data-assignment="')[2].partition('"')[0]
    body = urlencode({"assignment": assignment, "submission": "s", "choice": "1"})
    told = {"Host": HOST, "Cookie": browser.headers["Cookie"], "Content-Length": str(len(body))}
    told["Content-Type"] = "application/x-www-form-urlencoded"
    lines = ["POST /judge HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    line = socket.create_connection((page.address, 8090), timeout=PATIENCE_S)
    line.sendall("\r\n".join([*lines, "", body[:-1]]).encode())
    assert body[-1] == "1"
    return line


def judgements(pod: Pod, folder: Path) -> int:
    out = folder / "out.jsonl"
    export = ["plaudit", "label", "/etc/plaudit/label.yaml", "export", "form=preferences", f"path={out}"]
    done = pod.execute(export)
    told, _ = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, told
    return len(out.read_text().splitlines())


def comes_out_of_a_backup(server: Server, pod: Pod, folder: Path) -> None:
    """By the README's two lines."""
    save, restore = (readme(program).partition(way)[0] for program, way in (("pg_dump", ">"), ("pg_restore", "<")))
    kept = server.shell(save)
    assert server.shell("psql -qU plaudit -c 'TRUNCATE judgements CASCADE'") == b""
    assert judgements(pod, folder) == 0
    assert server.shell(restore, kept) == b""
    assert judgements(pod, folder) == 1

"""A real Prometheus scrapes a real run and its reward server: everything on the dashboards shows something, what goes
wrong is told, and not told any more when it is mended."""

import itertools
import math
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Task
from plaudit.reward.folder import write
from plaudit.reward.rendering import Rendering
from plaudit_client import RewardClient, ScoreItem, TextPair
from tests.deploy.monitoring import dashboards, groups, panels, rules, selected
from tests.feedback.labelling import labelling
from tests.reward import tiny_models
from tests.reward.people import at_the_desk
from tests.reward.processes import process
from tests.trainer.programs import settings_file, start

from .watching import DURATION, QUICK, Watch, free_port, missing, until, watching, with_quick_durations

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=f"missing: {', '.join(missing())} (Debian packages of these names)"),
]
PATIENCE_S = 150.0
"""Longer than any wait on a machine with much else to do. On one without, all of it takes little more than a minute."""
MODELS = [  # every kind of series that a reward server has
    {"name": "both", "ensemble": {"members": ["tiny", "the"]}},
    {"name": "the", "rule": {"kind": "keyword", "word": "the"}},
]


class Killer(threading.Thread):
    """Ends every rollout worker of a run as soon as it is up, until told to stop."""

    def __init__(self, driver: int) -> None:
        super().__init__(daemon=True)
        self._driver, self._over = psutil.Process(driver), threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.5):
            for one in self._driver.children(recursive=True):
                try:
                    title = " ".join(one.cmdline())
                    if "RolloutWorker" in title and ".start" not in title and "__init__" not in title:
                        one.kill()
                except psutil.NoSuchProcess:
                    continue

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def training(folder: Path, reward: str, http_address: str, **changes: object) -> Iterator["subprocess.Popen[str]"]:
    folder.mkdir()
    path = settings_file(
        folder,
        reward,
        steps=100_000,
        http_address=http_address,
        reward={"address": reward, "startup_timeout_s": PATIENCE_S},
        more_rewards={"the": {"address": reward, "model": "the"}},
        pretraining=None,
        samples={"every": 1000, "best_of": 0},
        checkpoints={"every": 10, "keep": 1},
        **changes,
    )
    run = start(path)
    try:
        yield run
    finally:
        run.terminate()
        run.communicate(timeout=60)


def expressions() -> dict[str, str]:
    """Everything that is recorded, everything that a dashboard asks for."""
    recorded = {rule["record"]: rule["record"] for rule in rules("recording")}
    drawn = {
        f"{panel['title']}: {target['expr']}": selected(target["expr"], rate_interval="10s")
        for dashboard in dashboards().values()
        for panel in panels(dashboard)
        for target in panel["targets"]
    }
    return recorded | drawn


class Shown:
    """What has shown a number so far."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self.nothing_yet = watch, expressions()

    def all(self) -> bool:
        """Whether everything has."""
        for name, expression in list(self.nothing_yet.items()):
            if any(math.isfinite(value) for value in self._watch.query(expression)):
                del self.nothing_yet[name]
        return not self.nothing_yet


@pytest.mark.parametrize("name", ["alerts", "recording"])
def test_durations_alone_are_others_than_ship(name: str) -> None:
    slow = {quick: ships for ships, quick in QUICK.items()}
    for quickened, ships in zip(with_quick_durations(name), groups(name), strict=True):
        for rule in quickened["rules"]:
            rule["expr"] = re.sub(DURATION, lambda found: slow[found[0]], rule["expr"])
            rule |= {"for": slow[rule["for"]]} if "for" in rule else {}
        assert quickened == ships
    assert with_quick_durations(name) != groups(name)


def test_what_is_watched_shows_what_happens(tmp_path: Path) -> None:
    write(tiny_models.decoder(tmp_path / "tiny"), Rendering(max_tokens=64), self_test=tiny_models.SELF_TEST)
    served = {
        "models": [
            *MODELS,
            {"name": "tiny", "model": str(tmp_path / "tiny")},
            {"name": "people", "human": {"database": f"sqlite:///{tmp_path}/judgements.db"}},
            {"name": "short", "model": str(tmp_path / "tiny"), "dtype": "bfloat16"},  # has a drift
        ],
        "address": f"127.0.0.1:{free_port()}",
        "http_address": f"127.0.0.1:{free_port()}",
        "limits": {"cache_items": 100},
    }
    run_at = f"127.0.0.1:{free_port()}"
    page_at = f"127.0.0.1:{free_port()}"
    targets = {"plaudit-reward": served["http_address"], "plaudit-trainer": run_at, "plaudit-label": page_at}
    with watching(tmp_path / "watch", targets) as watch:
        shown = Shown(watch)
        with (
            process(tmp_path / "serve", **served) as server,
            runs_away(tmp_path / "away", server.address, run_at) as run,
        ):
            until(lambda: "KLHigh" in watch.firing(), PATIENCE_S, "the KL to be told")
            assert "nats per response" in watch.firing()["KLHigh"]["summary"]
            assert "WorkerRestartLoop" not in watch.firing()
            shown.all()
            killer = Killer(run.pid)
            killer.start()
            until(lambda: "WorkerRestartLoop" in watch.firing(), PATIENCE_S, "the dying workers to be told")
            killer.stop()
        until(lambda: "RewardNoReadyReplica" in watch.firing(), PATIENCE_S, "the reward server to be missed")
        until(lambda: "LabelDown" in watch.firing(), PATIENCE_S, "the labelling page to be missed")
        with (
            goes_well(tmp_path / "well", served["address"], run_at),
            process(tmp_path / "again", **served),
            asked_of_people(served["address"], f"sqlite:///{tmp_path}/judgements.db"),
            people_judge(tmp_path / "label", page_at),
        ):
            until(lambda: watch.query("plaudit_trainer_steps_total > 3"), PATIENCE_S, "steps")
            told = {"KLHigh", "WorkerRestartLoop", "RewardNoReadyReplica", "LabelDown", "LabelReplicaDown"}
            until(lambda: not told & watch.firing().keys(), PATIENCE_S, f"silence of {told}")
            until(shown.all, PATIENCE_S, f"numbers of {shown.nothing_yet}")


@contextmanager
def asked_of_people(address: str, database: str) -> Iterator[None]:
    """Something new all the time."""
    numbers = itertools.count()
    with (
        RewardClient(address, model="people", timeout=PATIENCE_S) as client,
        at_the_desk(database),
        again_and_again(lambda: client.score([ScoreItem(TextPair("", str(next(numbers))))])),
    ):
        yield


@contextmanager
def people_judge(folder: Path, http_address: str) -> Iterator[None]:
    """In the labelling page: somebody judges, takes it back, judges again, and passes the next one on."""
    folder.mkdir()
    url = f"sqlite:///{folder}/label.db"
    store = Store(open_database(url))
    store.add_tasks(Task(str(at), Kind.RATING, "prompt", (Answer("a"),)) for at in range(1000))
    turns = itertools.cycle(("/judge", "/undo", "/judge", "/skip"))
    with labelling(folder, url, f"http_address={http_address}") as service:
        browser = httpx.Client(base_url=service.url, cookies={"plaudit-label": store.add_person("Ada")})

        def take_turn() -> None:
            assignment = browser.get("/").text.partition('data-assignment="')[2].partition('"')[0]
            browser.post(next(turns), data={"assignment": assignment, "submission": uuid.uuid4().hex, "choice": "4"})

        with browser, again_and_again(take_turn):
            yield


@contextmanager
def again_and_again(act: Callable[[], object]) -> Iterator[None]:
    """Five times a second, in a thread."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.2):
            act()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def runs_away(folder: Path, reward: str, run_at: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Steps far too large, and nothing that holds the policy back."""
    ppo = {"learning_rate": 1e-2, "kl": {"coef": 0.0, "target_kl_nats_per_response": 0.05}}
    return training(folder, reward, run_at, ppo=ppo, rollout={"workers": 2, "max_attempts": 20})


def goes_well(folder: Path, reward: str, run_at: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Overlapped, with steps of a size that suits."""
    rollout = {"workers": 2, "group_size": 4, "mode": "overlapped"}
    return training(folder, reward, run_at, ppo={"learning_rate": 1e-5}, rollout=rollout)

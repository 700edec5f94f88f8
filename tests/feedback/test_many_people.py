"""Fifty people at once on PostgreSQL, and a service that is killed in the middle, again and again."""

import asyncio
import random
import time
import uuid
from collections import Counter
from pathlib import Path

import httpx
import pytest

from plaudit.feedback.database import open_database
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Rating, Task

from .labelling import Service, labelling

pytestmark = pytest.mark.system

PEOPLE, TASKS, WANTED, KILLS = 50, 120, 5, 4
PATIENCE_S = 120.0


async def judge_all(service: Service, token: str, name: str, said: dict[tuple[str, str], int]) -> None:
    """Until nothing is left; whatever goes wrong on the way is asked for again, as the page's script does."""
    draw = random.Random(name)
    async with httpx.AsyncClient(base_url=service.url, cookies={"plaudit-label": token}, timeout=10) as browser:
        while True:
            page = await insist(browser, "GET", "/")
            if 'id="done"' in page.text:
                return
            assignment = page.text.partition('data-assignment="')[2].partition('"')[0]
            key = page.text.partition("prompt ")[2].partition("<")[0]
            stars = draw.randint(1, 5)
            form = {"assignment": assignment, "submission": uuid.uuid4().hex, "choice": str(stars)}
            assert (await insist(browser, "POST", "/judge", data=form)).status_code == 303
            assert (key, name) not in said, "asked twice"
            said[key, name] = stars


async def insist(browser: httpx.AsyncClient, method: str, path: str, **form: object) -> httpx.Response:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = await browser.request(method, path, **form)
            if answer.status_code < 500:
                return answer
        except httpx.TransportError:
            pass
        assert time.monotonic() < until
        await asyncio.sleep(0.2)


async def kill(service: Service, said: dict[tuple[str, str], int]) -> None:
    for turn in range(KILLS):
        while len(said) < TASKS * WANTED * (turn + 1) / (KILLS + 1):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        service.kill()
        await asyncio.to_thread(service.start)


async def test_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path, empty_postgresql: str) -> None:
    store = Store(open_database(empty_postgresql))
    store.add_tasks(Task(f"{at}", Kind.RATING, f"prompt {at}", (Answer("a"),), wanted=WANTED) for at in range(TASKS))
    tokens = {f"person {at}": store.add_person(f"person {at}") for at in range(PEOPLE)}
    said: dict[tuple[str, str], int] = {}
    with labelling(tmp_path, empty_postgresql) as service:
        people = [judge_all(service, token, name, said) for name, token in tokens.items()]
        await asyncio.gather(kill(service, said), *people)
    kept = Counter((one.task.key, one.person) for one in store.judged())
    assert set(kept.values()) == {1}
    found = {(one.task.key, one.person): one.verdict for one in store.judged()}
    assert found == {at: Rating(stars) for at, stars in said.items()}
    assert Counter(key for key, _ in found) == {f"{at}": WANTED for at in range(TASKS)}

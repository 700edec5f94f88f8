"""The labelling page over HTTP, as a browser without scripts uses it, and as one with bad intentions would."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from plaudit.feedback.database import open_database
from plaudit.feedback.exporting import Form, export
from plaudit.feedback.page.guard import Guard
from plaudit.feedback.schema import Role
from plaudit.feedback.serving import LabelServer
from plaudit.feedback.settings import LabelSettings
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict

HOSTILE = "<script>steal()</script><img src=x onerror=steal()>\"'>"


class Fields(HTMLParser):
    """Of the first form that judges, as a browser would send them, and what can be chosen."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.choices: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        attributes = dict(attrs)
        name, value = attributes.get("name"), attributes.get("value") or ""
        if tag == "input" and attributes.get("type") == "radio":
            self.choices.append(value)
        if tag == "input" and name and (attributes.get("type") in ("hidden", "number") or "checked" in attributes):
            self.values[name] = value


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(open_database(f"sqlite:///{tmp_path}/judgements.db"), seed=1)


@pytest.fixture
async def server(store: Store, tmp_path: Path) -> AsyncIterator[LabelServer]:
    settings = LabelSettings(database="", address="127.0.0.1:0", http_address="127.0.0.1:0", instructions="Be kind.")
    async with LabelServer(settings, store) as found:
        yield found


@pytest.fixture
async def browser(server: LabelServer, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with signed_in(server, store, "Ada") as found:
        yield found


def signed_in(server: LabelServer, store: Store, name: str, role: Role | None = None) -> httpx.AsyncClient:
    cookies = {"plaudit-label": store.add_person(name, role)}
    return httpx.AsyncClient(base_url=f"http://{server.address}", cookies=cookies)


def texts(kind: Kind, count: int, key: str = "k") -> Task:
    return Task(key, kind, "prompt", tuple(Answer(f"answer {at}") for at in range(count)))


async def test_a_task_with_instructions_of_its_own_shows_them_in_place_of_the_others(
    browser: httpx.AsyncClient, store: Store
) -> None:
    store.add_tasks([texts(Kind.THUMBS, 1)])
    assert "Be kind." in (await browser.get("/")).text
    store.add_tasks([replace(texts(Kind.THUMBS, 1, "other"), instructions="Is it <b>true</b>?", priority=1)])
    await browser.post("/skip", data=Fields((await browser.get("/")).text).values)
    page = (await browser.get("/")).text
    assert "Is it &lt;b&gt;true&lt;/b&gt;?" in page
    assert "Be kind." not in page


async def test_whoever_has_no_token_is_asked_for_it(server: LabelServer, store: Store) -> None:
    token = store.add_person("Ada")
    async with httpx.AsyncClient(base_url=f"http://{server.address}") as browser:
        for path in ("/", "/admin", "/admin/export/preferences.jsonl"):
            assert (await browser.get(path)).headers["location"] == "/in"
        for path in ("/judge", "/skip", "/undo", "/draft", "/admin/people"):
            refused = await browser.post(path, data={"assignment": "1"})
            assert (refused.status_code, "You are signed out" in refused.text) == (401, True)
        wrong = await browser.post("/in", data={"token": "guess"})
        assert wrong.status_code == 403
        assert "plaudit-label" not in wrong.headers.get("set-cookie", "")
        right = await browser.post("/in", data={"token": f" http://anywhere/in#{token} "})
        assert "HttpOnly" in right.headers["set-cookie"]
        assert "SameSite=lax" in right.headers["set-cookie"]
        assert "Nothing to judge" in (await browser.get("/")).text
        await browser.post("/out")
        assert (await browser.get("/")).headers["location"] == "/in"


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("seconds", "nan", 303),
        ("seconds", "-inf", 303),
        ("comment", "why\0 not", 303),
        ("assignment", "9" * 30, 400),
        ("assignment", "²", 400),
        ("assignment", "-1", 400),
    ],
)
async def test_what_no_browser_sends_is_no_fault_of_the_service(
    browser: httpx.AsyncClient, store: Store, field: str, value: str, status: int
) -> None:
    store.add_tasks([texts(Kind.THUMBS, 1)])
    fields = Fields((await browser.get("/")).text).values | {"choice": "up", field: value}
    assert (await browser.post("/judge", data=fields)).status_code == status
    for said in store.judged():
        assert (0 < said.seconds < 60, said.comment.replace("why not", "")) == (True, "")


async def test_a_cookie_of_a_page_behind_https_stays_there(store: Store) -> None:
    settings = LabelSettings(
        database="", address="127.0.0.1:0", http_address="127.0.0.1:0", url="https://label.example.org"
    )
    async with (
        LabelServer(settings, store) as server,
        httpx.AsyncClient(base_url=f"http://{server.address}") as browser,
    ):
        form = {"token": store.add_person("Ada")}
        entered = await browser.post("/in", data=form, headers={"Origin": "https://label.example.org"})
        assert "Secure" in entered.headers["set-cookie"]
        assert "Strict-Transport-Security" in entered.headers


@pytest.mark.parametrize(
    ("task", "said", "verdict"),
    [
        (texts(Kind.COMPARE, 2), {"choice": "1"}, None),
        (texts(Kind.COMPARE, 2), {"choice": "tie"}, Ranks((1, 1))),
        (texts(Kind.RANK, 4), {"rank-0": "2", "rank-1": "1", "rank-2": "4", "rank-3": "2"}, None),
        (texts(Kind.THUMBS, 1), {"choice": "down"}, Thumb(False)),
        (texts(Kind.RATING, 1), {"choice": "4"}, Rating(4)),
        (texts(Kind.DEMONSTRATION, 0), {"text": "Größe: 5 µm 😀\r\n你好 "}, Demonstration("Größe: 5 µm 😀\n你好")),
    ],
)
async def test_every_kind_of_task_is_judged_without_a_script(
    browser: httpx.AsyncClient, store: Store, task: Task, said: dict[str, str], verdict: Verdict | None
) -> None:
    store.add_tasks([task])
    page = (await browser.get("/")).text
    fields = Fields(page).values | said | {"comment": "why not"}
    assert (await browser.post("/judge", data=fields)).headers["location"] == "/"
    assert "Nothing to judge" in (await browser.get("/")).text
    [judged] = store.judged()
    assert judged.comment == "why not"
    if verdict is None:  # the answers stand in an order of their own
        order = sorted(judged.shown, key=lambda at: page.index(f"answer {at}"))
        assert tuple(order) == judged.shown
        places = [1, 0] if task.kind is Kind.COMPARE else [2, 1, 3, 2]
        ranks = dict(zip(judged.shown, places, strict=True))
        better = {at for at in ranks if ranks[at] == min(ranks.values())}
        assert isinstance(judged.verdict, Ranks)
        assert {at for at, rank in enumerate(judged.verdict.ranks) if rank == 1} == better
    else:
        assert judged.verdict == verdict


async def test_sent_twice_or_from_two_windows_it_is_one(browser: httpx.AsyncClient, store: Store) -> None:
    store.add_tasks([texts(Kind.RATING, 1)])
    one, other = [Fields((await browser.get("/")).text).values for _ in range(2)]
    assert one["submission"] != other["submission"]
    for _ in range(2):
        assert (await browser.post("/judge", data=one | {"choice": "4"})).status_code == 303
    second = await browser.post("/judge", data=other | {"choice": "1"})
    assert (second.status_code, "in another window" in second.text) == (409, True)
    assert [judged.verdict for judged in store.judged()] == [Rating(4)]


async def test_nobody_judges_for_somebody_else(server: LabelServer, browser: httpx.AsyncClient, store: Store) -> None:
    store.add_tasks([texts(Kind.RATING, 1)])
    fields = Fields((await browser.get("/")).text).values | {"choice": "4"}
    async with signed_in(server, store, "Eve") as eve:
        for path in ("/judge", "/skip"):
            assert (await eve.post(path, data=fields)).status_code == 404
        draft = {"assignment": int(fields["assignment"]), "draft": {"text": "mine"}}
        assert (await eve.post("/draft", json=draft)).status_code == 404
    assert list(store.judged()) == []


async def test_what_is_not_chosen_is_asked_for_and_what_was_typed_stays(
    browser: httpx.AsyncClient, store: Store
) -> None:
    store.add_tasks([texts(Kind.COMPARE, 2)])
    fields = Fields((await browser.get("/")).text).values
    answer = await browser.post("/judge", data=fields | {"comment": "half a thought", "flagged": "on"})
    assert answer.status_code == 422
    assert "choose one of the answers, or a tie" in answer.text
    assert "half a thought" in answer.text
    assert Fields(answer.text).values["flagged"] == ""
    assert list(store.judged()) == []


async def test_a_draft_is_there_again_after_a_reload(browser: httpx.AsyncClient, store: Store) -> None:
    store.add_tasks([texts(Kind.RANK, 3)])
    fields = Fields((await browser.get("/")).text).values
    draft = {"rank-0": "3", "rank-1": "1", "rank-2": "2", "comment": "not sure"}
    sent = await browser.post("/draft", json={"assignment": int(fields["assignment"]), "draft": draft})
    assert sent.status_code == 204
    page = (await browser.get("/")).text
    assert {name: Fields(page).values[name] for name in ("rank-0", "rank-1", "rank-2")} == {
        name: value for name, value in draft.items() if name != "comment"
    }
    assert "not sure" in page


async def test_skipping_says_why_and_undo_brings_back_what_was_said(browser: httpx.AsyncClient, store: Store) -> None:
    store.add_tasks([texts(Kind.RATING, 1)])
    fields = Fields((await browser.get("/")).text).values
    await browser.post("/skip", data=fields | {"comment": "no prompt", "flagged": "on"})
    assert "Nothing to judge" in (await browser.get("/")).text
    for stars in ("2", "5"):
        assert (await browser.post("/undo")).headers["location"] == "/"
        page = (await browser.get("/")).text
        again = Fields(page).values
        assert again["assignment"] == fields["assignment"]
        await browser.post("/judge", data=again | {"choice": stars})
    assert "You took this one back" in page
    assert 'value="2" checked' in page
    assert [judged.verdict for judged in store.judged()] == [Rating(5)]


async def test_nothing_that_a_model_wrote_is_part_of_the_page(browser: httpx.AsyncClient, store: Store) -> None:
    answers = (Answer(HOSTILE), Answer("```\n" + HOSTILE + "\n```"))
    store.add_tasks([Task("k", Kind.COMPARE, HOSTILE, answers)])
    answer = await browser.get("/")
    assert "steal()" in answer.text
    assert "<script>steal" not in answer.text
    assert Fields(answer.text).tags.count("script") == 1, "the page's own"
    assert "img" not in Fields(answer.text).tags
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"


async def test_other_sites_forms_and_endless_ones_are_refused(browser: httpx.AsyncClient, store: Store) -> None:
    store.add_tasks([texts(Kind.RATING, 1)])
    fields = Fields((await browser.get("/")).text).values | {"choice": "1"}
    for origin in ("https://evil.example", "null"):
        foreign = await browser.post("/judge", data=fields, headers={"Origin": origin})
        assert foreign.status_code == 403
    endless = await browser.post("/judge", data=fields | {"comment": "x" * (3 << 20)})
    assert endless.status_code == 413
    for body in (b"\xff\xfe", b"a=1&" * 1000, b""):
        assert (await browser.post("/judge", content=body)).status_code == 400
    assert (await browser.post("/draft", content=b"{}")).status_code == 400
    assert list(store.judged()) == []
    own = await browser.post("/judge", data=fields, headers={"Origin": str(browser.base_url).rstrip("/")})
    assert own.status_code == 303


async def test_who_runs_it_sees_how_it_goes_and_others_do_not(server: LabelServer, store: Store) -> None:
    store.add_tasks([texts(Kind.COMPARE, 2, str(at)) for at in range(3)])
    async with signed_in(server, store, "Ada", Role.ADMIN) as ada, signed_in(server, store, "Bob") as bob:
        for path in ("/admin", "/admin/export/preferences.jsonl"):
            assert (await bob.get(path)).status_code == 403
        assert (await bob.post("/admin/people", data={"name": "Eve", "role": "admin"})).status_code == 403
        for _ in range(2):
            fields = Fields((await bob.get("/")).text).values
            await bob.post("/judge", data=fields | {"choice": "0", "seconds": "12"})
        page = (await ada.get("/admin")).text
        assert "<b>2</b>; 1 of 3 wanted are left" in page
        rows = (await ada.get("/admin/export/preferences.jsonl")).text.splitlines()
        assert [json.loads(row) for row in rows] == list(export(store.judged(), Form.PREFERENCES))
        assert len(rows) == 2
        assert (await ada.get("/admin/export/secrets.jsonl")).status_code == 404
        invited = (await ada.post("/admin/people", data={"name": "<Cleo>"})).text
        token = invited.partition("/in#")[2].partition('"')[0]
        cleo = store.sign_in(token)
        assert cleo is not None
        assert (cleo.name, cleo.role) == ("<Cleo>", Role.ANNOTATOR)
        assert "<Cleo>" not in invited
        mine = (await ada.post("/admin/people", data={"name": "Ada"})).text
        assert "/in#" in mine, "a new link of their own"
        assert (await ada.get("/admin")).status_code == 200, "and whoever made it is still signed in"


async def test_metrics_and_health_say_how_it_fares(
    server: LabelServer, browser: httpx.AsyncClient, store: Store
) -> None:
    store.add_tasks([texts(Kind.RATING, 1, str(at)) for at in range(3)])
    fields = Fields((await browser.get("/")).text).values
    await browser.post("/judge", data=fields | {"choice": "4", "seconds": "12.5"})
    await server.look()
    async with httpx.AsyncClient(base_url=f"http://{server.http_address}") as operator:
        assert (await operator.get("/health")).json()["status"] == "ok"
        metrics = (await operator.get("/metrics")).text
    assert 'plaudit_label_judgements_total{kind="rating"} 1.0' in metrics
    assert 'plaudit_label_judgement_seconds_sum{kind="rating"} 12.5' in metrics
    assert "plaudit_label_waiting_judgements 2.0" in metrics
    assert (await browser.get("/metrics")).status_code == 404, "not where everybody comes"


async def test_every_answer_is_counted_by_its_code(server: LabelServer, browser: httpx.AsyncClient) -> None:
    await browser.get("/")
    await browser.get("/nowhere")
    await browser.post("/undo", headers={"Origin": "https://evil.example"})
    async with httpx.AsyncClient(base_url=f"http://{server.http_address}") as operator:
        metrics = (await operator.get("/metrics")).text
    for code in (200, 404, 403):
        assert f'plaudit_label_responses_total{{code="{code}"}} 1.0' in metrics
    assert 'plaudit_label_responses_total{code="500"} 0.0' in metrics


async def test_an_answer_that_nobody_gave_is_counted_too() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    codes: list[int] = []
    guarded = httpx.ASGITransport(Guard(fails, url="http://label.example.org", count=codes.append))
    async with httpx.AsyncClient(transport=guarded, base_url="http://label.example.org") as browser:
        with pytest.raises(RuntimeError):
            await browser.get("/")
    assert codes == [500]

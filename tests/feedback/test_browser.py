"""The labelling page in a real browser: keys, drafts, drag, hostile texts, and a service that dies meanwhile."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from plaudit.feedback.database import open_database
from plaudit.feedback.records import Judgement
from plaudit.feedback.schema import Role
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb
from plaudit.trajectory import Message

from .labelling import Service, labelling

pytestmark = pytest.mark.system

CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=20_000)  # of a machine that is busy
PHONE = {"width": 390, "height": 780}
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<style>*{display:none}</style>"
    "</p></div></form><form action=/undo><button>Send</button></form>"
    "\u202eright to left\u202c zero\u200b\u200bwidth\ufeff {{ 7 * 7 }} ${7 * 7} שלום مرحبا "
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian package chromium)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/judgements.db"


@pytest.fixture
def store(url: str) -> Store:
    return Store(open_database(url), seed=0)


@pytest.fixture
def service(tmp_path: Path, url: str, store: Store) -> Iterator[Service]:
    with labelling(tmp_path, url, "instructions=Be kind.") as found:
        yield found


@contextmanager
def person(browser: Browser, service: Service, store: Store, name: str, **how: object) -> Iterator[Page]:
    """Somebody who opened a personal link. Nothing may go wrong in the page, or ask for anything elsewhere."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | how)
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: asked.url.startswith(service.url) or troubles.append(asked.url))
    page.goto(f"{service.url}/in#{store.add_person(name)}")
    page.wait_for_url(f"{service.url}/")
    assert "#" not in page.url
    listens(page)
    yield page
    assert troubles == []
    context.close()


def listens(page: Page) -> None:
    """To keys: the script has begun."""
    expect(page.locator("#help")).not_to_have_attribute("hidden", "")


def sent(page: Page, done: int) -> None:
    """The next task is there, and listens to keys."""
    expect(page.locator(".progress b")).to_have_text(str(done))
    listens(page)


def task(kind: Kind, count: int, key: str = "", **changes: object) -> Task:
    return Task(key or kind, kind, "prompt", tuple(Answer(f"answer {at}") for at in range(count)), **changes)


def by_kind(store: Store) -> dict[Kind, Judgement]:
    return {said.task.kind: said for said in store.judged()}


def on_screen(said: Judgement) -> list[int]:
    """The ranks that were given, from the top of the screen down."""
    assert isinstance(said.verdict, Ranks)
    return [said.verdict.ranks[at] for at in said.shown]


def test_every_kind_of_task_with_keys_alone(browser: Browser, service: Service, store: Store) -> None:
    counts = {Kind.COMPARE: 2, Kind.RANK: 4, Kind.THUMBS: 1, Kind.RATING: 1, Kind.DEMONSTRATION: 0}
    keys = {
        Kind.COMPARE: ["2", "Enter"],
        # the second one to the top, the last one as good as the one above it
        Kind.RANK: ["ArrowDown", "ArrowDown", "Shift+ArrowUp", "ArrowDown", "ArrowDown", "ArrowDown", "=", "Enter"],
        Kind.THUMBS: ["2", "c", *"odd", "Escape", "f", "Enter"],
        Kind.RATING: ["1", "4", "Enter"],
        Kind.DEMONSTRATION: ["Tab", *"Dear s", "Enter", "u", "Control+Enter"],
    }
    store.add_tasks(task(kind, count) for kind, count in counts.items())
    with person(browser, service, store, "Ada") as page:
        for done in range(5):
            kind = Kind(page.get_attribute("body", "class") or "")
            if kind is Kind.DEMONSTRATION:
                page.focus("textarea[name=text]")
                keys[kind].remove("Tab")
            for key in keys[kind]:
                page.keyboard.press(key)
            if done < 4:
                sent(page, done + 1)
        expect(page.locator("#done")).to_be_visible()
    said = by_kind(store)
    assert on_screen(said[Kind.COMPARE]) == [2, 1]
    assert on_screen(said[Kind.RANK]) == [2, 1, 3, 3]
    assert (said[Kind.THUMBS].verdict, said[Kind.THUMBS].comment, said[Kind.THUMBS].flagged) == (
        Thumb(False),
        "odd",
        True,
    )
    assert said[Kind.RATING].verdict == Rating(4)
    assert said[Kind.DEMONSTRATION].verdict == Demonstration("Dear s\nu")
    assert all(0 < one.seconds < 60 for one in said.values())


def test_undo_and_skip_with_keys(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks([task(Kind.RATING, 1, "one"), task(Kind.RATING, 1, "two")])
    with person(browser, service, store, "Ada") as page:
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        sent(page, 1)
        page.keyboard.press("3")
        page.keyboard.press("u")
        expect(page.locator(".note")).to_contain_text("took this one back")
        listens(page)
        assert page.locator("input[value='2']").is_checked()
        page.keyboard.press("5")
        page.keyboard.press("Enter")
        sent(page, 1)
        assert page.locator("input[value='3']").is_checked(), "what was chosen before the undo"
        page.keyboard.press("s")
        expect(page.locator("#done")).to_be_visible()
        page.keyboard.press("?")
    assert [said.verdict for said in store.judged()] == [Rating(5)]


def test_who_was_signed_out_meanwhile_loses_nothing(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks([task(Kind.DEMONSTRATION, 0)])
    with person(browser, service, store, "Ada") as page:
        token = store.add_person("Ada")
        page.fill("textarea[name=text]", "It took me an hour")
        expect(page.locator("#state")).to_have_text("Kept on this device")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#problem")).to_contain_text("You are signed out")
        assert page.input_value("textarea[name=text]") == "It took me an hour"
        assert list(store.judged()) == []
        page.goto(f"{service.url}/in#{token}")
        page.wait_for_url(f"{service.url}/")
        expect(page.locator("textarea[name=text]")).to_have_value("It took me an hour")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#done")).to_be_visible()
    assert [said.verdict for said in store.judged()] == [Demonstration("It took me an hour")]


def test_words_typed_at_once_are_the_answer(browser: Browser, service: Service, store: Store) -> None:
    """Also those that would be keys: of skipping, of the flag, of taking back."""
    store.add_tasks([task(Kind.DEMONSTRATION, 0)])
    with person(browser, service, store, "Ada") as page:
        page.keyboard.type("useful words for customers")
        assert page.input_value("textarea[name=text]") == "useful words for customers"
        page.keyboard.press("Control+Enter")
        expect(page.locator("#done")).to_be_visible()
    assert [said.verdict for said in store.judged()] == [Demonstration("useful words for customers")]


def test_a_key_that_is_held_down_is_pressed_once(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks(task(Kind.RANK, 2, f"{at}") for at in range(4))
    with person(browser, service, store, "Ada") as page:
        for key, remain in (("s", 2), ("Enter", 2)):
            for _ in range(5):
                page.keyboard.down(key)
                page.wait_for_timeout(150)
            page.keyboard.up(key)
            listens(page)
            expect(page.locator(".progress span")).to_have_text(f"0 done, {remain} to come")
    assert (store.progress().skipped, store.progress().given) == (1, 0)


def test_two_people_at_once_never_have_the_same_place(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks(task(Kind.RATING, 1, f"{at}") for at in range(6))
    with person(browser, service, store, "Ada") as ada, person(browser, service, store, "Bob") as bob:
        for turn in range(6):
            page = (ada, bob)[turn % 2]
            page.keyboard.press("3" if page is ada else "5")
            page.keyboard.press("Enter")
            if turn < 4:
                sent(page, turn // 2 + 1)
        for page in (ada, bob):
            expect(page.locator("#done")).to_be_visible()
    said = list(store.judged())
    assert sorted(one.task.key for one in said) == [f"{at}" for at in range(6)]
    assert {one.verdict for one in said if one.person == "Ada"} == {Rating(3)}
    assert {one.verdict for one in said if one.person == "Bob"} == {Rating(5)}


def test_a_reload_in_the_middle_loses_nothing(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks([task(Kind.RANK, 5)])
    with person(browser, service, store, "Ada") as page:
        names = lambda: page.locator(".ranking b").all_inner_texts()  # noqa: E731
        for key in ("ArrowDown", "Shift+ArrowDown", "Shift+ArrowDown", "ArrowDown", "=", "c", "h", "m"):
            page.keyboard.press(key)
        before, places = names(), page.locator(".place").all_inner_texts()
        expect(page.locator("#state")).to_have_text("Kept")
        page.reload()
        listens(page)
        assert (names(), page.locator(".place").all_inner_texts()) == (before, places)
        assert page.input_value("textarea[name=comment]") == "hm"
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_be_visible()
    [said] = store.judged()
    assert sorted(on_screen(said)) == [1, 2, 3, 3, 4]
    assert said.comment == "hm"


def test_a_hostile_answer_is_read_and_nothing_of_it_runs(
    browser: Browser, service: Service, store: Store, tmp_path: Path
) -> None:
    answers = (Answer(HOSTILE + "long " * 10_000), Answer("```html\n" + HOSTILE + "\n```\n" + "W" * 5_000))
    store.add_tasks([Task("k", Kind.COMPARE, (Message("user", HOSTILE),), answers)])
    with person(browser, service, store, "Ada") as page:
        assert page.title() == "What do you think?"
        assert page.locator("img").count() == 0
        assert page.locator("form[action='/judge'] button[data-send]").is_visible()
        assert "<script>document.title='owned'</script>" in page.inner_text(".conversation")
        assert "\ufffdright to left" in page.inner_text(".conversation")
        assert "{{ 7 * 7 }}" in page.inner_text(".conversation")
        expect(page.locator(".turn .unseen")).to_have_text("3 characters in it that nobody can see")
        assert not overflows(page)
        send = page.locator("[data-send]").bounding_box()
        assert send is not None
        assert send["y"] + send["height"] <= 800, "however long the answers are"
        page.screenshot(path=tmp_path / "hostile.png")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_be_visible()
    assert len(list(store.judged())) == 1


def test_a_double_click_is_one_judgement(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks(task(Kind.RATING, 1, f"{at}") for at in range(2))
    with person(browser, service, store, "Ada") as page:
        page.keyboard.press("4")
        page.locator("[data-send]").dblclick()
        sent(page, 1)
    assert [said.verdict for said in store.judged()] == [Rating(4)]


def test_what_is_typed_while_the_service_is_dead_is_sent_when_it_lives(
    browser: Browser, service: Service, store: Store
) -> None:
    store.add_tasks([task(Kind.DEMONSTRATION, 0), task(Kind.RATING, 1)])
    with person(browser, service, store, "Ada") as page:
        if page.get_attribute("body", "class") == "rating":
            page.keyboard.press("s")
        page.wait_for_selector("textarea[name=text]")
        listens(page)
        service.kill()
        page.fill("textarea[name=text]", "Written while nobody listened.")
        expect(page.locator("#state")).to_have_text("Kept on this device")
        page.focus("textarea[name=text]")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#state")).to_have_text("Not sent yet: trying again")
        service.start()
        page.wait_for_function("() => document.body.className != 'demonstration'", timeout=15_000)
    assert [said.verdict for said in store.judged()] == [Demonstration("Written while nobody listened.")]


def test_cards_are_dragged_with_a_mouse(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks([task(Kind.RANK, 3)])
    with person(browser, service, store, "Ada") as page:
        handles = page.locator(".handle")
        first, last = handles.nth(0).bounding_box(), page.locator(".ranking .answer").nth(2).bounding_box()
        assert first is not None
        assert last is not None
        page.mouse.move(first["x"] + 8, first["y"] + 8)
        page.mouse.down()
        page.mouse.move(first["x"] + 8, last["y"] + last["height"] - 4, steps=8)
        page.mouse.up()
        assert page.locator(".ranking b").all_inner_texts() == ["B", "C", "A"]
        page.click("[data-send]")
        expect(page.locator("#done")).to_be_visible()
    [said] = store.judged()
    assert on_screen(said) == [3, 1, 2]


def test_without_scripts_it_is_a_form(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks([task(Kind.RANK, 3)])
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{service.url}/in")
    page.fill("#token", store.add_person("Ada"))
    page.click("button.first")
    for place, rank in enumerate(("2", "1", "2")):
        page.fill(f"input[name=rank-{place}]", rank)
    page.locator("input[name=rank-2]").press("Enter")
    expect(page.locator("#done")).to_be_visible()
    context.close()
    [said] = store.judged()
    assert on_screen(said) == [2, 1, 2]


@pytest.mark.parametrize("kind", list(Kind))
def test_on_a_phone_in_the_dark_it_is_read_and_judged_with_a_thumb(
    browser: Browser, service: Service, store: Store, kind: Kind, tmp_path: Path
) -> None:
    counts = {Kind.COMPARE: 2, Kind.RANK: 4, Kind.THUMBS: 1, Kind.RATING: 1, Kind.DEMONSTRATION: 0}
    store.add_tasks([task(kind, counts[kind])])
    how = {"viewport": PHONE, "color_scheme": "dark", "is_mobile": True, "has_touch": True}
    with person(browser, service, store, "Ada", **how) as page:
        assert not overflows(page)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", paper)[:3])) < 60
        for button in page.locator(".actions button:visible").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 40
        if kind is Kind.DEMONSTRATION:
            page.fill("textarea[name=text]", "short")
        elif kind is Kind.RANK:
            page.locator("[data-move='1']").first.tap()
        else:
            page.locator("input[name=choice]").first.tap()
        page.screenshot(path=tmp_path / f"{kind}.png")
        page.locator("[data-send]").tap()
        expect(page.locator("#done")).to_be_visible()
    assert len(list(store.judged())) == 1


def test_an_admin_invites_somebody_who_then_judges(browser: Browser, service: Service, store: Store) -> None:
    store.add_tasks([task(Kind.RATING, 1, wanted=2)])
    store.add_person("Ada", Role.ADMIN)
    with person(browser, service, store, "Ada") as page:
        page.click("text=Admin")
        page.fill("input[name=name]", "Bob <b>")
        page.click("text=Make a personal link")
        link = page.input_value("#invited input")
        assert not overflows(page)
    context = browser.new_context()
    guest = context.new_page()
    guest.goto(link)
    guest.wait_for_url(f"{service.url}/")
    listens(guest)
    guest.keyboard.press("5")
    guest.keyboard.press("Enter")
    expect(guest.locator("#done")).to_be_visible()
    context.close()
    assert [(said.person, said.verdict) for said in store.judged()] == [("Bob <b>", Rating(5))]


def overflows(page: Page) -> bool:
    """Whether anybody had to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))

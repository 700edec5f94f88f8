"""The same tasks in a terminal."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from plaudit.feedback.database import open_database
from plaudit.feedback.records import Asked
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Demonstration, Kind, Ranks, Rating, Task, Thumb, Verdict
from plaudit.feedback.terminal import Session, Unclear, read


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(open_database(f"sqlite:///{tmp_path}/judgements.db"), seed=1)


def typed(*lines: str) -> Callable[[str], str]:
    coming: Iterator[str] = iter(lines)

    def read_line(_: str) -> str:
        try:
            return next(coming)
        except StopIteration:
            raise EOFError from None

    return read_line


def judge(store: Store, *lines: str) -> tuple[int, str]:
    screen = Console(file=io.StringIO(), width=100, force_terminal=True)
    judged = Session(store, store.person("Ada"), screen, typed(*lines)).run()
    assert isinstance(screen.file, io.StringIO)
    return judged, screen.file.getvalue()


def task(kind: Kind, count: int, text: str = "answer") -> Task:
    return Task(kind, kind, "prompt", tuple(Answer(f"{text} {at}") for at in range(count)))


@pytest.mark.parametrize(
    ("kind", "count", "lines", "verdict"),
    [
        (Kind.THUMBS, 1, ("1",), Thumb(True)),
        (Kind.RATING, 1, ("what?", "", "6", "5"), Rating(5)),
        (Kind.COMPARE, 2, ("0",), Ranks((1, 1))),
        (Kind.RANK, 3, ("c b=a",), None),
        (Kind.DEMONSTRATION, 0, ("c f s u q", "."), Demonstration("c f s u q")),
        (Kind.DEMONSTRATION, 0, ("Dear all,", "", "bye", "."), Demonstration("Dear all,\n\nbye")),
    ],
)
def test_every_kind_is_judged(
    store: Store, kind: Kind, count: int, lines: tuple[str, ...], verdict: Verdict | None
) -> None:
    """No verdict is taken for a command, such as a ranking whose best answer is c."""
    store.add_tasks([task(kind, count)])
    assert judge(store, "/f", "/c looks odd", *lines)[0] == 1
    [said] = store.judged()
    assert (said.person, said.comment, said.flagged) == ("Ada", "looks odd", True)
    if verdict is None:
        assert isinstance(said.verdict, Ranks)
        verdict = Ranks(tuple({said.shown[2]: 1}.get(at, 2) for at in range(3)))
    assert said.verdict == verdict


def test_a_ranking_is_typed_as_letters() -> None:
    asked = Asked(1, task(Kind.RANK, 3), (2, 0, 1))
    assert read(asked, "b a=c") == {"rank-1": "1", "rank-0": "2", "rank-2": "2"}
    assert read(asked, "B > A = C") == read(asked, "b a=c")
    for unclear in ("", "a b", "a b d", "a a b", "a b c d", "1 2 3"):
        with pytest.raises(Unclear):
            read(asked, unclear)


def test_what_to_go_by_is_said_once_and_again_after_something_else(store: Store) -> None:
    own = "Is it [bold]true[/]?"
    for at, instructions in enumerate(["", "", own, own, "", ""]):
        store.add_tasks([Task(str(at), Kind.RATING, "p", (Answer("a"),), priority=-at, instructions=instructions)])
    screen = Console(file=io.StringIO(), width=100)
    Session(store, store.person("Ada"), screen, typed(*"333333"), "Be kind.").run()
    told = re.findall(r"Be kind\.|Is it \[bold\]true\[/\]\?", screen.file.getvalue())
    assert told == ["Be kind.", own, "Be kind."]


def test_one_is_taken_back_another_skipped_and_the_rest_is_left(store: Store) -> None:
    store.add_tasks([Task(str(at), Kind.RATING, "p", (Answer("a"),)) for at in range(3)])
    assert judge(store, "3", "/u", "4", "/s broken", "/q")[0] == 2
    assert [said.verdict for said in store.judged()] == [Rating(4)]
    assert judge(store, "2")[0] == 1


def test_what_was_taken_back_is_shown_as_it_was_typed_and_kept(store: Store) -> None:
    store.add_tasks([task(Kind.RANK, 3), Task("last", Kind.RATING, "p", (Answer("a"),), priority=-1)])
    _, screen = judge(store, "/c odd", "/f", "c b=a", "/u", "c b=a")
    assert "so far: c a=b   /c odd   /f" in screen
    [said] = store.judged()
    assert (said.comment, said.flagged) == ("odd", True)


def test_what_a_model_wrote_commands_nothing(store: Store) -> None:
    store.add_tasks([task(Kind.RATING, 1, "[bold]not markup[/] \x1b[2J\x1b]0;owned\x07 \x9b31m")])
    _, screen = judge(store, "/q")
    assert "[bold]not markup[/]" in screen
    for command in ("\x1b[2J", "\x1b]0;", "\x07", "\x9b"):
        assert command not in screen


def test_a_half_written_answer_is_there_again(store: Store) -> None:
    store.add_tasks([task(Kind.DEMONSTRATION, 0)])
    person = store.person("Ada")
    asked = store.next(person)
    assert asked is not None
    store.save_draft(person, asked.assignment, {"text": "half a thou"})
    assert "half a thou" in judge(store, "/q")[1]


def test_the_command_asks_in_a_real_terminal(tmp_path: Path) -> None:
    settings = tmp_path / "label.yaml"
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "response": "fine"}\n')
    url = f"sqlite:///{tmp_path}/judgements.db"
    settings.write_text(f"database: {url}\ntasks: [{{kind: rating, data: {{source: {tmp_path}/rows.jsonl}}}}]\n")
    command = [sys.executable, "-m", "plaudit.cli", "label", str(settings)]
    subprocess.run([*command, "add"], check=True, capture_output=True)
    ours, theirs = pty.openpty()
    os.write(ours, b"4\n")
    done = subprocess.run(
        [*command, "terminal", "person=Ada"], stdin=theirs, capture_output=True, text=True, timeout=60
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "1 judged" in done.stdout
    assert [said.verdict for said in Store(open_database(url)).judged()] == [Rating(4)]

"""`plaudit label settings.yaml terminal person=NAME`: the same tasks, asked and answered in a terminal.

    kind            what is typed                                    beside that, always
    compare         1 or 2; 0 where neither is better                /s [why]    skip: somebody else is asked
    rank            b a=c: the best first, = between equals          /u          take the last one back
    thumbs          1: good, 2: not                                  /f          something is wrong with this task
    rating          1 to 5                                           /c words    a comment
    demonstration   lines, the last one a single dot                 /q          end; so does Ctrl-D

What models wrote is shown as text: none of it can move the cursor, or colour anything.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from plaudit.feedback.asking import Said, shown
from plaudit.feedback.fields import verdict_of
from plaudit.feedback.records import AlreadyJudged, Asked, Person
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Kind, WrongVerdict

HINTS = {
    Kind.COMPARE: "1, 2, or 0 where neither is better",
    Kind.RANK: "the best first, = between equals, such as b a=c",
    Kind.THUMBS: "1 good, 2 not good",
    Kind.RATING: "1 worst to 5 best",
    Kind.DEMONSTRATION: "your answer; a line with a single dot ends it",
}
CHOICES = {
    Kind.COMPARE: {"1": "0", "2": "1", "0": "tie", "=": "tie"},
    Kind.THUMBS: {"1": "up", "2": "down", "+": "up", "-": "down"},
    Kind.RATING: {stars: stars for stars in "12345"},
}
COMMANDS = "/s skip   /u undo   /f flag   /c WORDS comment   /q quit"


class Unclear(ValueError):
    """What was typed cannot be read."""


@dataclass
class Session:
    """One person at one terminal."""

    store: Store
    person: Person
    console: Console
    read: Callable[[str], str]  # a line; EOFError at the end
    instructions: str = ""  # of tasks that have none of their own
    told: str = ""  # the last ones: they are said again where others were said in between
    comment: str = ""
    flagged: bool = False
    began: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Until there is nothing left, or somebody wants to go; how many were judged."""
        judged = 0
        while (asked := self.store.next(self.person)) is not None:
            fields, self.began = shown(asked).fields, time.monotonic()
            self.comment, self.flagged = fields["comment"], bool(fields["flagged"])
            self._show(asked)
            said = self._answer(asked)
            if said is None:
                return judged
            judged += said
        self.console.print("Nothing to judge right now.")
        return judged

    def _show(self, asked: Asked) -> None:
        task = shown(asked)
        standing = self.store.standing(self.person)
        self.console.rule(f"{standing.judged} done, {standing.left} to come")
        self._instruct(task.instructions or self.instructions)
        for turn in task.conversation:
            self.console.print(_panel(turn, "blue"))
        for place, answer in enumerate(task.answers, start=1):
            title = str(place) if asked.task.kind is Kind.COMPARE else answer.name
            self.console.print(_panel(answer, "white", title))
        if before := as_typed(asked, task.fields):
            self.console.print(Text(f"so far: {before}", "yellow"))
        self.console.print(f"[bold]{HINTS[asked.task.kind]}[/]   [dim]{COMMANDS}[/]", highlight=False)

    def _instruct(self, instructions: str) -> None:
        if instructions and instructions != self.told:
            self.console.print(
                Panel(Text(instructions), title="what to go by", title_align="left", border_style="green")
            )
        self.told = instructions

    def _answer(self, asked: Asked) -> bool | None:
        """Whether it was judged; None where somebody wants to go."""
        while True:
            try:
                line = self.read("> ").strip()
            except EOFError:
                return None
            command, _, rest = line.partition(" ")
            match command:
                case "/q":
                    return None
                case "/s":
                    self.store.skip(self.person, asked.assignment, comment=rest or self.comment, flagged=self.flagged)
                    return False
                case "/u":
                    if self.store.undo(self.person, asked.assignment) is not None:
                        return False
                    self.console.print("There is nothing to take back.")
                case "/c":
                    self.comment = rest
                case "/f":
                    self.flagged = not self.flagged
                    self.console.print("Flagged." if self.flagged else "Not flagged.")
                case _ if line and self._judge(asked, line):
                    return True

    def _judge(self, asked: Asked, line: str) -> bool:
        try:
            fields = {"text": self._lines(asked, line)} if asked.task.kind is Kind.DEMONSTRATION else read(asked, line)
            verdict = verdict_of(asked, fields)
            seconds = time.monotonic() - self.began
            self.store.judge(
                self.person,
                asked.assignment,
                uuid.uuid4().hex,
                verdict,
                comment=self.comment,
                flagged=self.flagged,
                seconds=seconds,
            )
        except (Unclear, WrongVerdict):
            self.console.print(f"Not understood: {HINTS[asked.task.kind]}")
            return False
        except AlreadyJudged:
            self.console.print("You have judged that one elsewhere.")
        return True

    def _lines(self, asked: Asked, line: str) -> str:
        """Up to a single dot; kept as they come."""
        lines: list[str] = []
        while line != ".":
            lines.append(line)
            self.store.save_draft(self.person, asked.assignment, {"text": "\n".join(lines)})
            try:
                line = self.read("  ").rstrip()
            except EOFError:
                break
        return "\n".join(lines)


def read(asked: Asked, line: str) -> dict[str, str]:
    """What was typed, as the page's fields. Raises Unclear."""
    kind = asked.task.kind
    if kind is Kind.RANK:
        return _ranks(line, len(asked.shown))
    if line not in CHOICES[kind]:
        raise Unclear
    return {"choice": CHOICES[kind][line]}


def as_typed(asked: Asked, fields: Mapping[str, str]) -> str:
    """The other way round: what would be typed for the page's fields, and what stands beside it."""
    said = fields["text"]
    if asked.task.kind is Kind.RANK:
        letters: dict[int, list[str]] = {}
        for place in range(len(asked.shown)):
            if rank := fields[f"rank-{place}"]:
                letters.setdefault(int(rank), []).append(chr(ord("a") + place))
        said = " ".join("=".join(letters[rank]) for rank in sorted(letters))
    elif fields["choice"]:
        said = next(typed for typed, choice in CHOICES[asked.task.kind].items() if choice == fields["choice"])
    beside = (f"/c {fields['comment']}" if fields["comment"] else "", "/f" if fields["flagged"] else "")
    return "   ".join(part for part in (said, *beside) if part)


def _ranks(line: str, count: int) -> dict[str, str]:
    """Of "b a=c", or "b > a = c"."""
    groups = [group.split("=") for group in re.sub(r"\s*=\s*", "=", line.lower()).replace(">", " ").split()]
    letters = [letter for group in groups for letter in group]
    if sorted(letters) != [chr(ord("a") + at) for at in range(count)]:
        raise Unclear
    return {
        f"rank-{ord(letter) - ord('a')}": str(rank) for rank, group in enumerate(groups, start=1) for letter in group
    }


def _panel(said: Said, style: str, title: str | None = None) -> Panel:
    text = "\n".join(part.text for part in said.parts) or "(empty)"
    warning = f"{said.unseen} characters that nobody can see" if said.unseen else None
    return Panel(Text(text), title=Text(title or said.name), title_align="left", subtitle=warning, border_style=style)


def judge_in_terminal(store: Store, person: Person, instructions: str) -> int:
    """Returns the exit code."""
    session = Session(store, person, Console(), input, instructions)
    judged = session.run()
    session.console.print(f"{judged} judged. Thank you.")
    return 0

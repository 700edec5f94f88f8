"""People at the desk: threads that do what a person does in the labelling page, through the store."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plaudit.feedback.database import open_database
from plaudit.feedback.records import Asked, Person
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Kind, Rating, Thumb, Verdict

FLAG, SKIP = "flag", "skip"


def like(task_response: str) -> int:
    """How many stars a response has, as everybody here sees it: 1 more for each x in it, 5 at most."""
    return min(5, 1 + task_response.count("x"))


def verdict(asked: Asked) -> Verdict:
    """As `like`; up from 3 stars on."""
    stars = like(asked.task.answers[0].text)
    return Thumb(stars >= 3) if asked.task.kind is Kind.THUMBS else Rating(stars)


class Desk:
    """Who sits there: what was asked, in order, and how often each task."""

    def __init__(self, url: str) -> None:
        self.store = Store(open_database(url))
        self.asked: list[Asked] = []

    def times(self) -> Counter[str]:
        return Counter(one.task.answers[0].text for one in self.asked)

    def sign_in(self, name: str) -> Person:
        person = self.store.sign_in(self.store.add_person(name))
        assert person is not None
        return person

    def judge(self, person: Person, say: Callable[[Asked], Verdict | str] = verdict) -> bool:
        """One task, if there is one."""
        asked = self.store.next(person)
        if asked is None:
            return False
        self.asked.append(asked)
        said = say(asked)
        if said == SKIP:
            self.store.skip(person, asked.assignment)
        else:
            given = verdict(asked) if isinstance(said, str) else said
            flagged, submission = said == FLAG, f"{person.name}/{asked.assignment}/{time.monotonic()}"
            self.store.judge(person, asked.assignment, submission, given, flagged=flagged, seconds=2.0)
        return True


@contextmanager
def at_the_desk(
    url: str, *names: str, say: Callable[[Asked], Verdict | str] = verdict, every: float = 0.02
) -> Iterator[Desk]:
    """A person of each name, who judges whatever comes until the block is over."""
    desk, over = Desk(url), threading.Event()

    def sit(person: Person) -> None:
        while not over.wait(every):
            desk.judge(person, say)

    threads = [threading.Thread(target=sit, args=(desk.sign_in(name),), daemon=True) for name in names or ("Ada",)]
    for thread in threads:
        thread.start()
    try:
        yield desk
    finally:
        over.set()
        for thread in threads:
            thread.join(10)

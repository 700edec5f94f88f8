"""What tests of a store have in common."""

from plaudit.feedback.records import Asked, Person
from plaudit.feedback.store import Store
from plaudit.feedback.tasks import Answer, Kind, Rating, Task


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def person(store: Store, name: str) -> Person:
    found = store.sign_in(store.add_person(name))
    assert found is not None
    return found


def ratings(count: int, **changes: object) -> list[Task]:
    return [Task(f"{i:03}", Kind.RATING, f"prompt {i}", (Answer(f"answer {i}"),), **changes) for i in range(count)]


def ask(store: Store, who: Person) -> Asked:
    found = store.next(who)
    assert found is not None
    return found


def rate(store: Store, who: Person, stars: int = 3, submission: str | None = None) -> Asked:
    asked = ask(store, who)
    store.judge(who, asked.assignment, submission or f"{who.name}/{asked.task.key}", Rating(stars))
    return asked

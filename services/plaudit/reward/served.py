"""What the service sees of a model, a rule, a function, people, or several of these."""

from collections.abc import Sequence
from typing import Protocol

from plaudit.reward.admission import Admission
from plaudit.reward.items import Answer, Card, Deadline, Item


class Served(Protocol):
    """A model, a rule, a function, people or an ensemble behind the service; nobody outside can tell which."""

    card: Card
    admission: Admission

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """Raises Unavailable, such as QueueFull, or DeadlineExpired for the call as a whole."""
        ...

    def beating(self, patience: float) -> bool:
        """False when its thread has not moved for `patience` seconds."""
        ...

    def lost(self) -> bool:
        """True once it can never score again."""
        ...

    def away(self) -> bool:
        """True while something that it needs does not answer: nothing is lost, but it cannot score now."""
        ...

    def close(self) -> None:
        """Ends its threads and processes; nothing is in flight any more."""
        ...

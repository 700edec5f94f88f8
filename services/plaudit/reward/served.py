"""What the service sees of a model, a rule, a function or several of them."""

from collections.abc import Sequence
from typing import Protocol

from plaudit.reward.admission import Admission
from plaudit.reward.items import Answer, Card, Deadline, Item


class Served(Protocol):
    """A model, a rule, a function or an ensemble behind the service; nobody outside can tell which."""

    card: Card
    admission: Admission

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """Raises QueueFull, DeadlineUnreachable or DeadlineExpired for the call as a whole."""
        ...

    def beating(self, patience: float) -> bool:
        """False when its thread has not moved for `patience` seconds."""
        ...

    def lost(self) -> bool:
        """True once it can never score again."""
        ...

    def close(self) -> None:
        """Ends its threads and processes; nothing is in flight any more."""
        ...

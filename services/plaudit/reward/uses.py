"""Which models are being asked: one that is taken out is closed when the last call that has it is answered."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from plaudit.reward.served import Served


class Uses:
    """Lives on the event loop, so it needs no lock."""

    def __init__(self) -> None:
        self._uses: Counter[Served] = Counter()
        self._leaving: dict[Served, asyncio.Event] = {}

    @contextmanager
    def using(self, model: Served) -> Iterator[None]:
        """Counts the block."""
        self._uses[model] += 1
        try:
            yield
        finally:
            self._uses[model] -= 1
            if not self._uses[model]:
                del self._uses[model]
                if model in self._leaving:
                    self._leaving[model].set()

    def leave(self, model: Served) -> None:
        """No block begins with it any more."""
        self._leaving[model] = asyncio.Event()
        if not self._uses[model]:
            self._leaving[model].set()

    async def close(self, model: Served) -> None:
        """After its last block; it has left."""
        await self._leaving[model].wait()
        try:
            await asyncio.to_thread(model.close)  # a process is waited for
        finally:
            del self._leaving[model]

    @property
    def leaving(self) -> tuple[Served, ...]:
        """Those that are not closed yet."""
        return tuple(self._leaving)

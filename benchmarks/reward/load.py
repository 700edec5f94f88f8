"""The load generator: a process of its own, started for one measurement, that prints what became of every request.

Closed loop   N clients, each sends its next request when the last one is answered, until all are sent. The time is that
              of the whole work, from the first request to the last answer: nothing is cut off at either end.
Open loop     requests leave when they are due, whether or not anything was answered. Latency counts from when a request
              was due, so a generator that falls behind makes it longer, not shorter.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import workload
from child import environment

from clients import Call, Kind, connect, http_requests


@dataclass(frozen=True, kw_only=True)
class Load:
    """One measurement's load. The closed loop has `rate` None and sends `count` requests."""

    address: str
    kind: Kind = "grpc"
    seed: int  # of the texts, and of the arrivals
    median: float  # words of an item
    clients: int = 64
    count: int = 0  # requests
    items: int = 1  # in a request
    rate: float | None = None  # requests a second, for `seconds`
    seconds: float = 0.0
    timeouts: Sequence[float] = ()  # seconds each request may take, used in turn; none: no deadline
    key: str = ""  # the API key that gRPC's requests carry


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of it. Times in seconds; those of requests from when the load began."""

    began: float  # on time.monotonic's clock, which is the same for all processes of a machine
    seconds: float  # to the last answer that was OK
    cpu: float  # of the generator
    codes: Sequence[str]  # how each request ended
    due: Sequence[float]
    done: Sequence[float]
    timeouts: Sequence[float | None] = field(default=())

    @property
    def ok(self) -> int:
        """How many were answered."""
        return sum(code == "OK" for code in self.codes)

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return self.ok / self.seconds

    def latencies(self, code: str = "OK") -> list[float]:
        """Seconds from due to done, of the requests that ended so."""
        return [done - due for end, due, done in zip(self.codes, self.due, self.done, strict=True) if end == code]

    def counts(self) -> str:
        """How many ended in which way, for people."""
        return ", ".join(f"{count} {code}" for code, count in Counter(self.codes).most_common())


def run(load: Load) -> Outcome:
    """Runs it in a process of its own and waits for it."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(load))], stdout=subprocess.PIPE, env=environment(1), check=True
    )
    return Outcome(**json.loads(done.stdout))


class Generator:
    """Sends the requests and keeps what became of each."""

    def __init__(self, load: Load, requests: Sequence[bytes], due: Sequence[float]) -> None:
        self._load, self._requests, self._due = load, requests, list(due)
        self._done = [0.0] * len(requests)
        self._codes = [""] * len(requests)
        turns = load.timeouts
        self._timeouts = [turns[i % len(turns)] if turns else None for i in range(len(requests))]
        self._began = 0.0

    async def measure(self) -> Outcome:
        """The whole load."""
        async with connect(self._load.kind, self._load.address, self._load.clients, self._load.key) as calls:
            cpu, self._began = time.process_time(), time.monotonic()
            await (self._closed(calls) if self._load.rate is None else self._open(calls))
        return Outcome(
            began=self._began,
            seconds=max((d for d, code in zip(self._done, self._codes, strict=True) if code == "OK"), default=0.0),
            cpu=time.process_time() - cpu,
            codes=self._codes,
            due=self._due,
            done=self._done,
            timeouts=self._timeouts,
        )

    async def _closed(self, calls: Sequence[Call]) -> None:
        numbers = iter(range(len(self._requests)))  # shared: whoever is free takes the next one

        async def client(call: Call) -> None:
            for number in numbers:
                self._due[number] = self._now()
                await self._send(call, number)

        await asyncio.gather(*map(client, calls))

    async def _open(self, calls: Sequence[Call]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, due in enumerate(self._due):
                await asyncio.sleep(due - self._now())
                group.create_task(self._send(calls[number % len(calls)], number))

    async def _send(self, call: Call, number: int) -> None:
        self._codes[number] = await call(self._requests[number], self._timeouts[number])
        self._done[number] = self._now()

    def _now(self) -> float:
        return time.monotonic() - self._began


def prepare(load: Load) -> tuple[list[bytes], list[float]]:
    """The requests, and when they are due; the closed loop fills that in."""
    due = [0.0] * load.count if load.rate is None else workload.arrivals(load.seed, load.rate, load.seconds)
    asked = workload.pairs(load.seed, len(due) * load.items, load.median)
    if load.kind == "http":
        return http_requests([prompt + response for prompt, response in asked]), due
    return workload.requests(asked, load.items), due


def main() -> None:
    """Reads a Load, prints an Outcome."""
    load = Load(**json.loads(sys.argv[1]))
    outcome = asyncio.run(Generator(load, *prepare(load)).measure())
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()

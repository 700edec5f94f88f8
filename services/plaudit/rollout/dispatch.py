"""Who generates what: orders are cut into groups, groups go out to workers, each response is taken once.

    Order      what one caller asked for: it is told of each trajectory once, whoever made it
    Group      requests that are generated together
    Dispatch   the groups of all orders: which goes out next, which goes out again, which prompts are set aside

Knows neither Ray nor the clock nor threads: the pool says what happened, and when.

Prompts of about one length are generated together, the longest first: a short one beside a long one costs as much.

Floating point depends a little on what else is in a batch. So the groups of a fixed order follow from its requests
alone, and a group that lost its worker goes out again whole: neither the number of workers nor their deaths
change a bit of what comes back. Of an order that is not fixed only what is still missing goes out again.

A group that costs `max_attempts` workers may hold a prompt that kills. Each of its requests is then tried alone: one
that costs as many again, alone, is set aside with its prompt, and the others go on. Of a fixed order what was generated
alone is thrown away, and the group goes out once more without the one that kills.
"""

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from statistics import median

from plaudit.errors import PlauditError, RunFailed
from plaudit.rollout.settings import RolloutSettings
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, Trajectory

logger = logging.getLogger(__name__)

LEAST_PATIENCE_S = 5.0
"""No group is thought slow before: two copies cost more than they save."""

_TYPICAL = 64  # runs that say how long one takes
_ENOUGH = 3  # of them
_TOGETHER = 3  # times that a group may die as a whole though nothing in it kills alone: chance, but not for ever


@dataclass(frozen=True, slots=True)
class Delivered:
    """Trajectories that nobody had before."""

    trajectories: list[Trajectory]


@dataclass(frozen=True, slots=True)
class SetAside:
    """Requests that will never be answered: generating for their prompt kills workers."""

    requests: list[RolloutRequest]


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing more will come."""

    error: PlauditError


Event = Delivered | SetAside | Failed


class Order:
    """One caller's requests, and which of them are still open. Raises ValueError when two have one id."""

    def __init__(
        self,
        requests: Sequence[RolloutRequest],
        sampling: Sampling,
        on_event: Callable[[Event], None],
        *,
        fixed: bool,
        traceparent: str | None = None,
    ) -> None:
        self.requests, self.sampling, self.on_event, self.fixed = tuple(requests), sampling, on_event, fixed
        self.traceparent = traceparent  # of the span in which it was asked for
        self.open = {request.id: request for request in requests}
        if len(self.open) < len(self.requests):
            raise ValueError("two requests of one order have the same id")


@dataclass(slots=True, eq=False)
class Group:
    """Requests of one order that are generated together."""

    order: Order
    requests: tuple[RolloutRequest, ...]
    suspected_of: "Group | None" = None  # set: one request, tried alone to see whether it kills
    lost: int = 0  # workers that it cost
    copies: dict[Hashable, float] = field(default_factory=dict)  # worker at it -> since when
    suspects: int = 0  # of this group that are still to be tried alone
    cleared: int = 0  # times that none of them killed, alone

    @property
    def is_probe(self) -> bool:
        """What comes of it is thrown away: it tells whether the request kills, no more."""
        return self.suspected_of is not None and self.order.fixed

    @property
    def needed(self) -> bool:
        """Whether anything of it is still open."""
        return any(request.id in self.order.open for request in self.requests)


@dataclass(frozen=True, slots=True)
class Run:
    """A group, out with one worker."""

    group: Group
    worker: Hashable
    requests: tuple[RolloutRequest, ...]

    def names(self, most: int = 8) -> str:
        """Its prompts, as an error shows them."""
        ids = list(dict.fromkeys(request.prompt.id for request in self.requests))
        more = f" and {len(ids) - most} more" if len(ids) > most else ""
        return ", ".join(f"'{name}'" for name in ids[:most]) + more


class Dispatch:
    """All that is to be generated. `worker` is anything that tells one worker from another; times are in seconds."""

    def __init__(self, settings: RolloutSettings) -> None:
        self._settings = settings
        self._orders: list[Order] = []
        self._waiting: deque[Group] = deque()
        self._out: dict[Group, None] = {}  # in the order in which they went out
        self._durations: deque[float] = deque(maxlen=_TYPICAL)  # of whole groups that ended well
        self.set_aside: dict[Prompt, str] = {}  # what its last worker died of
        self.lost_in_a_row = 0  # workers, since anything came back
        self.redispatched_lost = self.redispatched_slow = self.duplicates = 0

    @property
    def waiting(self) -> int:
        """Requests that nobody is at."""
        return sum(len(group.requests) for group in self._waiting)

    @property
    def busy(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._orders)

    def add(self, order: Order, *, first: bool = False) -> None:
        """Its groups go behind those of earlier orders, or before them. Prompts set aside before are so at once."""
        self._drop_set_aside(order)
        if order.open:
            self._orders.append(order)
        requests, size = _longest_first(order.requests) if order.open else [], self._settings.group_size
        groups = [Group(order, tuple(requests[start : start + size])) for start in range(0, len(requests), size)]
        self._waiting = deque([*groups, *self._waiting] if first else [*self._waiting, *groups])

    def cancel(self, order: Order) -> None:
        """Nobody waits for it any more; what is out with a worker stays there until it ends."""
        order.open.clear()
        self._forget(order)

    def fail(self, error: PlauditError) -> None:
        """Every order ends with it."""
        for order in list(self._orders):
            self.cancel(order)
            order.on_event(Failed(error))

    def take(self, worker: Hashable, now: float) -> Run | None:
        """What an idle worker shall do: a group that waits, else one that somebody else is slow at."""
        while self._waiting:
            if run := self._run(self._waiting.popleft(), worker, now):
                return run
        slow = next((group for group in self._out if self._due(group) <= now), None)
        if slow is None or (run := self._run(slow, worker, now)) is None:
            return None
        self.redispatched_slow += 1
        return run

    def next_due(self) -> float | None:
        """When the first group will be thought slow; None as long as that cannot be said."""
        due = min((self._due(group) for group in self._out), default=float("inf"))
        return None if due == float("inf") else due

    def deliver(self, run: Run, trajectories: Sequence[Trajectory]) -> None:
        """Takes what nobody else has brought yet."""
        self.lost_in_a_row = 0
        order = run.group.order
        if run.group.is_probe or order not in self._orders:
            return
        new = [one for one in trajectories if order.open.pop(one.request.id, None) is not None]
        self.duplicates += len(trajectories) - len(new)
        if new:
            self._tell(order, Delivered(new))

    def ended(self, run: Run, now: float) -> None:
        """The worker is through with it."""
        since, group = self._leave(run), run.group
        if group.suspected_of is None and len(run.requests) == len(group.requests):  # a part tells nothing of a whole
            self._durations.append(now - since)
        self._known(group)

    def lost(self, run: Run, reason: str) -> None:
        """The worker died at it, or took longer than allowed."""
        self._leave(run)
        group = run.group
        group.lost += 1
        self.lost_in_a_row += 1
        if group.copies:
            return
        if not group.needed:
            self._known(group)
        elif group.lost < self._settings.max_attempts:
            self._again(group)
        elif len(group.requests) > 1:
            self._try_alone(group, [request for request in run.requests if request.id in group.order.open])
        else:
            self._set_aside(run.requests[0].prompt, reason)
            self._known(group)

    def _run(self, group: Group, worker: Hashable, now: float) -> Run | None:
        """None where nothing of it is wanted any more."""
        order = group.order
        wanted = [r for r in group.requests if (r.prompt not in self.set_aside if order.fixed else r.id in order.open)]
        if not wanted or not group.needed:
            self._known(group)
            return None
        group.copies[worker] = now
        self._out.setdefault(group)
        return Run(group, worker, tuple(wanted))

    def _leave(self, run: Run) -> float:
        """The worker isn't at it any more; since when it was."""
        since = run.group.copies.pop(run.worker)
        if not run.group.copies:
            self._out.pop(run.group, None)
        return since

    def _due(self, group: Group) -> float:
        """When it is slow enough for a second worker; never where there are two, nor of one that is tried alone."""
        factor = self._settings.straggler_factor
        if factor is None or len(self._durations) < _ENOUGH:
            return float("inf")
        if len(group.copies) != 1 or group.suspected_of is not None or not group.needed:
            return float("inf")
        (since,) = group.copies.values()
        return since + max(LEAST_PATIENCE_S, factor * median(self._durations))

    def _again(self, group: Group) -> None:
        self.redispatched_lost += 1
        self._waiting.appendleft(group)

    def _try_alone(self, group: Group, requests: Sequence[RolloutRequest]) -> None:
        group.suspects = len(requests)
        alone = [Group(group.order, (request,), suspected_of=group) for request in requests]
        self._waiting.extendleft(reversed(alone))

    def _known(self, alone: Group) -> None:
        """If it was tried alone, one suspect less. After the last, what is left of a fixed group goes out whole."""
        group = alone.suspected_of
        if group is None:
            return
        group.suspects -= 1
        if group.suspects or not group.order.fixed or not group.needed:
            return
        group.lost = 0
        group.cleared += 1
        if group.cleared < _TOGETHER:
            self._again(group)
            return
        names = Run(group, None, group.requests).names()
        self.fail(
            RunFailed(
                f"prompts {names}: generating for them together costs worker after worker, for each alone none: lower "
                "rollout.group_size, or raise rollout.generation_timeout_s"
            )
        )

    def _set_aside(self, prompt: Prompt, reason: str) -> None:
        killed = self._settings.max_attempts
        logger.error("prompt '%s' is set aside: it killed %d workers, alone (%s)", prompt.id, killed, reason)
        self.set_aside[prompt] = reason
        for order in list(self._orders):
            self._drop_set_aside(order)

    def _drop_set_aside(self, order: Order) -> None:
        gone = [request for request in order.open.values() if request.prompt in self.set_aside]
        for request in gone:
            del order.open[request.id]
        if gone:
            self._tell(order, SetAside(gone))

    def _tell(self, order: Order, event: Event) -> None:
        if not order.open:
            self._forget(order)
        order.on_event(event)

    def _forget(self, order: Order) -> None:
        if order in self._orders:
            self._orders.remove(order)
        self._waiting = deque(group for group in self._waiting if group.order is not order)


def _longest_first(requests: Sequence[RolloutRequest]) -> list[RolloutRequest]:
    return sorted(requests, key=lambda request: len(request.prompt.token_ids), reverse=True)

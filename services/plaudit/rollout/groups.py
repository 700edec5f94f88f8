"""The fixed groups that a list of requests is generated in.

Floating point depends a little on what else is in a batch. So the groups are cut from the requests in their order,
whatever the number of workers; a group that lost its worker goes to another one whole.
"""

from collections import deque
from collections.abc import Sequence

from plaudit.errors import RunFailed
from plaudit.trajectory import RolloutRequest, Trajectory

_IDS_SHOWN = 8


class Groups:
    """What is still to be generated, and what is there."""

    def __init__(self, requests: Sequence[RolloutRequest], size: int, max_attempts: int) -> None:
        self._groups = [tuple(requests[start : start + size]) for start in range(0, len(requests), size)]
        self._max_attempts = max_attempts
        self._waiting = deque(range(len(self._groups)))
        self._lost = [0] * len(self._groups)
        self._results: dict[int, list[Trajectory]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> tuple[RolloutRequest, ...]:
        return self._groups[index]

    @property
    def done(self) -> int:
        """How many groups are finished."""
        return len(self._results)

    def take(self) -> int | None:
        """The next group that nobody works on; None where there is none."""
        return self._waiting.popleft() if self._waiting else None

    def finish(self, index: int, trajectories: list[Trajectory]) -> None:
        """Group `index` is there."""
        self._results[index] = trajectories

    def give_back(self, index: int, reason: str) -> None:
        """Group `index` lost its worker: it is the next one to go out again, unless it has cost too many."""
        self._lost[index] += 1
        if self._lost[index] >= self._max_attempts:
            raise RunFailed(
                f"prompts {self.names(index)}: generating for them cost {self._lost[index]} rollout workers "
                f"(the last one: {reason}); leave these prompts out, or raise rollout.generation_timeout_s"
            )
        self._waiting.appendleft(index)

    def trajectories(self) -> list[Trajectory]:
        """All of them, in the requests' order."""
        return [trajectory for index in range(len(self)) for trajectory in self._results[index]]

    def names(self, index: int) -> str:
        """The prompts of group `index`, as an error shows them."""
        ids = list(dict.fromkeys(request.prompt.id for request in self._groups[index]))
        more = f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else ""
        return ", ".join(f"'{name}'" for name in ids[:_IDS_SHOWN]) + more

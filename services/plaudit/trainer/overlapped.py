"""Steps 1 to 3 ahead of the learner: responses are generated and scored while it updates.

    _ask_for_more ── prompts ──> pool ── trajectories, as they end ──> scoring threads ── scores ──┐
         ^   capacity                                                                              v
         └───────────── publish: a new version <── the loop: update <── collect: a batch <── complete prompts

How far ahead is bounded by `max_staleness`, the number of updates between the weights that sampled a response and the
weights that learn from it. A prompt is asked for as long as those accepted or under way are fewer than
(max_staleness + version + 1) batches (AReaL, arXiv:2505.24298, section 5.1); so with one update's lead all workers
generate the next batch while the learner is at this one. A straggler may be overtaken by what was asked for later: a
response that is too old when a batch is made up is dropped, and counted.

What comes in first is learnt from first, so a run is not the same twice. Its sampler and its learner differ by the
updates between them: `ppo.sampler_correction` weighs for that.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from plaudit.errors import PlauditError, RunFailed
from plaudit.rollout.dispatch import Delivered, Event, Failed, SetAside
from plaudit.telemetry import tracing
from plaudit.trainer.prompts import PromptStream
from plaudit.trainer.roles import Collected, Phase, Position, RolloutPool, Scorer
from plaudit.trajectory import RolloutRequest, Sampling, ScoredTrajectory, Trajectory, Weights

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 0.5
SCORING_THREADS = 32
"""Each waits for one answer of the reward services."""


@dataclass(eq=False)
class _Visit:
    """One prompt and its samples: complete when nothing of it is under way any more."""

    requests: list[RolloutRequest]
    open: set[str] = field(default_factory=set)  # ids that are under way
    scored: list[ScoredTrajectory] = field(default_factory=list)
    traceparent: str | None = None  # of the span in which it was asked for

    @property
    def version(self) -> int:
        """Of the oldest weights that had part in it."""
        return min(one.trajectory.weight_version for one in self.scored)


class OverlappedRollouts:
    """Implements `trainer.roles.Rollouts`. Every attribute below `_changed` is written under its lock.

    The pool's thread waits for nobody: nothing is submitted by it, and nothing while the lock is held.
    """

    def __init__(
        self,
        prompts: PromptStream,
        pool: RolloutPool,
        scorer: Scorer,
        sampling: Sampling,
        *,
        max_staleness: int,
        steps: int,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_wait` is called twice a second while there is no batch; what it raises ends the waiting."""
        self._prompts, self._pool, self._scorer, self._sampling = prompts, pool, scorer, sampling
        self._max_staleness, self._batch, self._steps = max_staleness, prompts.per_step, steps
        self._on_wait = on_wait
        self._threads = ThreadPoolExecutor(SCORING_THREADS, thread_name_prefix="overlapped")
        self._changed = threading.Condition()
        self._version = 0
        self._drawn = 0
        self._again: deque[_Visit] = deque()  # that an earlier process had in flight
        self._under_way: dict[str, _Visit] = {}  # by the ids of their open requests
        self._visits: dict[_Visit, None] = {}  # drawn, neither learnt from nor dropped, in the order drawn
        self._ready: list[_Visit] = []
        self._learning: list[_Visit] = []  # taken for the step under way
        self._failure: PlauditError | None = None
        self._counts = _no_counts()
        responses = self._batch * prompts.samples_per_prompt
        self._outcomes: deque[bool] = deque(maxlen=responses)  # of the last ones: whether they have a score
        self._set_aside_in_a_row = 0

    def begin(self, version: int, position: Position) -> None:
        """Asks again for what was in flight, then for more."""
        with self._changed:
            self._version, self._drawn = version, position.drawn
            self._again = deque(_Visit(requests) for requests in self._prompts.named(position.in_flight))
        self._ask_for_more()

    def collect(self, step: int, phase: Phase) -> Collected:
        """The oldest complete prompts, as soon as there are enough for a batch."""
        with phase("wait"):
            visits = self._wait_for_batch()
        tracing.link([visit.traceparent for visit in visits])
        with self._changed:
            counts, self._counts = self._counts, _no_counts()
        scored = [one for visit in visits for one in visit.scored]
        lags = [self._version - one.trajectory.weight_version for one in scored]
        for lag in range(self._max_staleness + 1):
            counts[f"staleness_{lag}"] = lags.count(lag)
        return Collected(scored, counts)

    def publish(self, version: int, weights: Weights) -> None:
        """What is asked for from now on is generated with them."""
        self._pool.set_weights(version, weights)
        with self._changed:
            self._version, self._learning = version, []
        self._ask_for_more()

    def position(self, step: int) -> Position:
        """In flight is all that was drawn and not learnt from: what resumes asks for it again."""
        with self._changed:
            visits = [*self._learning, *self._visits, *self._again]
            return Position([request.id for visit in visits for request in visit.requests], self._drawn)

    def close(self) -> None:
        """Whoever is being asked for a score is not waited for."""
        with self._changed:
            self._failure = RunFailed("the run has ended")
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _wait_for_batch(self) -> list[_Visit]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._failure or len(self._ready) >= self._batch, LOOK_SECONDS)
                if self._failure is not None:
                    raise self._failure
                self._drop_stale()
                if len(self._ready) >= self._batch:
                    self._ready.sort(key=lambda visit: visit.version)
                    taken, self._ready = self._ready[: self._batch], self._ready[self._batch :]
                    self._learning = taken
                    for visit in taken:
                        del self._visits[visit]
                    break
            self._ask_for_more()
            self._on_wait()
        self._ask_for_more()
        return taken

    def _drop_stale(self) -> None:
        stale = [visit for visit in self._ready if self._version - visit.version > self._max_staleness]
        for visit in stale:
            self._counts["stale_dropped"] += len(visit.scored)
            self._ready.remove(visit)
            del self._visits[visit]

    def _ask_for_more(self) -> None:
        """As many prompts as the bound allows."""
        with self._changed:
            if self._failure is not None:
                return
            allowed = min(self._max_staleness + self._version + 1, self._steps) * self._batch
            taken = self._version * self._batch + len(self._learning) + len(self._visits)
            visits, version = [self._draw() for _ in range(allowed - taken)], self._version
        if visits:
            requests = [request for visit in visits for request in visit.requests]
            with tracing.ask(version, self._max_staleness, len(requests)):
                self._submit(visits, requests)

    def _submit(self, visits: list[_Visit], requests: list[RolloutRequest]) -> None:
        for visit in visits:
            visit.traceparent = tracing.traceparent()
        try:
            self._pool.submit(requests, self._sampling, self._told)
        except PlauditError as error:
            self._fail(error)

    def _draw(self) -> _Visit:
        if self._again:
            visit = self._again.popleft()
        else:
            visit = _Visit(self._prompts.visit(self._drawn))
            self._drawn += 1
        visit.open = {request.id for request in visit.requests}
        self._under_way.update(dict.fromkeys(visit.open, visit))
        self._visits[visit] = None
        return visit

    def _told(self, event: Event) -> None:
        """By the pool's thread."""
        match event:
            case Delivered(trajectories):
                self._later(self._score, trajectories)
            case SetAside(requests):
                self._later(self._leave_out, requests)
            case Failed(error):
                self._fail(error)

    def _later(self, do: Callable[[list[T]], None], things: list[T]) -> None:
        with self._changed:
            if self._failure is None:
                self._threads.submit(self._safely, do, things)

    def _safely(self, do: Callable[[list[T]], None], things: list[T]) -> None:
        """In a thread of its own, whose mistakes nobody else would see. Then there may be room for more."""
        try:
            do(things)
            self._ask_for_more()
        except PlauditError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("a response could not be dealt with")
            self._fail(RunFailed(f"a response could not be dealt with ({type(error).__name__}: {error})"))

    def _score(self, trajectories: list[Trajectory]) -> None:
        with self._changed:
            visit = self._under_way[trajectories[0].request.id]  # all of one report were asked for together
        with tracing.continued(visit.traceparent):
            answers = self._scorer.ask(trajectories)
        with self._changed:
            self._counts["generated_tokens"] += sum(len(one.response_ids) for one in trajectories)
            self._counts["missing_rewards"] += answers.count(None)
            self._outcomes.extend(one is not None for one in answers)
            self._set_aside_in_a_row = 0
            if len(self._outcomes) == self._outcomes.maxlen:
                self._scorer.check_missing(self._outcomes.count(False), len(self._outcomes))
            for trajectory, scored in zip(trajectories, answers, strict=True):
                self._settle(trajectory.request.id, scored)

    def _leave_out(self, requests: list[RolloutRequest]) -> None:
        with self._changed:
            self._counts["set_aside"] += len(requests)
            self._set_aside_in_a_row += len(requests)
            for request in requests:
                self._settle(request.id, None)
            if self._set_aside_in_a_row >= len(self._prompts) * self._prompts.samples_per_prompt:
                raise RunFailed("every prompt is set aside")

    def _settle(self, name: str, scored: ScoredTrajectory | None) -> None:
        """This request is not under way any more."""
        visit = self._under_way.pop(name)
        visit.open.discard(name)
        if scored is not None:
            visit.scored.append(scored)
        if not visit.open and visit.scored:
            self._ready.append(visit)
            self._changed.notify_all()
        elif not visit.open:
            del self._visits[visit]

    def _fail(self, error: PlauditError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()


def _no_counts() -> dict[str, float]:
    return dict.fromkeys(("missing_rewards", "set_aside", "generated_tokens", "stale_dropped"), 0.0)

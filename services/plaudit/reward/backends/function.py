"""A Python function that the operator names in the server's settings."""

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import logging
import numbers
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from plaudit.errors import ConfigurationError
from plaudit.reward.admission import Admission
from plaudit.reward.errors import CallableFailed, DeadlineExpired, RequestError
from plaudit.reward.gate.callers import caller
from plaudit.reward.items import Answer, Card, Deadline, Durations, Item, Outcome, Scored, about, finite, text_of
from plaudit.reward.metrics import Metrics
from plaudit.reward.settings import CallableSettings
from plaudit.reward.workers import DaemonPool

log = logging.getLogger(__name__)

Function = Callable[[str, str], "float | Awaitable[float]"]


class FunctionModel:
    """Scores one item a call, some at a time: sync functions in threads, async ones on a loop of their own.

    Nothing the function does stops the server: what it raises, what is no number and what takes too long is the item's
    status. A thread that a hung function holds stays held; when all are, liveness fails.
    """

    def __init__(self, card: Card, function: Function, settings: CallableSettings, metrics: Metrics) -> None:
        self.card = card
        self.admission = Admission(settings.max_queue_items, float("inf"))
        self._function, self._settings, self._metrics = function, settings, metrics
        self._places = asyncio.Semaphore(settings.concurrency)
        self._threads = DaemonPool(settings.concurrency, f"callable-{card.name}")
        self._began: dict[object, float] = {}
        self._loop = asyncio.new_event_loop() if inspect.iscoroutinefunction(function) else None
        if self._loop is not None:
            threading.Thread(target=self._loop.run_forever, name=f"callable-{card.name}-loop", daemon=True).start()

    async def score(self, items: Sequence[Item], deadline: Deadline) -> Answer:
        """See Served.score."""
        client, tokens = caller.get(), about(items)
        with self.admission.admit(len(items), len(items), deadline, client.id):
            client.take(tokens)
            self._metrics.asked(client.label, len(items), tokens)
            began = time.monotonic()
            outcomes = await asyncio.gather(*(self._outcome(item, deadline) for item in items))
            seconds = time.monotonic() - began
        if expired := sum(isinstance(outcome, DeadlineExpired) for outcome in outcomes):  # the deadline is the call's
            self._metrics.expired.labels("callable").inc(expired)
            raise DeadlineExpired("the deadline passed before the function had scored every item")
        return Answer(list(outcomes), Durations(forward=seconds))

    def beating(self, patience: float) -> bool:
        """False when every place is held by a call that has run for `patience` seconds."""
        hung = sum(time.monotonic() - began > patience for began in list(self._began.values()))
        return hung < self._settings.concurrency

    def lost(self) -> bool:
        """A function is always there."""
        return False

    def away(self) -> bool:
        """As `lost`."""
        return False

    def close(self) -> None:
        """Ends the threads that are free."""
        self._threads.shutdown()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    async def _outcome(self, item: Item, deadline: Deadline) -> Outcome:
        try:
            prompt, response = text_of(item)
            value = await self._value(prompt, response, deadline)
        except RequestError as error:
            return error
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return CallableFailed(f"the function returned {type(value).__name__}, not a number")
        try:
            score = float(value)
        except OverflowError:
            return CallableFailed("the function returned a number that no float holds")
        return finite(Scored(score, score))

    async def _value(self, prompt: str, response: str, deadline: Deadline) -> object:
        try:
            await asyncio.wait_for(self._places.acquire(), deadline.left())
        except TimeoutError:
            raise DeadlineExpired("the deadline passed before the function was called") from None
        given_up: Future[None] = Future()
        call = self._start(prompt, response, given_up)
        left = deadline.left()
        try:
            return await asyncio.wait_for(
                asyncio.shield(call), self._settings.timeout if left is None else min(left, self._settings.timeout)
            )
        except TimeoutError:
            if deadline.passed():
                raise DeadlineExpired("the deadline passed while the function ran") from None
            raise CallableFailed(f"the function took longer than {self._settings.timeout:g} s") from None
        except Exception as error:  # the operator's code may raise anything
            log.warning("the function failed", extra={"model": self.card.name, "error": _where(error)})
            raise CallableFailed(f"the function raised {type(error).__name__}") from None
        finally:
            given_up.cancel()  # ends a coroutine; a thread cannot be ended

    def _start(self, prompt: str, response: str, given_up: Future[None]) -> "asyncio.Future[object]":
        """Begins one call; its place is free again when it has really ended, so what it returns is never cancelled."""
        if self._loop is not None:
            waiting = self._await(prompt, response, given_up)
            call = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(waiting, self._loop))
        else:
            call = asyncio.wrap_future(self._threads.submit(self._call, prompt, response))
        self._began[call] = time.monotonic()
        call.add_done_callback(self._ended)
        return call

    def _call(self, prompt: str, response: str) -> object:
        try:
            return self._function(prompt, response)
        except SystemExit:
            raise RuntimeError("exit() called") from None  # else it would end the server

    async def _await(self, prompt: str, response: str, given_up: Future[None]) -> object:
        """On the loop of the function's own; cancelled there when the caller gives up."""
        if given_up.done():
            return None  # nobody waits for it
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        given_up.add_done_callback(lambda _: loop.call_soon_threadsafe(task.cancel))
        waited = self._call(prompt, response)
        assert inspect.isawaitable(waited)
        try:
            return await waited
        except SystemExit:
            raise RuntimeError("exit() called") from None

    def _ended(self, call: "asyncio.Future[object]") -> None:
        self._places.release()
        self.admission.measured(self._settings.concurrency, time.monotonic() - self._began.pop(call))
        with contextlib.suppress(asyncio.CancelledError):
            call.exception()  # seen here where nobody waits for it any more


def _where(error: Exception) -> str:
    """Type and place: an exception's text may hold what people wrote, and that is never logged."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename}:{last.lineno}"


def find_function(spec: str) -> Function:
    """The function that "package.module:name" or "path/file.py:name" names; raises ConfigurationError."""
    where, _, name = spec.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except FileNotFoundError:
        raise ConfigurationError(f"callable '{spec}': there is no file {where}") from None
    except Exception as error:
        raise ConfigurationError(
            f"callable '{spec}': importing {where} raised {type(error).__name__}: {error}"
        ) from None
    function: Function | None = getattr(module, name, None)
    if not callable(function):
        raise ConfigurationError(f"callable '{spec}': {where} has no function '{name}'")
    return function


def source_of(function: Function) -> bytes:
    """The text of the file that defines it; empty where there is none."""
    try:
        return Path(inspect.getsourcefile(function) or "").read_bytes()
    except (OSError, TypeError):
        return b""


def _load_file(path: Path) -> object:
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(f"plaudit_callable_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""What is shown of a run and of a reward server: lines of facts."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from plaudit.top.endpoints import Endpoint
from plaudit.top.figures import NONE, curve, duration, figure, percent, signed
from plaudit.top.page import Page
from plaudit.top.seen import ITEMS, PHASE, RECENT_SECONDS, Stretch

LABEL = 10
"""Columns of the name in front of a line."""
BAR = CURVE = 20
ENDED = ("stopped", "done", "failed")
STATES = {"running": "green", "ready": "green", "done": "bold green", "failed": "bold red"}
PHASES = ("generate", "score", "wait", "evaluate", "update", "sync")
BAD, ODD = "bold red", "yellow"
OF_A_CRITIC = ("explained_variance",)
"""NaN in a run without one; of all else that is learnt NaN is bad."""


@dataclass(frozen=True)
class Line:
    """Facts under one name."""

    name: str
    facts: Sequence[Text]

    def rows(self, width: int) -> Iterator[Text]:
        """As few as hold the facts, none of which is broken."""
        row, gap = Text.assemble((f" {self.name:<{LABEL - 1}}", "dim")), ""
        for fact in self.facts:
            if gap and row.cell_len + len(gap) + fact.cell_len > width:
                yield row
                row, gap = Text(" " * LABEL), ""
            row.append(gap).append_text(fact)
            gap = "  "
        yield row


def away_line(endpoint: Endpoint, now: float) -> list[Text]:
    """A run that has said how it ended is not missed."""
    assert endpoint.lost_at is not None
    since = time.strftime("%H:%M:%S", time.localtime(endpoint.lost_at))
    state = endpoint.answer.health.get("state") if endpoint.answer else None
    if state in ENDED:
        return [fact(str(state), f"the run ended, its process is gone since {since}", STATES.get(str(state), ODD))]
    gone = duration(max(0.0, now - endpoint.lost_at))
    ended = [fact("", "has the run ended?")] if endpoint.folder else []
    return [fact("unreachable", f"since {since}, {gone}", BAD), fact("", endpoint.problem), *ended]


def run_lines(endpoint: Endpoint, now: float) -> Iterator[Line]:
    """Of a run that has answered."""
    assert endpoint.answer is not None
    page, health, stretch = endpoint.answer.page, endpoint.answer.health, endpoint.run.stretch
    step, steps = _number(health.get("step")) or page.value("plaudit_trainer_step"), _number(health.get("steps"))
    if endpoint.lost_at is None:
        yield Line("state", _state(endpoint))
    rate = stretch.rate("plaudit_trainer_steps_total")
    yield Line("step", _progress(step, steps, rate, going_on=health.get("state") == "running"))
    yield Line("tokens", [
        fact(figure(stretch.rate("plaudit_rollout_tokens_total")), "generated/s"),
        fact(figure(stretch.rate("plaudit_trainer_tokens_total")), "trained/s"),
    ])  # fmt: skip
    began = page.value("plaudit_trainer_steps_total") > 0  # before, nothing that is learnt has been measured

    def learnt(name: str, what: str, shown: Callable[[float | None], str] = figure, course: str = "") -> Text:
        value = page.value(f"plaudit_ppo_{name}") if began else None
        if name in OF_A_CRITIC and value is not None:
            value = _measured(value)
        return fact(shown(value), what, BAD if value is not None and not math.isfinite(value) else "bold", course)

    score, kl = (curve(endpoint.run.course(f"plaudit_ppo_{name}", CURVE)) for name in ("score_mean", "kl"))
    services = page.by("plaudit_reward_client_score", "service").items()
    each = [fact(signed(value), name) for name, value in services]
    yield Line("score", [learnt("score_mean", "", signed, score), learnt("reward_mean", "reward", signed), *each])
    yield Line("KL", [learnt("kl", "nats", course=kl), learnt("kl_coef", "coef")])
    yield Line("update", [
        learnt("entropy", "entropy"),
        learnt("clip_fraction", "clipped"),
        learnt("explained_variance", "variance explained"),
    ])  # fmt: skip
    yield Line("phases", _phases(stretch))
    workers = page.by("plaudit_rollout_workers", "state").items()
    at = [fact(figure(count), state, ODD if state == "lost" else "") for state, count in workers if count]
    yield Line("workers", at or [fact(NONE)])
    yield from _pool_lines(endpoint, now)


def _measured(value: float) -> float | None:
    """None of what nobody could measure, such as the version of workers of which none is up."""
    return None if math.isnan(value) else value


def _pool_lines(endpoint: Endpoint, now: float) -> Iterator[Line]:
    """How what is around the learner fares, counted since the process began."""
    assert endpoint.answer is not None
    page = endpoint.answer.page
    dropped = page.value("plaudit_trainer_stale_dropped_total") + page.value("plaudit_rollout_duplicates_dropped_total")
    yield Line("pool", [
        fact(figure(_measured(page.value("plaudit_rollout_policy_version"))), "version"),
        fact(figure(page.value("plaudit_rollout_queue_prompts")), "queued"),
        _fault(page.value("plaudit_rollout_worker_restarts_total"), "restarts"),
        _fault(page.value("plaudit_rollout_redispatched_total"), "re-dispatched"),
        _fault(dropped, "dropped"),
    ])  # fmt: skip
    missing = page.by("plaudit_reward_client_missing_total", "reason").items()
    why = ", ".join(f"{reason.lower()} {figure(count)}" for reason, count in missing if count)
    yield Line("rewards", [
        _fault(page.value("plaudit_reward_client_missing_total"), f"missing{f' ({why})' if why else ''}"),
        _fault(page.value("plaudit_reward_client_retries_total"), "retries"),
        *_saved(page, now),
    ])  # fmt: skip


def _saved(page: Page, now: float) -> Iterator[Text]:
    """The last checkpoint's age, where this process has written one."""
    if saved := page.value("plaudit_checkpoint_last_success_timestamp_seconds"):
        yield fact(duration(max(0.0, now - saved)), "since the checkpoint")
    if failures := page.value("plaudit_checkpoint_failures_in_a_row"):
        yield fact(figure(failures), "checkpoints failed in a row", BAD)


def server_lines(endpoint: Endpoint) -> Iterator[Line]:
    """Of a reward server that has answered."""
    assert endpoint.answer is not None
    page, stretch = endpoint.answer.page, endpoint.server.stretch
    if endpoint.lost_at is None:
        yield Line("state", _state(endpoint))
    shape = curve(endpoint.server.course(CURVE), floor=0.0)
    failed = stretch.rates("plaudit_reward_requests_total", "code") | stretch.rates(ITEMS, "outcome")
    errors = [fact(figure(rate), f"{code}/s", BAD) for code, rate in failed.items() if code not in ("OK", "ok")]
    none = fact(figure(0 if stretch.seconds else None), "errors/s")
    yield Line("items", [fact(figure(stretch.rate(ITEMS)), "items/s", "bold", shape), *(errors or [none])])
    took = "plaudit_reward_request_duration_seconds"
    yield Line("requests", [
        *(fact(duration(stretch.quantile(q, took)), f"p{100 * q:.0f}", "bold") for q in (0.5, 0.99)),
        fact(figure(page.value("plaudit_reward_queue_items")), "items queued"),
        fact(duration(page.value("plaudit_reward_queue_drain_seconds")), "to drain"),
    ])  # fmt: skip
    hits, misses = (stretch.grown.value(f"plaudit_reward_cache_{found}_total") for found in ("hits", "misses"))
    yield Line("batch", [
        fact(figure(stretch.mean("plaudit_reward_batch_items")), "items"),
        fact(percent(stretch.mean("plaudit_reward_batch_padding_ratio")), "padding"),
        fact(percent(hits / (hits + misses) if hits + misses else None), "cache hits"),
    ])  # fmt: skip


def fact(value: str, what: str = "", style: str = "", course: str = "") -> Text:
    """A value, what it is, and how it went."""
    parts = [(value, style), (what, "dim"), (course, "cyan")]
    return Text(" ").join(Text(*part) for part in parts if part[0])


def _fault(count: float, what: str) -> Text:
    return fact(figure(count), what, ODD if count else "")


def _state(endpoint: Endpoint) -> list[Text]:
    """What its /health says of it."""
    assert endpoint.answer is not None
    health = endpoint.answer.health
    if endpoint.kind == "reward server":
        state = "ready" if health.get("status") == "ok" else str(health.get("detail") or "unknown")
        what = f"numbers of the last {RECENT_SECONDS:g} s" if state == "ready" else ""
        return [fact(state, what, STATES.get(state, ODD))]
    state = str(health.get("state", "unknown"))
    facts = [fact(state, str(health.get("phase", "")), STATES.get(state, ODD))]
    since = _number(health.get("seconds_since_last_step"))
    return facts if since is None else [*facts, fact(duration(since), "since the last step")]


def _progress(step: float, steps: float | None, rate: float | None, *, going_on: bool) -> list[Text]:
    """`rate` in steps/s."""
    hourly = fact(figure(rate and rate * 3600), "steps/h")
    if not steps:
        return [fact(figure(step)), hourly]
    done = int(BAR * min(1.0, max(0.0, step / steps)))
    bar = Text.assemble(("━" * done, "green"), ("━" * (BAR - done), "dim"))
    facts = [fact(f"{step:,.0f}", f"of {steps:,.0f}", "bold"), bar, hourly]
    return [*facts, fact(duration((steps - step) / rate), "left")] if rate and going_on and step < steps else facts


def _phases(stretch: Stretch) -> list[Text]:
    """Each one's share, in the order in which they come."""
    spent = stretch.grown.by(f"{PHASE}_sum", "phase")
    whole = sum(spent.values())
    names = [*(name for name in PHASES if name in spent), *(name for name in spent if name not in PHASES)]
    return [fact(percent(spent[name] / whole), name) for name in names if whole > 0] or [fact(NONE)]


def _number(value: object) -> float | None:
    """Of what JSON holds; None for what is none, or not finite."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < sys.float_info.max:
        return None
    return float(value)

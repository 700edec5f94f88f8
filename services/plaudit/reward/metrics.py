"""The reward server's metrics, on a registry of its own. Labels are bounded: nothing a caller sends becomes one."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from plaudit.reward.admission import Admission
from plaudit.reward.errors import NonfiniteScore, RequestError
from plaudit.reward.items import Answer, Card, Durations, Scored, TokensScored
from plaudit.reward.status import reason

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
OF_PEOPLE = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
SCORES = (-10, -5, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 5, 10)
SPREADS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5)
BACK_PRESSURE = ("QUEUE_FULL", "DEADLINE_UNREACHABLE")
NOT_LET_IN = ("UNAUTHENTICATED", "PERMISSION_DENIED", "RATE_LIMITED")
INFO = ("model", "version", "digest", "dtype")
RATIOS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 0.9)


class _OfModel(NamedTuple):
    """What is counted for every item of one model."""

    ok: Counter
    score: Histogram
    std: Histogram


class Metrics:
    """All of them."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._served: Sequence[Card] = ()
        ProcessCollector(registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
            return Histogram(f"plaudit_{name}", text, labels, buckets=buckets, registry=registry)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"plaudit_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(f"plaudit_{name}", text, labels, registry=registry)

        self.requests = counter("reward_requests_total", "Calls by their end.", ["method", "model", "code"])
        self.items = counter("reward_items_total", "Items by their outcome.", ["model", "outcome"])
        self.duration = histogram("reward_request_duration_seconds", "Whole calls.", SECONDS, ["method"])
        self.stage = histogram("reward_stage_duration_seconds", "Parts of a call.", SECONDS, ["stage"])
        self._stages = [self.stage.labels(name) for name in Durations._fields]
        self.queue_items = gauge("reward_queue_items", "Items admitted and not yet answered.")
        self.queue_tokens = gauge("reward_queue_tokens", "Tokens admitted and not yet answered.")
        self.queue_drain = gauge("reward_queue_drain_seconds", "Time the admitted work takes at the measured rate.")
        self.batch_items = histogram("reward_batch_items", "Items of one forward pass.", COUNTS)
        self.batch_tokens = histogram("reward_batch_tokens", "Distinct tokens of one forward pass.", TOKENS)
        self.padding = histogram("reward_batch_padding_ratio", "Padding in the forward's tokens.", RATIOS)
        self.input_tokens = histogram("reward_input_tokens", "Tokens the model read of an item.", TOKENS)
        self.truncated = counter("reward_truncated_total", "Items of which tokens were cut.", ["side"])
        self.rejected = counter("reward_rejected_total", "Calls refused before any work.", ["reason"])
        self.cache_hits = counter("reward_cache_hits_total", "Items whose score was remembered.")
        self.cache_misses = counter("reward_cache_misses_total", "Items looked for in the cache and not found.")
        self.ensemble_std = histogram("reward_ensemble_std", "Spread of an ensemble's members.", SPREADS, ["model"])
        self.drift = gauge("reward_dtype_drift", "Largest difference to the model in float32.", INFO[:2])
        self.expired = counter("reward_deadline_expired_total", "Items whose time was over.", ["where"])
        self.waiting = gauge("reward_human_waiting_items", "Items that people are asked to judge.", ["model"])
        self.waited = histogram("reward_human_wait_seconds", "From asking until it is judged.", OF_PEOPLE, ["model"])
        self.judging = histogram("reward_human_judgement_seconds", "One judgement, on screen.", OF_PEOPLE, ["model"])
        self.cancelled = counter("reward_cancelled_total", "Calls the caller gave up.", ["where"])
        for named, labels in self._known():
            named.labels(labels)  # a counter that begins at 1 shows no increase
        self.score = histogram("reward_score", "Scores given: their drift is worth an alert.", SCORES, ["model"])
        self.nonfinite = counter("reward_score_nonfinite_total", "NaN or infinity out of a model.")
        self.info = gauge("reward_model_info", "1 for each served version.", INFO)
        self.aliased = gauge("reward_model_aliased", "1 for the version that a name stands for.", INFO[:2])
        self.load_seconds = gauge("reward_model_load_seconds", "How long loading took.", INFO[:2])
        self.reload_failed = gauge("reward_reload_failed", "1 while a file that changed is not in order.", ["file"])
        self.client_items = counter("reward_client_items_total", "Items by whose key they came with.", ["client"])
        self.client_tokens = counter("reward_client_tokens_total", "Tokens computed for a key.", ["client"])
        self.certificate_left = gauge("reward_certificate_left_seconds", "Until one expires.", ["file"])
        self.ready = gauge("reward_ready", "1 while this replica is to be given work.")
        self.inflight = gauge("reward_inflight_requests", "Calls being answered.")
        self.loop_lag = histogram("loop_lag_seconds", "How late the event loop wakes.", SECONDS)

    def _known(self) -> Iterator[tuple[Counter, str]]:
        """Labels that are known beforehand."""
        yield from ((self.rejected, why) for why in (*BACK_PRESSURE, *NOT_LET_IN))
        yield from ((self.expired, where) for where in ("queue", "callable", "people"))
        yield self.cancelled, "call"
        yield self.truncated, "left_prompt"

    @functools.lru_cache(maxsize=256)  # noqa: B019  # lives as long as the process
    def _of_model(self, model: str) -> "_OfModel":
        """Looking labels up takes as long as counting."""
        return _OfModel(self.items.labels(model, "ok"), self.score.labels(model), self.ensemble_std.labels(model))

    @functools.lru_cache(maxsize=1024)  # noqa: B019
    def _of_call(self, method: str, model: str, code: str) -> tuple[Histogram, Counter]:
        return self.duration.labels(method), self.requests.labels(method, model, code)

    @functools.lru_cache(maxsize=256)  # noqa: B019
    def _of_client(self, client: str) -> tuple[Counter, Counter]:
        return self.client_items.labels(client), self.client_tokens.labels(client)

    def called(self, method: str, model: str, code: str, seconds: float) -> None:
        """A call ended."""
        duration, requests = self._of_call(method, model, code)
        duration.observe(seconds)
        requests.inc()

    def loaded(self, card: Card, seconds: float) -> None:
        """One model is ready."""
        self.info.labels(*_info(card)).set(1)
        self.load_seconds.labels(card.name, card.version).set(seconds)
        if card.drift is not None:
            self.drift.labels(card.name, card.version).set(card.drift.largest)

    def served(self, cards: Sequence[Card]) -> None:
        """By the models' names alone."""
        if cards != self._served:
            self._served = cards
            self.aliased.clear()
            for card in cards:
                self.aliased.labels(card.name, card.version).set(1)

    def unloaded(self, card: Card) -> None:
        """One version is not served any more."""
        self.info.remove(*_info(card))
        for gauge in (self.load_seconds, self.drift):
            gauge.remove_by_labels({"model": card.name, "version": card.version})

    def queued(self, admissions: Sequence[Admission]) -> None:
        """What waits, over all models."""
        self.queue_items.set(sum(one.items for one in admissions))
        self.queue_tokens.set(sum(one.cost for one in admissions))
        self.queue_drain.set(max((one.drain_seconds() for one in admissions), default=0.0))

    def batch(self, items: int, cost: float, padded_cost: float) -> None:
        """One forward pass ran."""
        self.batch_items.observe(items)
        self.batch_tokens.observe(cost)
        self.padding.observe(1 - cost / padded_cost if padded_cost else 0.0)

    def asked(self, client: str, items: int, tokens: float) -> None:
        """By one call of a client, which is a key's name."""
        asked, computed = self._of_client(client)
        asked.inc(items)
        computed.inc(tokens)

    def cached(self, hits: int, misses: int) -> None:
        """Items were looked for in the cache."""
        self.cache_hits.inc(hits)
        self.cache_misses.inc(misses)

    def awaited(self, model: str, items: int) -> None:
        """So many wait for people."""
        self.waiting.labels(model).set(items)

    def judged(self, model: str, waited: float, seconds: Sequence[float]) -> None:
        """People are done with an item: how long it waited for them, and what each judgement took."""
        self.waited.labels(model).observe(waited)
        for one in seconds:
            self.judging.labels(model).observe(one)

    def answered(self, model: str, answer: Answer) -> None:
        """A call's items have their outcomes."""
        for stage, seconds in zip(self._stages, answer.durations, strict=True):
            stage.observe(seconds)
        for outcome in answer.outcomes:
            if isinstance(outcome, RequestError):
                self._failed(model, outcome)
        scored = [outcome for outcome in answer.outcomes if not isinstance(outcome, RequestError)]
        self._scored(self._of_model(model), scored)

    def _scored(self, of: "_OfModel", scored: Sequence[Scored | TokensScored]) -> None:
        of.ok.inc(len(scored))
        for one in scored:
            if one.input_tokens:
                self.input_tokens.observe(one.input_tokens)
            if one.truncated_tokens:
                self.truncated.labels("left_prompt").inc()
            if isinstance(one, Scored):
                of.score.observe(one.score)
                if one.ensemble is not None:
                    of.std.observe(one.ensemble.std)

    def _failed(self, model: str, error: RequestError) -> None:
        self.items.labels(model, reason(error).lower()).inc()
        if isinstance(error, NonfiniteScore):
            self.nonfinite.inc()


def _info(card: Card) -> tuple[str, ...]:
    return card.name, card.version, card.weights_sha256[:12], card.dtype

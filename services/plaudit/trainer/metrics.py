"""The trainer's Prometheus metrics: those of `metrics.jsonl` as `plaudit_ppo_*`, and how the run fares."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.registry import Collector

from plaudit.errors import RunFailed
from plaudit.rollout.pool import PoolCounts
from plaudit.rollout.slot import SlotState
from plaudit.trainer.loop import Metrics

# metrics.jsonl key -> help text of the gauge plaudit_ppo_{key}
LEARNING = {
    "score_mean": "Mean score of the step's responses.",
    "score_std": "Standard deviation of the step's scores.",
    "reward_mean": "Mean score less KL penalty.",
    "kl": "KL from the reference policy, nats per response.",
    "kl_standard_error": "Standard error of the KL from the reference.",
    "kl_coef": "Weight of the KL penalty.",
    "entropy": "Entropy of the policy, nats per token.",
    "approx_kl": "KL from the policy before the step, nats per token.",
    "first_ratio_error": "Mean distance of the ratios from 1 before the first update of the step: 0 but for rounding.",
    "advantage_std": "Standard deviation of the advantages before whitening.",
    "clip_fraction": "Share of tokens whose ratio was clipped.",
    "policy_loss": "Policy loss, mean over the step's updates.",
    "value_loss": "Value loss, mean over the step's updates.",
    "explained_variance": "Share of the returns' variance that the critic explains.",
    "grad_norm": "Norm of the gradient before clipping.",
    "response_tokens_mean": "Mean response length, tokens.",
    "truncated_ratio": "Share of responses cut at the token limit.",
    "peak_memory_bytes": "Most memory of the learner: of its GPU in the step, or of its process since its start.",
    "sampler_kl": "KL from the learner's to the workers' distribution, nats per response.",
    "sampler_weight_mean": "Mean weight that corrects for the workers' distribution.",
}


# of several reward services, or an ensemble: `{kind}_{service}_mean`
SERVICES = {
    "score": "Mean of what one service's scores count as in the step, before its weight.",
    "disagreement": "Mean standard deviation of an ensemble's members in the step.",
}

# Seconds: a toy's step to a large model's.
DURATION_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class TrainerMetrics:
    """The trainer's own registry: what `/metrics` shows."""

    def __init__(self, pool: Callable[[], PoolCounts], kl_target: float) -> None:
        """`pool` is asked at each look at the page, in the thread that looks; it may raise RunFailed."""
        self.registry = CollectorRegistry()
        self._totals: dict[str, float] = {}
        self._pool = pool
        self.registry.register(_First(self._observe_pool))
        ProcessCollector(registry=self.registry)
        self._step = Gauge("plaudit_trainer_step", "Steps done.", registry=self.registry)
        self._steps = Counter("plaudit_trainer_steps", "Steps done by this process.", registry=self.registry)
        self._last = Gauge(
            "plaudit_trainer_last_step_timestamp_seconds", "When the last step ended.", registry=self.registry
        )
        self._tokens = Counter("plaudit_trainer_tokens", "Response tokens trained on.", registry=self.registry)
        self._phase = Histogram(
            "plaudit_trainer_phase_duration_seconds",
            "Time of one phase of a step.",
            ["phase"],
            registry=self.registry,
            buckets=DURATION_BUCKETS,
        )
        self._step_seconds = self._seconds("plaudit_trainer_step_duration_seconds", "Time of one step, all of it.")
        self._missing = Counter(
            "plaudit_reward_client_missing",
            "Trajectories without a reward, of training prompts.",
            ["reason"],
            registry=self.registry,
        )
        self._trajectories = Counter(
            "plaudit_rollout_trajectories", "Trajectories received.", ["outcome"], registry=self.registry
        )
        self._workers = Gauge("plaudit_rollout_workers", "Rollout workers.", ["state"], registry=self.registry)
        self._restarts = Counter(
            "plaudit_rollout_worker_restarts", "Workers replaced since the start.", registry=self.registry
        )
        self._staleness = Histogram(
            "plaudit_trainer_staleness_steps",
            "Updates between the weights that sampled a response and those that learn from it.",
            registry=self.registry,
            buckets=(0, 1, 2, 3, 4, 6, 8, 12, 16),
        )
        self._stale = Counter(
            "plaudit_trainer_stale_dropped", "Responses dropped as older than the bound.", registry=self.registry
        )
        self._duplicates = Counter(
            "plaudit_rollout_duplicates_dropped", "Trajectories that came twice.", registry=self.registry
        )
        self._busy = Counter(
            "plaudit_rollout_busy_seconds", "Time workers spent generating, over all of them.", registry=self.registry
        )
        self._queue = Gauge("plaudit_rollout_queue_prompts", "Requests no worker is at.", registry=self.registry)
        self._set_aside = Gauge(
            "plaudit_rollout_set_aside_prompts", "Prompts left out: they kill workers.", registry=self.registry
        )
        self._checkpoint_seconds = self._seconds("plaudit_checkpoint_duration_seconds", "Time to write a checkpoint.")
        self._checkpoint_failures = Counter(
            "plaudit_checkpoint_failures", "Checkpoints that could not be written.", registry=self.registry
        )
        self._checkpoint_last = Gauge(
            "plaudit_checkpoint_last_success_timestamp_seconds", "When the last was written.", registry=self.registry
        )
        self._checkpoint_bytes = Gauge("plaudit_checkpoint_bytes", "Size of the last one.", registry=self.registry)
        self._redispatched = Counter(
            "plaudit_rollout_redispatched", "Groups of prompts that went out again.", ["reason"], registry=self.registry
        )
        self._retries = Counter(
            "plaudit_reward_client_retries", "Calls to the reward server made again.", ["code"], registry=self.registry
        )
        self._generated = Counter("plaudit_rollout_tokens", "Response tokens generated.", registry=self.registry)
        self._nonfinite = Counter(
            "plaudit_trainer_nonfinite_updates", "Updates skipped: gradient not finite.", registry=self.registry
        )
        self._generation = self._seconds("plaudit_rollout_generation_duration_seconds", "Generation of one step.")
        self._weight_sync = self._seconds("plaudit_trainer_weight_sync_seconds", "New weights to every worker.")
        self._version = Gauge(
            "plaudit_rollout_policy_version", "Weight version the workers sample with.", registry=self.registry
        )
        Gauge(
            "plaudit_ppo_kl_target", "KL that the run is to stay near, nats per response.", registry=self.registry
        ).set(kl_target)
        self._services = {
            kind: Gauge(f"plaudit_reward_client_{kind}", text, ["service"], registry=self.registry)
            for kind, text in SERVICES.items()
        }
        self._learning = {
            name: Gauge(f"plaudit_ppo_{name}", text, registry=self.registry) for name, text in LEARNING.items()
        }
        for gauge in self._learning.values():
            gauge.set(math.nan)  # not measured: 0 would be an entropy that has collapsed

    def _seconds(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, registry=self.registry, buckets=DURATION_BUCKETS)

    def observe(self, step: int, metrics: Metrics) -> None:
        """Step `step` (from 0) is done."""
        self._step.set(step + 1)
        self._steps.inc()
        self._last.set_to_current_time()
        self._tokens.inc(metrics["tokens"])
        self._trajectories.labels("scored").inc(metrics["episodes"])
        self._trajectories.labels("missing_reward").inc(metrics["missing_rewards"])
        self._trajectories.labels("set_aside").inc(metrics["set_aside"])
        self._generated.inc(metrics["generated_tokens"])
        if "seconds_generate" in metrics:
            self._generation.observe(metrics["seconds_generate"])
        self._stale.inc(metrics.get("stale_dropped", 0))
        self._nonfinite.inc(self._since("nonfinite", int(metrics["nonfinite_updates"])))
        for name in self._learning.keys() & metrics.keys():
            self._learning[name].set(metrics[name])
        for name, value in metrics.items():
            if found := re.fullmatch(r"(score|disagreement)_(\w+)_mean", name):
                self._services[found[1]].labels(found[2]).set(value)
            if found := re.fullmatch(r"staleness_(\d+)", name):
                for _ in range(int(value)):
                    self._staleness.observe(int(found[1]))
            if name == "seconds_step":  # the whole is not one of its parts
                self._step_seconds.observe(value)
            elif name.startswith("seconds_"):
                self._phase.labels(name.removeprefix("seconds_")).observe(value)

    def observe_rewards(self, missing: Mapping[str, int], retries: int) -> None:
        """`missing` is of this step's training prompts, by reason; `retries` a running total."""
        self._retries.labels("UNAVAILABLE").inc(self._since("retries", retries))
        for reason, count in missing.items():
            self._missing.labels(reason).inc(count)

    def resumed(self, step: int, last: Metrics) -> None:
        """The run goes on at step `step`; `last` is of the step before, its totals are of an earlier process."""
        self._step.set(step)
        self._since("nonfinite", last["nonfinite_updates"])

    def _observe_pool(self) -> None:
        """As it is now: a step whose workers die may never end."""
        with suppress(RunFailed):  # not there yet, not any more, or busy: what was seen last stays
            pool = self._pool()
            for state in SlotState:
                self._workers.labels(state.value).set(pool.workers[state])
            self._restarts.inc(self._since("restarts", pool.restarts))
            self._redispatched.labels("worker_lost").inc(self._since("lost", pool.redispatched_lost))
            self._redispatched.labels("worker_slow").inc(self._since("slow", pool.redispatched_slow))
            self._duplicates.inc(self._since("duplicates", pool.duplicates))
            self._busy.inc(self._since("busy", pool.busy_s))
            self._queue.set(pool.waiting)
            self._set_aside.set(pool.set_aside)
            self._version.set(pool.oldest_version if pool.alive else math.nan)
            if syncs := self._since("syncs", pool.syncs):
                self._weight_sync.observe(self._since("sync_s", pool.sync_s) / syncs)

    def _since(self, name: str, total: float) -> float:
        """How much a running total has grown since it was last asked for: counters are told differences."""
        grown = total - self._totals.get(name, 0)
        self._totals[name] = total
        return grown

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Times the writing of one checkpoint."""
        try:
            with self._checkpoint_seconds.time():
                yield
        except BaseException:
            self._checkpoint_failures.inc()
            raise
        self._checkpoint_last.set_to_current_time()

    def saved(self, checkpoint: Path) -> None:
        """A checkpoint is on the disk."""
        self._checkpoint_bytes.set(sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file()))


class _First(Collector):
    """Has no metrics of its own: it is asked before those that are registered after it."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Nothing."""
        self._look()
        return ()

"""The trainer's Prometheus metrics: those of `metrics.jsonl` as `plaudit_ppo_*`, and how the run fares.

after each step     Metrics      ->  observe            ->  the learning, the rollouts, the steps
at a checkpoint     its folder   ->  writing, written   ->  CheckpointMetrics
at a look at them   PoolCounts   ->  PoolMetrics            (a step whose workers die may never end)
"""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from plaudit.rollout.pool import PoolCounts
from plaudit.trainer.instruments import DURATION_BUCKETS, Growth
from plaudit.trainer.loop import Metrics
from plaudit.trainer.pool_metrics import PoolMetrics

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


REASONS = ("INPUT_TOO_LONG", "NONFINITE_SCORE", "DEADLINE_EXCEEDED", "UNAVAILABLE")
"""Why rewards are missing most often."""


class TrainerMetrics:
    """The trainer's own registry: what `/metrics` shows."""

    def __init__(
        self, pool: Callable[[], PoolCounts], kl_target: float, is_paused: Callable[[], bool] = lambda: False
    ) -> None:
        """Both are asked at each look at the page, in the thread that looks; `pool` may raise RunFailed."""
        self.registry = CollectorRegistry()
        PoolMetrics(self.registry, pool)
        ProcessCollector(registry=self.registry)
        self._growth = Growth()
        self.checkpoints = CheckpointMetrics(self.registry)
        self._add_steps()
        self._add_rollouts()
        self._add_rewards()
        self._add_learning(kl_target)
        self._gauge("trainer_paused", "1 while somebody has it paused.").set_function(is_paused)

    def _add_steps(self) -> None:
        self._step = self._gauge("trainer_step", "Steps done.")
        self._steps = self._counter("trainer_steps", "Steps done by this process.")
        self._last = self._gauge("trainer_last_step_timestamp_seconds", "When the last step ended.")
        self._tokens = self._counter("trainer_tokens", "Response tokens trained on.")
        self._phase = self._seconds("trainer_phase_duration_seconds", "Time of one phase of a step.", "phase")
        self._step_seconds = self._seconds("trainer_step_duration_seconds", "Time of one step, all of it.")
        self._nonfinite = self._counter("trainer_nonfinite_updates", "Updates skipped: gradient not finite.")

    def _add_rollouts(self) -> None:
        self._trajectories = self._counter("rollout_trajectories", "Trajectories received.", "outcome")
        self._generated = self._counter("rollout_tokens", "Response tokens generated.")
        self._generation = self._seconds("rollout_generation_duration_seconds", "Generation of one step.")
        self._staleness = Histogram(
            "plaudit_trainer_staleness_steps",
            "Updates between the weights that sampled a response and those that learn from it.",
            registry=self.registry,
            buckets=(0, 1, 2, 3, 4, 6, 8, 12, 16),
        )
        self._stale = self._counter("trainer_stale_dropped", "Responses dropped as older than the bound.")

    def _add_rewards(self) -> None:
        self._missing = self._counter(
            "reward_client_missing", "Trajectories without a reward, of training prompts.", "reason"
        )
        self._retries = self._counter("reward_client_retries", "Calls to the reward server made again.", "code")
        self._retries.labels("UNAVAILABLE")
        for reason in REASONS:
            self._missing.labels(reason)  # a counter that begins at 1 shows no increase
        self._services = {
            kind: self._gauge(f"reward_client_{kind}", text, "service") for kind, text in SERVICES.items()
        }

    def _add_learning(self, kl_target: float) -> None:
        self._gauge("ppo_kl_target", "KL that the run is to stay near, nats per response.").set(kl_target)
        self._learning = {name: self._gauge(f"ppo_{name}", text) for name, text in LEARNING.items()}
        for gauge in self._learning.values():
            gauge.set(math.nan)  # not measured: 0 would be an entropy that has collapsed

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"plaudit_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"plaudit_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"plaudit_{name}", text, labels, registry=self.registry, buckets=DURATION_BUCKETS)

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
        self._nonfinite.inc(self._growth.of("nonfinite", metrics["nonfinite_updates"]))
        for name in self._learning.keys() & metrics.keys():
            self._learning[name].set(metrics[name])
        for name, value in metrics.items():
            self._observe_family(name, value)

    def _observe_family(self, name: str, value: float) -> None:
        """Of those whose names are not known beforehand."""
        if found := re.fullmatch(r"(score|disagreement)_(\w+)_mean", name):
            self._services[found[1]].labels(found[2]).set(value)
        elif found := re.fullmatch(r"staleness_(\d+)", name):
            for _ in range(int(value)):
                self._staleness.observe(int(found[1]))
        elif name == "seconds_step":  # the whole is not one of its parts
            self._step_seconds.observe(value)
        elif name.startswith("seconds_"):
            self._phase.labels(name.removeprefix("seconds_")).observe(value)

    def observe_rewards(self, missing: Mapping[str, int], retries: int) -> None:
        """`missing` is of this step's training prompts, by reason; `retries` a running total."""
        self._retries.labels("UNAVAILABLE").inc(self._growth.of("retries", retries))
        for reason, count in missing.items():
            self._missing.labels(reason).inc(count)

    def resumed(self, step: int, last: Metrics) -> None:
        """The run goes on at step `step`; `last` is of the step before, its totals are of an earlier process."""
        self._step.set(step)
        self._growth.of("nonfinite", last["nonfinite_updates"])


class CheckpointMetrics:
    """How their writing fares."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "plaudit_checkpoint_duration_seconds",
            "Time to write a checkpoint.",
            registry=registry,
            buckets=DURATION_BUCKETS,
        )
        self._failures = Counter(
            "plaudit_checkpoint_failures", "Checkpoints that could not be written.", registry=registry
        )
        self._in_a_row = Gauge(
            "plaudit_checkpoint_failures_in_a_row", "Those since the last that was written.", registry=registry
        )
        self._last = Gauge(
            "plaudit_checkpoint_last_success_timestamp_seconds", "When the last was written.", registry=registry
        )
        self._bytes = Gauge("plaudit_checkpoint_bytes", "Size of the last one.", registry=registry)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Of one, in the block."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self._failures.inc()
            self._in_a_row.inc()
            raise
        self._seconds.observe(time.monotonic() - began)
        self._in_a_row.set(0)
        self._last.set_to_current_time()

    def written(self, checkpoint: Path) -> None:
        """It is on the disk."""
        self._bytes.set(sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file()))

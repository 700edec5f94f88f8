"""Writes the dashboards under dashboards/: a panel is a line here and a page of JSON there.

    python deploy/components/monitoring/dashboards.py

`@` in an expression stands for what the dashboard's variables select.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SELECTED = 'namespace="$namespace", pod=~"$pod"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 24, 6, 7


@dataclass(frozen=True)
class Panel:
    """Curves over time, or one of Grafana's other ways to draw."""

    title: str
    unit: str  # Grafana's name of it
    curves: dict[str, str]  # legend -> PromQL
    about: str = ""
    stacked: bool = False
    kind: str = "timeseries"

    def tree(self, number: int, x: int, y: int) -> dict[str, Any]:
        """As Grafana reads it."""
        custom = {"stacking": {"mode": "normal"}, "fillOpacity": 40} if self.stacked else {}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit, "custom": custom}, "overrides": []},
            "targets": [self._target(*curve) for curve in zip("ABCDEFGH", self.curves.items(), strict=False)],
        }

    def _target(self, letter: str, curve: tuple[str, str]) -> dict[str, str]:
        legend, expression = curve
        target = {"refId": letter, "expr": expression.replace("@", SELECTED), "legendFormat": legend}
        return target | ({"format": "heatmap"} if self.kind == "heatmap" else {})


Rows = dict[str, list[Panel]]


def quantiles(histogram: str, *quantile: float, by: str = "") -> dict[str, str]:
    """Curves of a histogram's quantiles, over all that is selected; `histogram` with its selector."""
    name, _, selector = histogram.partition("{")
    rate = f"sum by ({', '.join(filter(None, ('le', by)))}) (rate({name}_bucket{{{selector}[$__rate_interval]))"
    label = f" {{{{{by}}}}}" if by else ""
    return {f"p{100 * q:g}{label}": f"histogram_quantile({q}, {rate})" for q in quantile}


def increase(counter: str, by: str) -> str:
    """What was counted between two points."""
    return f"sum by ({by}) (increase({counter}[$__rate_interval]))"


TRAINING: Rows = {
    "Learning": [
        Panel("Score and reward", "none", {
            "score": "plaudit_ppo_score_mean{@}",
            "reward: score less KL penalty": "plaudit_ppo_reward_mean{@}",
        }, about="Mean of the step's responses. The two part as the policy leaves its reference."),
        Panel("Spread of the scores", "none", {"standard deviation": "plaudit_ppo_score_std{@}"}),
        Panel("KL from the reference", "none", {
            "KL": "plaudit_ppo_kl{@}",
            "standard error": "plaudit_ppo_kl_standard_error{@}",
            "target": "plaudit_ppo_kl_target{@}",
        }, about="Nats per response."),
        Panel("Weight of the KL penalty", "none", {"beta": "plaudit_ppo_kl_coef{@}"}),
        Panel("Entropy", "none", {"entropy": "plaudit_ppo_entropy{@}"}, about="Nats per token."),
        Panel("Clipped ratios", "percentunit", {"clip fraction": "plaudit_ppo_clip_fraction{@}"}),
        Panel("KL of one step", "none", {"from the policy before the step": "plaudit_ppo_approx_kl{@}"},
              about="Nats per token."),
        Panel("Gradient before clipping", "none", {"norm": "plaudit_ppo_grad_norm{@}"}),
        Panel("Losses", "none", {
            "value": "plaudit_ppo_value_loss{@}",
            "policy": "plaudit_ppo_policy_loss{@}",
        }),
        Panel("Explained variance", "none", {"of the returns, by the critic": "plaudit_ppo_explained_variance{@}"},
              about="1: the critic knows the returns. 0: no better than their mean. Below: worse."),
        Panel("Response length", "none", {"tokens": "plaudit_ppo_response_tokens_mean{@}"}),
        Panel("Cut responses", "percentunit", {"at the token limit": "plaudit_ppo_truncated_ratio{@}"}),
        Panel("Spread of the advantages", "none", {"before whitening": "plaudit_ppo_advantage_std{@}"},
              about="0: nothing to learn from."),
        Panel("First ratios' distance from 1", "none", {"mean": "plaudit_ppo_first_ratio_error{@}"},
              about="Before the first update of a step; more than rounding is a mistake."),
        Panel("Several reward services", "none", {"{{service}}": "plaudit_reward_client_score{@}"},
              about="Mean of what each one's scores count as, before its weight."),
        Panel("Disagreement of an ensemble", "none", {"{{service}}": "plaudit_reward_client_disagreement{@}"},
              about="Mean standard deviation of the members. It grows where the policy leaves what they know."),
    ],
    "Throughput": [
        Panel("Steps done", "none", {"steps": "plaudit_trainer_step{@}"}),
        Panel("Tokens", "none", {
            "trained on, per second": "rate(plaudit_trainer_tokens_total{@}[$__rate_interval])",
            "generated, per second": "rate(plaudit_rollout_tokens_total{@}[$__rate_interval])",
        }),
        Panel("Where a step's time goes", "s", {
            "{{phase}}": "rate(plaudit_trainer_phase_duration_seconds_sum{@}[$__rate_interval])"
            " / rate(plaudit_trainer_phase_duration_seconds_count{@}[$__rate_interval])",
        }, stacked=True),
        Panel("Time of a step", "s", quantiles("plaudit_trainer_step_duration_seconds{@}", 0.5, 0.95)),
        Panel("Idle", "percentunit", {
            "learner": "plaudit:trainer_idle:ratio_rate10m{@}",
            "workers": "1 - plaudit:rollout_busy:ratio_rate10m{@}",
        }, about="In a synchronous run one waits for the other. Overlapped, neither should."),
        Panel("Generation of a step", "s", quantiles("plaudit_rollout_generation_duration_seconds{@}", 0.5, 0.95)),
        Panel("New weights to every worker", "s", quantiles("plaudit_trainer_weight_sync_seconds{@}", 0.5, 0.95)),
        Panel("Memory of the learner", "bytes", {"peak": "plaudit_ppo_peak_memory_bytes{@}"}),
    ],
    "Off-policy": [
        Panel("Age of responses", "none", quantiles("plaudit_trainer_staleness_steps{@}", 0.5, 0.99),
              about="Updates between the weights that sampled a response and those that learn from it."),
        Panel("Dropped as too old", "percentunit", {
            "of the responses": "plaudit:trainer_stale_dropped:ratio_rate30m{@}",
        }),
        Panel("Updates that workers lag behind", "none", {
            "the oldest worker": "plaudit_trainer_step{@} - plaudit_rollout_policy_version{@}",
        }),
        Panel("Sampler against learner", "none", {
            "KL, nats per response": "plaudit_ppo_sampler_kl{@}",
            "mean weight": "plaudit_ppo_sampler_weight_mean{@}",
        }),
    ],
    "Health": [
        Panel("Rollout workers", "none", {"{{state}}": "plaudit_rollout_workers{@}"}, stacked=True),
        Panel("Workers lost, groups sent again", "none", {
            "workers replaced": "increase(plaudit_rollout_worker_restarts_total{@}[$__rate_interval])",
            "{{reason}}": "increase(plaudit_rollout_redispatched_total{@}[$__rate_interval])",
            "duplicates dropped": "increase(plaudit_rollout_duplicates_dropped_total{@}[$__rate_interval])",
        }),
        Panel("Prompts that wait, prompts left out", "none", {
            "wait": "plaudit_rollout_queue_prompts{@}",
            "left out": "plaudit_rollout_set_aside_prompts{@}",
        }),
        Panel("Trajectories", "none", {
            "{{outcome}}": "increase(plaudit_rollout_trajectories_total{@}[$__rate_interval])",
        }),
        Panel("Rewards asked for again, rewards missing", "none", {
            "asked again: {{code}}": increase("plaudit_reward_client_retries_total{@}", "code"),
            "missing: {{reason}}": increase("plaudit_reward_client_missing_total{@}", "reason"),
        }),
        Panel("Since the last step, since the last checkpoint", "s", {
            "step": "time() - (plaudit_trainer_last_step_timestamp_seconds{@} > 0)",
            "checkpoint": "time() - (plaudit_checkpoint_last_success_timestamp_seconds{@} > 0)",
        }),
        Panel("Checkpoints", "s", {
            "time to write": "rate(plaudit_checkpoint_duration_seconds_sum{@}[$__rate_interval])"
            " / rate(plaudit_checkpoint_duration_seconds_count{@}[$__rate_interval])",
            "that failed": "increase(plaudit_checkpoint_failures_total{@}[$__rate_interval])",
        }),
        Panel("Size of a checkpoint", "bytes", {"bytes": "plaudit_checkpoint_bytes{@}"}),
        Panel("Updates skipped", "none", {
            "gradient not finite": "increase(plaudit_trainer_nonfinite_updates_total{@}[$__rate_interval])",
        }),
    ],
}  # fmt: skip

SERVING: Rows = {
    "Calls": [
        Panel("Calls by their end", "reqps", {
            "{{method}} {{code}}": "sum by (method, code) (rate(plaudit_reward_requests_total{@}[$__rate_interval]))",
        }, stacked=True),
        Panel("Without a score", "percentunit", {
            "calls": 'plaudit:reward_call_errors:ratio_rate5m{namespace="$namespace"}',
            "items": 'plaudit:reward_item_errors:ratio_rate5m{namespace="$namespace"}',
        }),
        Panel("Time of a call", "s", quantiles(
            'plaudit_reward_request_duration_seconds{@, method!~".*Models?|UpdateAlias"}', 0.5, 0.95, 0.99,
        )),
        Panel("Parts of a call", "s", quantiles("plaudit_reward_stage_duration_seconds{@}", 0.95, by="stage")),
        Panel("Items by their outcome", "none", {
            "{{model}} {{outcome}}": "sum by (model, outcome) (rate(plaudit_reward_items_total{@}[$__rate_interval]))",
        }, stacked=True),
        Panel("Refused", "none", {"{{reason}}": increase("plaudit_reward_rejected_total{@}", "reason")}),
        Panel("Too late, given up", "none", {
            "deadline over: {{where}}": increase("plaudit_reward_deadline_expired_total{@}", "where"),
            "given up: {{where}}": increase("plaudit_reward_cancelled_total{@}", "where"),
        }),
        Panel("Calls being answered", "none", {"{{pod}}": "plaudit_reward_inflight_requests{@}"}),
        Panel("Items by whose key they came with", "none", {
            "{{client}}": "sum by (client) (rate(plaudit_reward_client_items_total{@}[$__rate_interval]))",
        }, stacked=True),
        Panel("Tokens by whose key they came with", "none", {
            "{{client}}": "sum by (client) (rate(plaudit_reward_client_tokens_total{@}[$__rate_interval]))",
        }, stacked=True),
    ],
    "Queue and batches": [
        Panel("Queue against replicas", "none", {
            "items": "sum(plaudit_reward_queue_items{@})",
            "ready replicas": "sum(plaudit_reward_ready{@})",
        }),
        Panel("Tokens in the queue", "none", {"{{pod}}": "plaudit_reward_queue_tokens{@}"}),
        Panel("Time until the queue is empty", "s", {"{{pod}}": "plaudit_reward_queue_drain_seconds{@}"}),
        Panel("Lag of the event loop", "s", quantiles("plaudit_loop_lag_seconds{@}", 0.5, 0.99)),
        Panel("Items of a batch", "none", quantiles("plaudit_reward_batch_items{@}", 0.5, 0.95)),
        Panel("Tokens of a batch", "none", quantiles("plaudit_reward_batch_tokens{@}", 0.5, 0.95)),
        Panel("Padding of a batch", "percentunit", quantiles("plaudit_reward_batch_padding_ratio{@}", 0.5, 0.95)),
        Panel("Tokens of an item", "none", quantiles("plaudit_reward_input_tokens{@}", 0.5, 0.95)),
        Panel("Cut items", "none", {"{{side}}": increase("plaudit_reward_truncated_total{@}", "side")}),
        Panel("Found in the cache", "percentunit", {
            "of the items looked for": "sum(rate(plaudit_reward_cache_hits_total{@}[$__rate_interval]))"
            " / (sum(rate(plaudit_reward_cache_hits_total{@}[$__rate_interval]))"
            " + sum(rate(plaudit_reward_cache_misses_total{@}[$__rate_interval])))",
        }),
    ],
    "People": [
        Panel("Items that wait for people", "none", {
            "{{model}}": "max by (model) (plaudit_reward_human_waiting_items{@})",
        }, about="Where a person is the model. Replicas wait for the same ones."),
        Panel("Time until an item is judged", "s",
              quantiles("plaudit_reward_human_wait_seconds{@}", 0.5, 0.95, by="model")),
        Panel("Time of one judgement", "s",
              quantiles("plaudit_reward_human_judgement_seconds{@}", 0.5, 0.95, by="model")),
        Panel("Judgements", "none", {
            "{{model}}": increase("plaudit_reward_human_judgement_seconds_count{@}", "model"),
        }),
    ],
    "Scores": [
        Panel("Scores given", "none", {
            "{{le}}": "sum by (le) (increase(plaudit_reward_score_bucket{@}[$__rate_interval]))",
        }, about="A mass that wanders upward may be a policy that has found a weakness.", kind="heatmap"),
        Panel("Scores", "none", quantiles("plaudit_reward_score{@}", 0.05, 0.5, 0.95, by="model")),
        Panel("Disagreement of ensembles", "none", quantiles("plaudit_reward_ensemble_std{@}", 0.5, 0.95, by="model")),
        Panel("Not finite", "none", {
            "scores": "sum(increase(plaudit_reward_score_nonfinite_total{@}[$__rate_interval]))",
        }),
        Panel("Drift of a shorter dtype", "none", {
            "{{model}} {{version}}": "max by (model, version) (plaudit_reward_dtype_drift{@})",
        }, about="Largest difference to the model in float32, measured when it was loaded."),
    ],
    "Replicas": [
        Panel("Models served", "none", {
            "{{model}} {{version}} {{digest}} {{dtype}}":
            "count by (model, version, digest, dtype) (plaudit_reward_model_info{@})",
        }, about="Replicas with it. Two versions of one model: loaded beside each other, or a rollout is under way."),
        Panel("What names stand for", "none", {
            "{{model}} {{version}}": "count by (model, version) (plaudit_reward_model_aliased{@})",
        }),
        Panel("Time to load", "s", {
            "{{pod}} {{model}} {{version}}": "plaudit_reward_model_load_seconds{@}",
        }),
        Panel("Memory", "bytes", {"{{pod}}": 'process_resident_memory_bytes{@, job="plaudit-reward"}'}),
        Panel("Processor", "none", {
            "{{pod}}": 'rate(process_cpu_seconds_total{@, job="plaudit-reward"}[$__rate_interval])',
        }, about="Of the server's own process: models have processes of their own."),
    ],
}  # fmt: skip


LABELLING: Rows = {
    "People": [
        Panel("Judgements per hour", "none", {
            "{{kind}}": "3600 * sum by (kind) (rate(plaudit_label_judgements_total{@}[$__rate_interval]))",
        }, stacked=True),
        Panel("Time of a judgement", "s", quantiles("plaudit_label_judgement_seconds{@}", 0.5, 0.95, by="kind")),
        Panel("To do", "none", {
            "judgements that nobody is at": "max(plaudit_label_waiting_judgements{@})",
            "tasks that somebody is at": "max(plaudit_label_open_assignments{@})",
        }, about="Replicas count the same ones."),
        Panel("Passed on, taken back", "none", {
            "skipped": "sum(increase(plaudit_label_skipped_total{@}[$__rate_interval]))",
            "undone": "sum(increase(plaudit_label_undone_total{@}[$__rate_interval]))",
        }),
    ],
    "Service": [
        Panel("Answers by their code", "reqps", {
            "{{code}}": "sum by (code) (rate(plaudit_label_responses_total{@}[$__rate_interval]))",
        }, about="Probes are among them: 200.", stacked=True),
        Panel("Database", "none", {"{{pod}}": "plaudit_label_database_up{@}"}, about="1: it answers."),
        Panel("Memory", "bytes", {"{{pod}}": 'process_resident_memory_bytes{@, job="plaudit-label"}'}),
        Panel("Processor", "none", {
            "{{pod}}": 'rate(process_cpu_seconds_total{@, job="plaudit-label"}[$__rate_interval])',
        }),
    ],
}  # fmt: skip


def dashboard(title: str, rows: Rows, present: str) -> dict[str, Any]:
    """One of them; `present` is a metric that every target of it has."""
    return {
        "uid": title.lower().replace(" ", "-"),
        "title": title,
        "tags": ["plaudit"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                _variable("namespace", f"label_values({present}, namespace)"),
                _variable("pod", f'label_values({present}{{namespace="$namespace"}}, pod)')
                | {"multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}},
            ]
        },
        "panels": list(_panels(rows)),
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {"name": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2, "sort": 1}


def _panels(rows: Rows) -> Iterator[dict[str, Any]]:
    number = y = 0
    for title, panels in rows.items():
        number += 1
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        across = COLUMNS // WIDTH
        for index, panel in enumerate(panels):
            number += 1
            yield panel.tree(number, WIDTH * (index % across), y + HEIGHT * (index // across))
        y += HEIGHT * -(-len(panels) // across)


DASHBOARDS = {
    "ppo-training.json": dashboard("PPO training", TRAINING, "plaudit_trainer_step"),
    "reward-serving.json": dashboard("Reward serving", SERVING, "plaudit_reward_ready"),
    "labelling.json": dashboard("Labelling", LABELLING, "plaudit_label_database_up"),
}


def text(tree: dict[str, Any]) -> str:
    """As it is committed."""
    return json.dumps(tree, indent=2) + "\n"


if __name__ == "__main__":
    for name, tree in DASHBOARDS.items():
        (FOLDER / name).write_text(text(tree), encoding="utf-8")

"""Logged thumbs straight into PPO: trl's classic trainer steps through a log and samples nothing itself.

    python straight.py FOLDER SEED LOG

reads FOLDER/sft and FOLDER/data/thumbs_LOG.jsonl; writes FOLDER/straight_LOG_N after N = 1 .. 3 passes over the log,
and into its metrics.jsonl, by step

    sampler_kl    of the policy that wrote the answers from the one that learns, nats per response: 0 where PPO is right
    ratio         its mean, which the trainer takes to its own probabilities before the step, not to the sampler's
    kl            from the reference, as the trainer estimates it on answers that are not the policy's own
    score         the mean thumb
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from plaudit import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer
from plaudit.outputs import write_rows
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.telemetry.progress import bar
from plaudit.telemetry.quiet import quiet_libraries

PASSES = 3


def learn(folder: Path, seed: int, log: str) -> None:
    """All passes, in the log's order; the last incomplete batch is left out."""
    quiet_libraries()
    warnings.filterwarnings("ignore", "the KL is")  # below 0: the trainer says so at every step, and so do the metrics
    config = PPOConfig(
        seed=seed, batch_size=64, mini_batch_size=32, ppo_epochs=2, learning_rate=3e-4, init_kl_coef=0.1,
        adap_kl_ctrl=False,
    )  # fmt: skip
    model = AutoModelForCausalLMWithValueHead.from_pretrained(str(folder / "sft"))
    trainer = PPOTrainer(config, model, None, AutoTokenizer.from_pretrained(folder / "sft"))
    rows = read_rows(DataSettings(source=str(folder / "data" / f"thumbs_{log}.jsonl")))
    batches = [rows[first:][: config.batch_size] for first in range(0, len(rows), config.batch_size)]
    whole = [batch for batch in batches if len(batch) == config.batch_size]
    metrics: list[dict[str, float]] = []
    with bar(f"PPO on {log}", PASSES * len(whole)) as progress:
        for number in range(1, PASSES + 1):
            for batch in whole:
                metrics.append(_step(trainer, batch) | {"step": len(metrics)})
                progress.advance(note=f"sampler KL {metrics[-1]['sampler_kl']:.1f}")
            trainer.save_pretrained(folder / f"straight_{log}_{number}")
            write_rows(folder / f"straight_{log}_{number}" / "metrics.jsonl", metrics)


def _step(trainer: PPOTrainer, rows: list[Row]) -> dict[str, float]:
    queries, responses = (_tensors(rows, name) for name in ("prompt_ids", "response_ids"))
    found = trainer.step(queries, responses, [torch.tensor(row.number("score")) for row in rows])
    return {
        "sampler_kl": _sampler_kl(rows, found["objective/logprobs"]),
        "ratio": float(found["ppo/policy/ratio"].mean()),
        "kl": found["objective/kl"],
        "score": found["ppo/mean_scores"],
    }


def _sampler_kl(rows: list[Row], logprobs: Any) -> float:
    """`logprobs` (B, T): of the policy before the step, padded on the right."""
    moved = (sum(row["logprobs"]) - own[: len(row["logprobs"])].sum() for row, own in zip(rows, logprobs, strict=True))
    return float(sum(moved)) / len(rows)


def _tensors(rows: list[Row], name: str) -> list[Tensor]:
    return [torch.tensor(row[name]) for row in rows]


if __name__ == "__main__":
    learn(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

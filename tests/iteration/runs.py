"""Settings of tiny runs, and folders as rounds leave them behind."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from plaudit.iteration.plan import Plan
from plaudit.iteration.settings import IterateSettings
from plaudit.settings import parse
from plaudit.uncertainty import Estimate
from tests.policy.tiny import tiny_llama


def rows(path: Path, *found: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def settings(tmp_path: Path, address: str = "127.0.0.1:1", **changes: Any) -> dict[str, Any]:
    """Of one round, judged by a reward server at `address`; a change of a whole key replaces it."""
    prompts = rows(tmp_path / "prompts.jsonl", *({"prompt": f"the cat {i} of"} for i in range(24)))
    held_out = rows(tmp_path / "held_out.jsonl", *({"prompt": f"a dog {i} of"} for i in range(4)))
    return {
        "folder": str(tmp_path / "run"),
        "rounds": 1,
        "policy": {"model": str(tmp_path / "policy")},
        "generate": {"prompts": {"source": prompts}, "count": 12, "workers": 1},
        "label": {"model": {"address": address, "startup_timeout_s": 5}},
        "reward_model": {"training": {"max_steps": 1, "batch_size": 4}, "rendering": {"max_tokens": 64}},
        "train": {
            "steps": 2,
            "batch_size": 4,
            "max_new_tokens": 6,
            "prompts": {"data": {"source": prompts}},
            "rollout": {"workers": 1, "group_size": 16},
            "samples": {"best_of": 0},
            "checkpoints": {"every": 1},
        },
        "evaluate": {
            "prompts": {"source": held_out},
            "gold": {"address": address, "startup_timeout_s": 5},
        },
        **changes,
    }


def settings_file(tmp_path: Path, address: str, **changes: Any) -> Path:
    """With a policy to start from."""
    if not (tmp_path / "policy").exists():
        tiny_llama(tmp_path / "policy")
    path = tmp_path / "iterate.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path, address, **changes)))
    return path


def plan(tmp_path: Path, **changes: Any) -> Plan:
    return Plan(parse(IterateSettings, settings(tmp_path, **changes), source="settings"))


def estimate(value: float, error: float = 0.1) -> dict[str, Any]:
    return asdict(Estimate(value, error, 4))


def ended_round(
    plan: Plan,
    number: int,
    *,
    response: str = "fine",
    gold: float | None = 2.0,
    judged: Any = None,
    held_out: Any = None,
    **changes: Any,
) -> None:
    """As `plaudit iterate` leaves one: figures, responses, judgements in numbers, a reward model's record."""
    folder = plan.round(number)
    known = {} if gold is None else {"gold": gold}
    answers = [
        {"id": f"{i}/0", "prompt_id": str(i), "prompt": f"a dog {i}", "response": f"{response} {i}", "kl": 0.1 * number,
         "finish_reason": "stop", **known}
        for i in range(4)
    ]  # fmt: skip
    rows(folder / "evaluation.jsonl", *answers)
    before = {} if number == 0 else {"first": 0, "previous": number - 1}
    figures = {
        "round": number, "prompts": 4, "responses": 4, "distinct": 1.0, "cut": 0.0,
        "length": estimate(6.0), "kl": estimate(0.1 * number),
        "score": estimate(0.5) if number else None,
        "gold": None if gold is None else estimate(gold),
        "score_gain": {name: estimate(0.5) for name in before},
        "gold_gain": {name: estimate(0.25) if gold is not None else None for name in before},
        "wins": {name: estimate(0.75) for name in before},
        "wins_by": "labelling model",
    } | changes  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(figures))
    if number == 0:
        return
    agreement = {"compare": {"alpha": estimate(0.5), "tasks": 10, "people": 2}}
    told = {"tasks": 10, "judgements": 20, "people": 2, "flagged": 1, "model": None, "agreement": agreement}
    (folder / "judged.json").write_text(json.dumps(told | (judged or {})))
    trained = plan.reward_model(number)
    for model in trained.folders:
        model.mkdir(parents=True)
        (model / "plaudit_reward.json").write_text(json.dumps({"version": f"version{number}"}))
    (trained.output / "held_out.json").write_text(json.dumps(held_out or {"accuracy": estimate(0.7)}))
    (folder / "ppo.done").write_text(json.dumps({"seconds": 61.5, "ended_at": 0.0}))

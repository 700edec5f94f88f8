"""A round's policy on the held-out prompts, beside the policies before it: the same prompts, paired.

    score      by this round's reward model, of this round's responses, the last round's and the first policy's
    win rate   how often a response is better than theirs to the same prompt, a tie half; by the labelling model where
               there is one, else by this round's reward model
    gold       by a service that nobody learns from, where there is one
    kl         from the first policy, nats per response

Written as evaluation.jsonl, a line for each response, and evaluation.json, each figure with its standard error.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plaudit.errors import RunFailed
from plaudit.iteration.plan import EVALUATED, FIGURES, RESPONSES, Plan
from plaudit.outputs import write_rows, write_text
from plaudit.preferences.agreement import outcomes
from plaudit.report.estimates import by_prompt, over_prompts, paired_gain
from plaudit.report.run_folder import Sample, finite
from plaudit.reward_server.asking import RewardServerSettings, ready, score_item
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.uncertainty import Estimate, mean
from plaudit_client import Score

LABELLER = "labeller"
"""The field of a row with the labelling model's score."""
PROXY = "score"


def compare(plan: Plan, number: int, reward_models: RewardServerSettings | None) -> None:
    """Of round 0, the first policy, there is no reward model: gold and the labelling model alone."""
    folder, settings = plan.round(number), plan.settings
    rows = read_rows(DataSettings(source=str(folder / RESPONSES)))
    earlier = {at: read_evaluated(plan.round(at)) for at in set(beside(number).values())}  # of round 1 both are one
    with ExitStack() as stack:
        services = {LABELLER: settings.label.model, "gold": settings.evaluate.gold, PROXY: reward_models}
        for field, server in services.items():
            if server is None:
                continue
            asking = stack.enter_context(ready(server))[0].score
            _add(rows, field, asking)
            if field == PROXY:  # on its own scale: those before are asked about anew
                for others in earlier.values():
                    _add(others, field, asking)
    write_rows(folder / EVALUATED, rows)
    before = {name: earlier[at] for name, at in beside(number).items()}
    told = {"round": number, **_figures(rows, before, LABELLER if settings.label.model else PROXY)}
    write_text(folder / FIGURES, json.dumps(told, indent=1) + "\n")


def beside(number: int) -> dict[str, int]:
    """Rounds that one is compared with, by what they are to it; the first policy is round 0."""
    return {"first": 0, "previous": number - 1} if number else {}


def read_evaluated(folder: Path) -> list[Row]:
    """A round's responses, and what was said of them."""
    return read_rows(DataSettings(source=str(folder / EVALUATED)))


def samples(rows: Sequence[Row]) -> list[Sample]:
    """As the report reads them."""
    return [
        Sample(
            prompt_id=str(row["prompt_id"]),
            prompt=_plain(row["prompt"]),
            response=row["response"],
            score=finite(row.get(PROXY)),
            gold=finite(row.get("gold")),
            kl=finite(row.get("kl")),
            finish_reason=row["finish_reason"],
        )
        for row in rows
    ]


def win_rate(ours: Sequence[Row], theirs: Sequence[Row], field: str) -> Estimate | None:
    """The mean over prompts; None where nothing was said."""
    known = {row["id"]: row[field] for row in theirs if row.get(field) is not None}
    pairs = [(row, known[row["id"]]) for row in ours if row["id"] in known and row.get(field) is not None]
    if not pairs:
        return None
    better = outcomes([row[field] for row, _ in pairs], [other for _, other in pairs])
    won = [Sample(str(row["prompt_id"]), "", "", score=float(one)) for (row, _), one in zip(pairs, better, strict=True)]
    return mean(list(by_prompt(won, lambda sample: sample.score).values()))


def _figures(rows: Sequence[Row], before: dict[str, list[Row]], judge: str) -> dict[str, Any]:
    ours = samples(rows)
    others = {name: samples(found) for name, found in before.items()}
    return {
        "prompts": len({sample.prompt_id for sample in ours}),
        "responses": len(ours),
        "distinct": len({sample.response for sample in ours}) / len(ours),
        "cut": sum(sample.finish_reason == "length" for sample in ours) / len(ours),
        "length": _told(over_prompts(ours, lambda s: float(len(s.response)))),
        "kl": _told(over_prompts(ours, lambda s: s.kl)),
        "score": _told(over_prompts(ours, lambda s: s.score)),
        "gold": _told(over_prompts(ours, lambda s: s.gold)),
        "score_gain": {name: _told(paired_gain(one, ours, lambda s: s.score)) for name, one in others.items()},
        "gold_gain": {name: _told(paired_gain(one, ours, lambda s: s.gold)) for name, one in others.items()},
        "wins": {name: _told(win_rate(rows, one, judge)) for name, one in before.items()},
        "wins_by": "labelling model" if judge == LABELLER else "reward model",
    }


def _told(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else asdict(estimate)


def _add(rows: list[Row], field: str, ask: Any) -> None:
    """What a service says of each response, None where it has no score. Raises RunFailed where it has none at all."""
    items = [score_item(row.prompt(), row.text("response"), row["id"], row["finish_reason"]) for row in rows]
    results = list(ask(items))
    for row, result in zip(rows, results, strict=True):
        row[field] = result.value if isinstance(result, Score) else None
    if all(row[field] is None for row in rows):
        raise RunFailed(f"evaluate: no response has a {field}: {results[0].reason}")


def _plain(prompt: Any) -> str:
    """Text as it is; a conversation as one paragraph per message."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)

"""How good is a reward model on real preferences? Cross-validation against two rules that know no language.

    python benchmarks/reward_model/study.py --base models/minilm --output runs/study TRAIN.jsonl.gz DEV.jsonl.gz

Every pair is scored by a model that never saw it, in K folds over all rows given. The comparison with picking the
longer answer and with a bag-of-words Bradley-Terry model is taken pair by pair, on the same pairs. A fold that is done
is kept in the output folder: run the command again to go on. Settings are arguments: choose them on other data.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import bag_of_words
import numpy as np
import numpy.typing as npt
import votes

from plaudit.finetune.classifier import load_base_tokenizer, load_classifier
from plaudit.finetune.pairs import RenderedPairs, pair
from plaudit.finetune.reward_model import fit
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import score_ids
from plaudit.finetune.training import TrainingSettings
from plaudit.policy.settings import LoraSettings, PolicySettings
from plaudit.preferences.agreement import length_outcomes, outcomes
from plaudit.preferences.reading import Preference, read_preferences
from plaudit.reward.rendering import Rendering
from plaudit.rows import DataSettings
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.uncertainty import Estimate, clustered_mean

Outcomes = npt.NDArray[np.float64]
PROMPTS = "prompts.json"
"""In the output folder, fold by fold: the number of each pair's prompt, for `versus.py`."""


def main() -> None:
    arguments = _parse()
    quiet_libraries()
    settings = _settings(arguments)
    settings.output.mkdir(parents=True, exist_ok=True)
    preferences = read_preferences(settings.data)
    folds = _folds(preferences, arguments.folds, arguments.seed)
    model, words = np.full((2, len(preferences)), np.nan)
    seconds = 0.0
    for fold in range(arguments.folds):
        record = _fold(settings, fold, preferences, folds, arguments.votes)
        model[folds == fold], words[folds == fold] = record["model"], record["words"]
        seconds += record["seconds"]
    prompts = _prompts(preferences)
    by_fold = [prompts[folds == fold].tolist() for fold in range(arguments.folds)]
    (settings.output / PROMPTS).write_text(json.dumps(by_fold), encoding="utf-8")
    report = _report(settings, model, words, length_outcomes(preferences), prompts, seconds, arguments.votes)
    (settings.output / "study.md").write_text(report, encoding="utf-8")
    print(report)


def _folds(preferences: list[Preference], count: int, seed: int) -> npt.NDArray[np.int64]:
    """(n,) the fold of each pair; pairs about the same prompt stay together."""
    places = _prompts(preferences)
    order: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(places.max() + 1)
    return order[places] % count


def _prompts(preferences: list[Preference]) -> npt.NDArray[np.int64]:
    """(n,) the number of each pair's prompt."""
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(p.chosen.prompt for p in preferences))}
    return np.array([places[p.chosen.prompt] for p in preferences])


def _fold(
    settings: RewardModelSettings, fold: int, preferences: list[Preference], folds: npt.NDArray[np.int64], how: str
) -> dict[str, Any]:
    """Outcomes (1, 0.5, 0; null without a score) on one fold of models trained on the others; kept on disk."""
    path = settings.output / f"fold-{fold}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    training = [p for p, place in zip(preferences, folds, strict=True) if place != fold]
    held_out = [p for p, place in zip(preferences, folds, strict=True) if place == fold]
    started = time.monotonic()
    learnt = training if how == "majority" else votes.counted(training, votes.read_votes(settings.data), how)
    record = {
        "model": [None if np.isnan(value) else value for value in _reward_model(settings, learnt, held_out)],
        "words": list(_bag_of_words(training, held_out)),
        "seconds": time.monotonic() - started,
    }
    path.write_text(json.dumps(record), encoding="utf-8")
    return record


def _reward_model(settings: RewardModelSettings, training: list[Preference], held_out: list[Preference]) -> Outcomes:
    """(n,) NaN where a held-out pair is longer than the model reads."""
    tokenizer = load_base_tokenizer(settings.base)
    measured = list(map(pair, held_out))
    pairs, asked = (
        RenderedPairs.render(tokenizer, settings.rendering, part, name)
        for part, name in (([pair(one) for one in training], "training"), (measured, "held out"))
    )
    model = load_classifier(settings.base, tokenizer, dropout=settings.dropout, seed=settings.training.seed)
    fit(settings, model, tokenizer, pairs)
    scores = score_ids(model, asked.chosen_ids + asked.rejected_ids, tokenizer.pad_token_id, "scoring")
    right = outcomes(scores[: len(asked)], scores[len(asked) :])
    scored = {id(one): value for one, value in zip(asked.judgements, right, strict=True)}
    return np.array([scored.get(id(one), np.nan) for one in measured])


def _bag_of_words(training: list[Preference], held_out: list[Preference]) -> Outcomes:
    inner = np.arange(len(training)) % 5
    weights = bag_of_words.fit_best(bag_of_words.features(training), inner)
    differences = bag_of_words.features(held_out) @ weights
    return outcomes(differences, np.zeros(len(differences)))


def _report(
    settings: RewardModelSettings,
    model: Outcomes,
    words: Outcomes,
    length: Outcomes,
    prompts: npt.NDArray[np.int64],
    seconds: float,
    how: str,
) -> str:
    """Markdown. Pairs without a score are left out of every row, so that all rows are about the same pairs."""
    scored = ~np.isnan(model)
    measured = {
        "reward model": model,
        "bag-of-words Bradley-Terry": words,
        "length rule": length,
        "reward model - length rule": model - length,
        "reward model - bag of words": model - words,
        "bag of words - length rule": words - length,
    }
    groups = prompts[scored].tolist()
    rows = [(name, clustered_mean(values[scored], groups)) for name, values in measured.items()]
    training, lora = settings.training, settings.base.lora
    learnt = f"LoRA of rank {lora.rank} on {lora.target_modules}" if lora else "all weights"
    lines = [
        f"{len(groups)} pairs scored by models that did not see them, {int((~scored).sum())} longer than "
        f"{settings.rendering.max_tokens} tokens and left out; base {Path(settings.base.model).name} in "
        f"{settings.base.dtype}, {training.epochs:g} epochs, batch {training.batch_size}, learning rate "
        f"{training.learning_rate:g}, dropout {'on' if settings.dropout else 'off'}, "
        f"{learnt}, votes: {how}; {seconds / 60:.0f} minutes.",
        "",
        "| % | estimate | standard error | 95 % interval |",
        "|---|---:|---:|---:|",
        *(_row(name, found) for name, found in rows),
    ]
    return "\n".join([*lines, ""])


def _row(name: str, found: Estimate) -> str:
    percent = found.scaled(100)
    assert percent.interval is not None, "one prompt is no study"
    low, high = percent.interval
    return f"| {name} | {percent.value:.1f} | {percent.standard_error:.1f} | {low:.1f} to {high:.1f} |"


def _settings(arguments: argparse.Namespace) -> RewardModelSettings:
    return RewardModelSettings(
        base=PolicySettings(
            model=arguments.base, dtype=arguments.dtype, lora=_lora(arguments.lora, arguments.lora_layers)
        ),
        data=DataSettings(source=arguments.data),
        output=arguments.output,
        rendering=Rendering(max_tokens=arguments.max_tokens, truncation="left_prompt"),
        dropout=arguments.dropout,
        ties="half" if arguments.votes == "people" else "left_out",  # a person's tie is a judgement like the others
        training=TrainingSettings(
            epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            seed=arguments.seed,
            warmup=0.1,
            micro_batch_size=4,  # pads little
        ),
    )


def _lora(rank: int | None, layers: list[str] | None) -> LoraSettings | None:
    if rank is None:
        return None
    return LoraSettings(rank=rank) if layers is None else LoraSettings(rank=rank, target_modules=layers)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="+", help="preferences: JSON lines, Parquet, a folder or the name of a data set")
    parser.add_argument("--base", required=True, help="the model to start from: a folder or a name")
    parser.add_argument("--output", type=Path, required=True, help="a folder for folds, metrics and study.md")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--lora", type=int, help="its rank; without, all weights learn")
    parser.add_argument("--lora-layers", nargs="+", help="those LoRA changes; without, every linear one")
    parser.add_argument("--votes", choices=votes.HOW, default="majority", help="what is learnt of a row's `votes`")
    parser.add_argument("--dropout", action="store_true")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()

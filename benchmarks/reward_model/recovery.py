"""What comes back of a planted preference: who can be relied on, and the utility itself, with weights and without.

    python benchmarks/reward_model/recovery.py --output runs/recovery --seeds 5

In each seed 1700 tasks are judged by three of twelve people each, 5100 judgements, as pairs and as rankings of four.
Reliabilities are estimated from what people said alone, and judgements exported with weights and without. A model that
is done is kept in the output folder: run the command again to go on.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from planted import RELIABILITY, Array, Words, World, prompt, text, write_base
from scipy.stats import spearmanr, t

from plaudit.feedback.exporting import Form, Row, export, reliability_weights
from plaudit.feedback.reliability import reliabilities
from plaudit.finetune.reward_model import train
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import score_ids
from plaudit.finetune.training import TrainingSettings
from plaudit.outputs import write_rows
from plaudit.policy.settings import PolicySettings
from plaudit.reward import folder as reward_folder
from plaudit.reward.loading import load_model, load_tokenizer
from plaudit.reward.rendering import Rendering, render
from plaudit.rows import DataSettings
from plaudit.uncertainty import Estimate, mean, paired_difference

TASKS, PEOPLE, HELD_OUT = 1700, 3, 4000
Loss = Literal["bradley_terry", "k_wise"]
FORMS: dict[Loss, tuple[int, Form]] = {"bradley_terry": (2, Form.PREFERENCES), "k_wise": (4, Form.RANKINGS)}
EPOCHS = {"bradley_terry": 3, "k_wise": 2}
RENDERING = Rendering(separator=" ", max_tokens=32)


@dataclass(frozen=True)
class Found:
    """Of one seed and loss."""

    judgements: int
    rank_correlation: float  # of estimated reliabilities with the true ones, over people
    right: dict[str, list[bool]]  # by "weighted" and "unweighted": of held-out pairs, by the true utility
    agreement: dict[str, float]  # with people's judgements of these pairs, as expected
    bayes: float  # the most that any scorer agrees with them


def recover(folder: Path, seed: int, loss: Loss, tasks: int = TASKS) -> Found:
    """Judges, estimates, exports, trains twice and measures."""
    world = World(seed)
    answers, form = FORMS[loss]
    judgements = list(world.judge(world.draw(tasks, answers, stream=2), PEOPLE, stream=3))
    found = reliabilities(judgements)
    weights = {"unweighted": None, "weighted": reliability_weights(found)}
    held_out = world.draw(HELD_OUT, 2, stream=4)
    utility = world.utility(held_out)
    differ = utility[:, 0] != utility[:, 1]
    held_out, utility = held_out[differ], utility[differ]
    first = {}
    for name, own in weights.items():
        _train(folder / name, export(judgements, form, weights=own), loss, seed)
        scores = _scores(folder / name / "model", held_out)
        first[name] = scores[:, 0] > scores[:, 1]
    better = utility[:, 0] > utility[:, 1]
    people = list(RELIABILITY)
    return Found(
        judgements=len(judgements),
        rank_correlation=float(spearmanr([found[p] for p in people], [RELIABILITY[p] for p in people]).statistic),
        right={name: (one == better).tolist() for name, one in first.items()},
        agreement={name: float(world.agreement(utility, one).mean()) for name, one in first.items()},
        bayes=float(world.agreement(utility, better).mean()),
    )


def _train(folder: Path, rows: Iterable[Row], loss: Loss, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.jsonl", rows)
    settings = RewardModelSettings(
        base=PolicySettings(model=str(write_base(folder / "base", seed))),
        data=DataSettings(source=str(folder / "rows.jsonl")),
        output=folder / "model",
        loss=loss,
        eval_fraction=0,
        rendering=RENDERING,
        training=TrainingSettings(epochs=EPOCHS[loss], batch_size=64, learning_rate=0.005, seed=seed),
    )
    if not (settings.output / reward_folder.NAME).exists():
        train(settings)


def _scores(folder: Path, held_out: Words) -> Array:
    """(n, 2)"""
    tokenizer = load_tokenizer(folder)
    rows = [
        render(tokenizer, RENDERING, prompt(number), text(words)).input_ids
        for number, pair in enumerate(held_out)
        for words in pair
    ]
    return score_ids(load_model(folder), rows, int(tokenizer.pad_token_id), "scoring").reshape(-1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    lines = []
    for loss in FORMS:
        found = [_kept(arguments.output / loss / str(seed), seed, loss) for seed in range(arguments.seeds)]
        lines += _table(loss, found)
    report = "\n".join(lines)
    (arguments.output / "recovery.md").write_text(report, encoding="utf-8")
    print(report)


def _kept(folder: Path, seed: int, loss: Loss) -> Found:
    path = folder / "found.json"
    if not path.is_file():
        found = recover(folder, seed, loss)
        path.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return Found(**json.loads(path.read_text()))


def _table(loss: str, found: list[Found]) -> list[str]:
    """Markdown; ± is over held-out pairs, of the last row over seeds."""
    head = "| seed | rank correlation | right, unweighted | right, weighted | gain | judgements less Bayes' |"
    lines = [f"{loss}, {found[0].judgements} judgements, %:", "", head, f"|{'---:|' * 6}"]
    gains = [paired_difference(one.right["weighted"], one.right["unweighted"]) for one in found]
    for seed, (one, gain) in enumerate(zip(found, gains, strict=True)):
        right = [_percent(mean(one.right[name])) for name in ("unweighted", "weighted")]
        missing = 100 * (one.agreement["weighted"] - one.bayes)
        cells = [str(seed), f"{one.rank_correlation:.3f}", *right, _gain(gain), f"{missing:+.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    over = mean([gain.value for gain in gains])
    if over.standard_error is not None:
        half = float(t.ppf(0.975, len(gains) - 1)) * over.standard_error
        interval = f"[{100 * (over.value - half):+.2f}, {100 * (over.value + half):+.2f}]"
        lines.append(f"| all | | | | {_gain(over)} {interval} | |")
    return [*lines, ""]


def _percent(found: Estimate) -> str:
    return f"{found.scaled(100):.1f}"


def _gain(found: Estimate) -> str:
    return f"{found.scaled(100):+.2f}"


if __name__ == "__main__":
    main()

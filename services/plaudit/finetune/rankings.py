"""Rankings as the token ids a reward model reads, and what it learns from all pairs of a ranking at once.

The mean of -log sigmoid(r(better) - r(worse) - margin) over the pairs of each ranking (Ouyang et al. 2022, eq. 1): a
response runs once, not once per pair. Where the pairs of a ranking are shuffled among others, the model is shown each
response K - 1 times in an epoch, and overfits; and a ranking of nine counts as 36 of two. Equal ranks say nothing, or,
with `ties: half`, are pairs as well (`bradley_terry.py`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from plaudit.finetune.bradley_terry import pair_losses
from plaudit.finetune.classifier import Classifier
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.sampling import PaddingLittle
from plaudit.finetune.token_rows import Fitting, Ids, padded_ids, render_sides
from plaudit.finetune.training import trainer_arguments
from plaudit.preferences.agreement import Agreement, agreement
from plaudit.preferences.reading import Preference, Ranking
from plaudit.reward.rendering import Rendering


class RenderedRankings(Fitting[Ranking]):
    """Rankings as a row of ids for each response."""

    def elements(self, ties: str) -> list[dict[str, Any]]:
        """One per ranking, as the trainer reads them."""
        return [
            {
                "ids": ids,
                "pairs": ranking.pairs,
                "ties": ranking.ties if ties == "half" else [],
                "margin": ranking.margin or 0.0,
                "weight": weight,
            }
            for ranking, ids, weight in zip(self.judgements, self.ids, self.weights, strict=True)
        ]

    def measure(self, scores: npt.NDArray[np.float64], training: "RenderedRankings") -> Agreement | None:
        """How often scores (n,) of `rows` agree with the pairs, the length rule beside it. None where all are ties."""
        preferences: list[Preference] = []
        places: list[tuple[int, int]] = []
        first = 0
        for ranking in self.judgements:
            preferences += ranking.preferences
            places += [(first + better, first + worse) for better, worse in ranking.pairs]
            first += len(ranking.sides)
        if not places:
            return None
        better, worse = np.array(places).T
        return agreement(scores[better], scores[worse], preferences)


def render_rankings(
    tokenizer: PreTrainedTokenizerBase, rendering: Rendering, rankings: Sequence[Ranking], name: str
) -> RenderedRankings:
    """As `render_sides` does; a ranking fits where all its responses do."""
    return render_sides(RenderedRankings, tokenizer, rendering, rankings, lambda one: one.sides, f"{name} rankings")


def rankings_trainer(
    settings: RewardModelSettings,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    training: RenderedRankings,
    held_out: RenderedRankings | None,
    callback: TrainerCallback,
) -> Trainer:
    """transformers' own, with this loss; a batch is one of rankings."""
    arguments: dict[str, Any] = trainer_arguments(settings.training, settings.base, settings.output, len(training))
    pad = int(tokenizer.pad_token_id)
    evaluated = "no" if held_out is None else "epoch"
    trainer = RankingTrainer(
        model=model,
        args=TrainingArguments(**arguments, eval_strategy=evaluated, label_names=["pairs"]),
        data_collator=lambda elements: collate(elements, pad),
        train_dataset=training.elements(settings.ties),
        eval_dataset=None if held_out is None else held_out.elements(settings.ties),
        callbacks=[callback],
    )
    trainer.lengths = training.lengths
    return trainer


class RankingTrainer(PaddingLittle):
    """transformers' own with the loss below; trl's reads pairs alone."""

    loss_is_scaled_for_ga = False  # a mean over the rankings of a micro-batch, as trl's is one over its pairs

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of one micro-batch, alone or with what the model gave."""
        told = {name: inputs.pop(name) for name in ("pairs", "margins", "ties", "weights")}
        outputs = model(**inputs)
        loss = k_wise(outputs.logits[:, 0].float(), **told)
        return (loss, outputs) if return_outputs else loss


def k_wise(rewards: Tensor, pairs: Tensor, margins: Tensor, ties: Tensor, weights: Tensor) -> Tensor:
    """The mean over rankings of rewards (B,) in places `pairs` (P, 2); `weights` (P,) sum to 1 in all, but for those of
    the rankings themselves."""
    first, second = rewards[pairs].unbind(dim=1)
    return (weights * pair_losses(first, second, margins, ties)).sum()


def collate(elements: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Ids and mask (B, W) of all responses; places among them, margin, tie and weight of all pairs."""
    rows: list[Ids] = []
    pairs: list[tuple[int, int]] = []
    margins: list[float] = []
    ties: list[bool] = []
    weights: list[float] = []
    for element in elements:
        found = element["pairs"] + element["ties"]
        pairs += [(len(rows) + first, len(rows) + second) for first, second in found]
        margins += [element["margin"]] * len(found)
        ties += [False] * len(element["pairs"]) + [True] * len(element["ties"])
        weights += [element["weight"] / (len(found) * len(elements))] * len(found)
        rows += element["ids"]
    told = {"pairs": pairs, "margins": margins, "ties": ties, "weights": weights}
    return padded_ids(rows, pad_token_id) | {name: torch.tensor(values) for name, values in told.items()}

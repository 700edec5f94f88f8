"""Preferences as the token ids a reward model reads, and the scores a model gives them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.finetune.classifier import Classifier
from plaudit.preferences.reading import Preference, Side
from plaudit.reward.errors import InputTooLong, RequestError
from plaudit.reward.rendering import Rendered, Rendering, render
from plaudit.telemetry.progress import bar

TOKENS_PER_FORWARD = 16_384


@dataclass(frozen=True, slots=True)
class RenderedPairs:
    """Preferences that fit, in order, and an account of those that did not."""

    preferences: list[Preference]
    chosen_ids: list[list[int]]
    rejected_ids: list[list[int]]
    cut: int  # had the head of a prompt cut
    left_out: int  # are longer than the model reads, and nothing of them may be cut

    def __len__(self) -> int:
        return len(self.preferences)

    def columns(self) -> dict[str, list[list[int]] | list[float]]:
        """What trl's RewardTrainer reads; a margin that a row does not give is 0."""
        columns: dict[str, list[list[int]] | list[float]] = {
            "chosen_ids": self.chosen_ids,
            "rejected_ids": self.rejected_ids,
        }
        if any(preference.margin is not None for preference in self.preferences):
            columns["margin"] = [preference.margin or 0.0 for preference in self.preferences]
        return columns


def render_pairs(
    tokenizer: PreTrainedTokenizerBase, rendering: Rendering, preferences: Sequence[Preference], name: str
) -> RenderedPairs:
    """Renders both sides as the server will. ConfigurationError where nothing fits or a row cannot be rendered."""
    pairs = RenderedPairs([], [], [], cut=0, left_out=0)
    cut = left_out = 0
    with bar(f"tokenising {name}", len(preferences)) as shown:
        for preference in preferences:
            try:
                chosen, rejected = (_render(tokenizer, rendering, s) for s in (preference.chosen, preference.rejected))
            except InputTooLong:
                left_out += 1
            except RequestError as error:
                raise ConfigurationError(f"{preference.where}: {error}") from None
            else:
                pairs.preferences.append(preference)
                pairs.chosen_ids.append(chosen.input_ids)
                pairs.rejected_ids.append(rejected.input_ids)
                cut += bool(chosen.truncated_tokens or rejected.truncated_tokens)
            shown.advance()
    if preferences and not pairs.preferences:
        raise ConfigurationError(
            f"every one of the {len(preferences)} preferences is longer than rendering.max_tokens "
            f"{rendering.max_tokens}: raise it, or set rendering.truncation to left_prompt"
        )
    return RenderedPairs(pairs.preferences, pairs.chosen_ids, pairs.rejected_ids, cut, left_out)


def score_ids(
    model: Classifier, rows: Sequence[Sequence[int]], pad_token_id: int, name: str
) -> npt.NDArray[np.float64]:
    """Raw scores (n,) of rows of ids, in evaluation mode; rows of like length share a forward pass."""
    scores = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
    training, device = model.training, next(model.parameters()).device
    model.eval()
    with bar(name, len(rows)) as shown, torch.inference_mode():
        while order:
            width = len(rows[order[0]])
            batch, order = _split(order, max(1, TOKENS_PER_FORWARD // max(width, 1)))
            ids = torch.full((len(batch), width), pad_token_id)
            mask = torch.zeros_like(ids)
            for place, index in enumerate(batch):
                ids[place, : len(rows[index])] = torch.tensor(rows[index])
                mask[place, : len(rows[index])] = 1
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
            scores[batch] = logits[:, 0].float().cpu().numpy()
            shown.advance(len(batch))
    model.train(training)
    return scores


def _render(tokenizer: PreTrainedTokenizerBase, rendering: Rendering, side: Side) -> Rendered:
    return render(tokenizer, rendering, prompt=side.text, response=side.response, messages=side.messages)


def _split(order: list[int], count: int) -> tuple[list[int], list[int]]:
    return order[:count], order[count:]

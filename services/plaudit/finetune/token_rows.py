"""Judged responses as the token ids a reward model reads, and the scores a model gives them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.finetune.classifier import Classifier
from plaudit.preferences.reading import Side
from plaudit.reward.calibration import Calibration
from plaudit.reward.errors import InputTooLong, RequestError
from plaudit.reward.rendering import Rendered, Rendering, render
from plaudit.telemetry.progress import bar

TOKENS_PER_FORWARD = 16_384
Ids = list[int]


class Judged(Protocol):
    """A preference, a ranking, a rating or a thumb."""

    @property
    def where(self) -> str: ...

    @property
    def weight(self) -> float: ...


J = TypeVar("J", bound=Judged)


@dataclass(frozen=True)
class Fitting(Generic[J]):
    """The judgements that fit, in order, and an account of those that did not."""

    judgements: list[J]
    ids: list[tuple[Ids, ...]]  # of each side of a judgement
    cut: int  # had the head of a prompt cut
    left_out: int  # are longer than the model reads, and nothing of them may be cut

    def __len__(self) -> int:
        return len(self.judgements)

    @property
    def rows(self) -> list[Ids]:
        """All responses, judgement by judgement."""
        return [row for sides in self.ids for row in sides]

    @property
    def lengths(self) -> list[int]:
        """Of each judgement's longest response, in tokens."""
        return [max(map(len, sides)) for sides in self.ids]

    @property
    def weights(self) -> list[float]:
        """Of each judgement: 1 on average, so that equal ones, whichever they are, change nothing."""
        given = np.array([judgement.weight for judgement in self.judgements], np.float64)
        given /= given.max()  # equal ones are 1 to the last bit
        return list(map(float, given / given.mean()))

    def subset(self, kept: Sequence[bool]) -> Self:
        """Those of the judgements; whatever was cut stays told."""
        chosen = [place for place, keep in enumerate(kept) if keep]
        judgements, ids = [self.judgements[at] for at in chosen], [self.ids[at] for at in chosen]
        return replace(self, judgements=judgements, ids=ids)

    @property
    def unit(self) -> Calibration | None:
        """What raw scores of a model that was trained on these are in; None: in no unit but their own."""
        return None


F = TypeVar("F", bound=Fitting[Any])


def render_sides(
    kind: Callable[..., F],
    tokenizer: PreTrainedTokenizerBase,
    rendering: Rendering,
    judgements: Sequence[J],
    sides: Callable[[J], tuple[Side, ...]],
    name: str,
) -> F:
    """Renders all sides as the server will. ConfigurationError where nothing fits or a row cannot be rendered.

    `kind` is what comes out, `name` is theirs: "pairs", "ratings".
    """
    fitting: list[J] = []
    ids: list[tuple[Ids, ...]] = []
    cut = left_out = 0
    with bar(f"tokenising {name}", len(judgements)) as shown:
        for judgement in judgements:
            try:
                rendered = [_render(tokenizer, rendering, side) for side in sides(judgement)]
            except InputTooLong:
                left_out += 1
            except RequestError as error:
                raise ConfigurationError(f"{judgement.where}: {error}") from None
            else:
                fitting.append(judgement)
                ids.append(tuple(one.input_ids for one in rendered))
                cut += any(one.truncated_tokens for one in rendered)
            shown.advance()
    if judgements and not fitting:
        raise ConfigurationError(
            f"every one of the {len(judgements)} {name} is longer than rendering.max_tokens "
            f"{rendering.max_tokens}: raise it, or set rendering.truncation to left_prompt"
        )
    return kind(fitting, ids, cut, left_out)


def padded_ids(rows: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, Tensor]:
    """Ids and attention mask (B, W), padded on the right."""
    ids = torch.full((len(rows), max(map(len, rows))), pad_token_id)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


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
            inputs = padded_ids([rows[index] for index in batch], pad_token_id)
            logits = model(**{key: value.to(device) for key, value in inputs.items()}).logits
            scores[batch] = logits[:, 0].float().cpu().numpy()
            shown.advance(len(batch))
    model.train(training)
    return scores


def _render(tokenizer: PreTrainedTokenizerBase, rendering: Rendering, side: Side) -> Rendered:
    return render(tokenizer, rendering, prompt=side.text, response=side.response, messages=side.messages)


def _split(order: list[int], count: int) -> tuple[list[int], list[int]]:
    return order[:count], order[count:]

"""Judgements as a reward model learns from them and is measured on them: what all kinds have in common.

    read, render    rows of data -> judgements -> the token ids of their responses, as the server will have them
    elements        one for each judgement: its ids, and what was said of them
    told            what was said, of the elements of a micro-batch, as tensors
    loss            of the rewards of these responses and what was said of them
    measure         how well scores agree with what was said

Kinds: rankings.py, and pairs.py of it; ratings.py, thumbs.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.finetune.reward_settings import RewardModelSettings
from plaudit.finetune.token_rows import Ids
from plaudit.preferences.agreement import Agreement
from plaudit.preferences.ratings import Fit, Rating
from plaudit.preferences.reading import Ranking, Side
from plaudit.preferences.thumbs import Discrimination, Thumb
from plaudit.reward.calibration import Calibration
from plaudit.reward.errors import InputTooLong, RequestError
from plaudit.reward.rendering import Rendered, Rendering, render
from plaudit.rows import DataSettings
from plaudit.telemetry.progress import bar

Judged = Ranking | Rating | Thumb
Measured = Agreement | Fit | Discrimination
Element = dict[str, Any]
"""{"ids": of each response, "weight": of the judgement, and what was said}."""
Told = dict[str, Tensor]
Loss = Callable[[Tensor, Told], Tensor]
"""Of rewards (R,): the sum over the judgements that they are of, each by its weight."""

J = TypeVar("J", bound=Judged, covariant=True)


@dataclass(frozen=True)
class Fitting(ABC, Generic[J]):
    """The judgements that fit, in order, and an account of those that did not."""

    judgements: Sequence[J]
    ids: Sequence[tuple[Ids, ...]]  # of each side of a judgement
    cut: int  # had the head of a prompt cut
    left_out: int  # are longer than the model reads, and nothing of them may be cut

    NAMED: ClassVar[str]
    """In the plural."""
    SHOWN: ClassVar[str] = "loss"
    """Beside the progress bar."""

    def __len__(self) -> int:
        return len(self.judgements)

    @staticmethod
    @abstractmethod
    def read(data: DataSettings, *, ties: bool) -> Sequence[Judged]:
        """All rows of the data that say something. ConfigurationError names the first that is of another kind."""

    @classmethod
    def render(
        cls, tokenizer: PreTrainedTokenizerBase, rendering: Rendering, judgements: Sequence[J], part: str
    ) -> Self:
        """Renders all sides as the server will: a judgement fits where all of them do. ConfigurationError where none
        fits, or one cannot be rendered; `part` is what these are: "training"."""
        fitting: list[J] = []
        ids: list[tuple[Ids, ...]] = []
        cut = left_out = 0
        with bar(f"tokenising {part} {cls.NAMED}", len(judgements)) as shown:
            for judgement in judgements:
                try:
                    rendered = [_render(tokenizer, rendering, side) for side in judgement.sides]
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
                f"every one of the {len(judgements)} {part} {cls.NAMED} is longer than rendering.max_tokens "
                f"{rendering.max_tokens}: raise it, or set rendering.truncation to left_prompt"
            )
        return cls(fitting, ids, cut, left_out)

    @abstractmethod
    def elements(self, settings: RewardModelSettings) -> list[Element]:
        """One for each judgement."""

    @staticmethod
    @abstractmethod
    def told(elements: Sequence[Element]) -> Told:
        """What was said of all their responses."""

    @abstractmethod
    def loss(self, settings: RewardModelSettings) -> Loss:
        """For a model that is trained on these."""

    @abstractmethod
    def measure(self, scores: npt.NDArray[np.float64], training: Self) -> Measured | None:
        """How well scores (n,) of `rows` agree with what was said. None where they say nothing of that."""

    def watched(self, rewards: Tensor, told: Told) -> Told:
        """Figures whose means stand in metrics.jsonl beside the loss."""
        return {"mean_reward": rewards}

    @property
    def unit(self) -> Calibration | None:
        """What raw scores of a model that was trained on these are in; None: in no unit but their own."""
        return None

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


def _render(tokenizer: PreTrainedTokenizerBase, rendering: Rendering, side: Side) -> Rendered:
    return render(tokenizer, rendering, prompt=side.text, response=side.response, messages=side.messages)

"""Plain text that is learnt beside the rewards (PPO-ptx of InstructGPT, Ouyang et al. 2022, equation 2)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Texts of one step, right-padded. Each optimizer step takes its share of them."""

    input_ids: npt.NDArray[np.int64]  # (B, L)
    attention_mask: npt.NDArray[np.bool_]  # (B, L)
    coef: float  # what their mean loss per token is multiplied by

    def part(self, rows: npt.NDArray[np.int64]) -> "TextBatch":
        """The chosen rows, without columns that are padding in all of them."""
        width = int(self.attention_mask[rows].sum(axis=1).max(initial=0))
        return TextBatch(self.input_ids[rows, :width], self.attention_mask[rows, :width], self.coef)

    def silent(self) -> "TextBatch":
        """Nothing to predict."""
        return TextBatch(self.input_ids[:1, :1], self.attention_mask[:1, :1], self.coef)

    def predicted(self, rows: npt.NDArray[np.int64]) -> int:
        """Tokens of these rows that have one before them."""
        return int((self.attention_mask[rows].sum(axis=1) - 1).sum())

"""What programs import from `trl.core`."""

import random

import numpy as np
import torch


def set_seed(seed: int) -> None:
    """Python's, numpy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed)  # LengthSampler and notebooks draw from it
    torch.manual_seed(seed)


class LengthSampler:
    """Draws response lengths from `min_value` to `max_value` - 1, alike."""

    def __init__(self, min_value: int, max_value: int) -> None:
        self.values = list(range(min_value, max_value))

    def __call__(self) -> int:
        return int(np.random.choice(self.values))

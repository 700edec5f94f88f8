"""What two rewards say of a judgement, by Bradley and Terry's model.

    the first is better      -log sigmoid(r1 - r2 - margin)
    they tie                 -1/2 log sigmoid(r1 - r2) - 1/2 log sigmoid(r2 - r1): half a win each way, least where
                             the two rewards are equal

and beside either, where rewards are to lie around 0 (Eisenstein et al. 2023, eq. 2)

    centred                  coefficient * (r1 + r2)²

Wins plus half the ties is also all that worths depend on in a model with a parameter for ties (Davidson, On Extending
the Bradley-Terry Model to Accommodate Ties, JASA 1970).
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def pair_losses(first: Tensor, second: Tensor, margins: Tensor, ties: Tensor) -> Tensor:
    """(P,) of rewards, margins and whether they tie (P,); a tie has no margin."""
    gap = first - second
    return torch.where(ties, -0.5 * (logsigmoid(gap) + logsigmoid(-gap)), -logsigmoid(gap - margins))


def centring(first: Tensor, second: Tensor, coefficient: float) -> Tensor:
    """(P,) of rewards (P,)."""
    return coefficient * (first + second) ** 2

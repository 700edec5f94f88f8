"""Log-probabilities and entropies of response tokens, from one padded forward pass.

With P prompt columns, response token t stands in column P + t and is predicted from column P - 1 + t: that is where its
log-probability and the value of the state before it are read. Logits are computed for real response tokens only.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from plaudit.errors import ConfigurationError

LOGITS_AT_ONCE = 1 << 24  # elements of logits held in float32: 64 MiB, and as much again for its gradient


class TokenStatistics(NamedTuple):
    """Of each response token, under softmax(logits / temperature), in float32."""

    logprobs: Tensor  # (N,)
    entropies: Tensor  # (N,) nats, of the distribution that the token was drawn from


def position_ids(attention_mask: Tensor) -> Tensor:
    """(B, L): 0 at each row's first real token, whatever stands to its left; within range on padding too."""
    mask = attention_mask.long()
    return mask.cumsum(dim=1) - mask


def before_each_response_token(x: Tensor, response_length: int) -> Tensor:
    """(B, P + T, ...) -> (B, T, ...): columns P - 1 to P + T - 2, the states in which response tokens are chosen."""
    return x[:, -response_length - 1 : -1]


def last_hidden_states(trunk: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, L, d): what the language-model head reads. Padding ids may lie outside the vocabulary: none is looked up."""
    output = trunk(
        input_ids=input_ids.masked_fill(~attention_mask, 0),
        attention_mask=attention_mask.long(),
        position_ids=position_ids(attention_mask),
        use_cache=False,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden


def scale_logits(logits: Tensor, temperature: float) -> Tensor:
    """Float32 logits of the distribution that is sampled from. Logits are divided, never log-probabilities."""
    return logits.float() / temperature


class TokenHead:
    """From hidden states to log-probabilities: a causal LM's own output layer, a chunk of tokens at a time.

    The chunk's logits are recomputed in the backward pass, so never more than one chunk of them is held.
    """

    def __init__(self, causal_lm: PreTrainedModel) -> None:
        self._output = causal_lm.get_output_embeddings()
        config = causal_lm.config
        self._scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        self._cap = getattr(config, "final_logit_softcapping", None)
        self._vocabulary = config.vocab_size

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, d) -> (N, V), as the causal LM computes them."""
        logits: Tensor = self._output(hidden) * self._scale
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    def __call__(self, hidden: Tensor, tokens: Tensor, temperature: float) -> TokenStatistics:
        """Statistics of `tokens` (N,), each drawn in the state `hidden` (N, d)."""
        size = _chunk_size(self._vocabulary)
        if len(tokens) <= size:
            return TokenStatistics(*self._chunk(hidden, tokens, temperature))
        chunks = [
            checkpoint(self._chunk, h, y, temperature, use_reentrant=False)
            for h, y in zip(torch.split(hidden, size), torch.split(tokens, size), strict=True)
        ]
        return TokenStatistics(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))

    def log_softmax(self, hidden: Tensor, temperature: float) -> Tensor:
        """(N, d) -> (N, V), float32."""
        return scale_logits(self.logits(hidden), temperature).log_softmax(dim=-1)

    def _chunk(self, hidden: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        log_softmax = self.log_softmax(hidden, temperature)
        chosen = log_softmax.gather(1, tokens.unsqueeze(1)).squeeze(1)
        entropies = -(log_softmax.exp() * log_softmax).sum(dim=-1)
        return chosen, entropies


def in_chunks(causal_lm: PreTrainedModel, hidden: Tensor) -> tuple[Tensor, ...]:
    """(N, d) in parts whose logits may be held at once."""
    return torch.split(hidden, _chunk_size(causal_lm.config.vocab_size))


def _chunk_size(vocabulary: int) -> int:
    return max(1, LOGITS_AT_ONCE // vocabulary)


def output_width(causal_lm: PreTrainedModel) -> int:
    """d: of the states that the output layer reads; some models project them first, so it may not be `hidden_size`."""
    return int(causal_lm.get_output_embeddings().weight.shape[1])


@torch.no_grad()
def check_head(causal_lm: PreTrainedModel) -> None:
    """Raises ConfigurationError where trunk and head put together are not the causal LM's own forward pass."""
    input_ids = torch.tensor([[1, 2, 3]], device=next(causal_lm.parameters()).device)
    hidden = last_hidden_states(causal_lm.base_model, input_ids, torch.ones_like(input_ids, dtype=torch.bool))
    expected = causal_lm(input_ids=input_ids, use_cache=False).logits
    if not torch.allclose(TokenHead(causal_lm).logits(hidden), expected, rtol=1e-3, atol=1e-4):
        name = causal_lm.config.model_type
        raise ConfigurationError(f"models of type '{name}' compute logits in a way of their own: use another model")

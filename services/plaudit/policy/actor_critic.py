"""The policy, its critic and its reference, as one module."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

import torch
from peft import PeftModel
from torch import Tensor, nn

from plaudit.policy import sharding
from plaudit.policy.critics import Critic, zero_head
from plaudit.policy.dropout import disable_dropout
from plaudit.policy.loading import CausalLM, without_adapter
from plaudit.policy.logprobs import (
    TokenHead,
    TokenStatistics,
    before_each_response_token,
    check_head,
    in_chunks,
    last_hidden_states,
    output_width,
)


class PaddedRows(NamedTuple):
    """B prompts, left-padded to P, with their responses, right-padded to T."""

    input_ids: Tensor  # (B, P + T) int64
    attention_mask: Tensor  # (B, P + T) bool
    response_mask: Tensor  # (B, T) bool


class ResponseOutputs(NamedTuple):
    """What PPO reads of one forward pass: float32 (B, T), 0 where masked."""

    logprobs: Tensor
    entropies: Tensor
    values: Tensor


class ActorCritic(nn.Module):
    """A causal LM with a value head: on the LM's own trunk, on a copy of it (`critic="separate"`) or on another one.

    The value head starts at 0 (N-details: no value is better than a random one). Dropout is off everywhere, for good: a
    ratio between two passes means nothing if each drops other units.

    `autocast` is the type that matrix products are computed in; weights stay float32, and so do log-softmax and values.
    """

    causal_lm: CausalLM
    critic: nn.Module | None
    frozen: CausalLM | None

    def __init__(
        self,
        causal_lm: CausalLM,
        critic: Literal["shared", "separate"] | Critic = "shared",
        autocast: torch.dtype = torch.float32,
        reference: CausalLM | None = None,
    ) -> None:
        """Without `reference` it is what `causal_lm` is now: a copy of it, or itself with its adapter off."""
        super().__init__()
        disable_dropout(causal_lm)
        self.causal_lm = causal_lm  # transformers' or peft's, as it came
        plain = without_adapter(causal_lm)
        check_head(plain)
        if not isinstance(critic, Critic):
            own = copy.deepcopy(plain.base_model) if critic == "separate" else None
            critic = Critic(own, zero_head(output_width(plain)))
        self.critic, self.value_head = critic
        if reference is None and not isinstance(causal_lm, PeftModel):
            reference = copy.deepcopy(causal_lm)
        self.frozen = None if reference is None else reference.requires_grad_(False)
        if self.frozen is not None:
            disable_dropout(self.frozen)
        self._autocast = autocast

    def shard(self, device: torch.device) -> None:
        """Leaves this rank its part of all weights, on `device`. See `policy.sharding`."""
        passes = ("text_logprob", "reference_logprobs", "full_kl")
        sharding.shard(self, passes, [] if self.frozen is None else [self.frozen], device)

    def forward(self, rows: PaddedRows, temperature: float) -> ResponseOutputs:
        """Log-probabilities, entropies and values of the response tokens."""
        with self._autocasting(rows.input_ids):
            states, statistics = _read(self.causal_lm, rows, temperature)
            if self.critic is not None:
                states = _states(self.critic, rows)
        values = self.value_head(states.float()).squeeze(-1)
        return ResponseOutputs(*(_scatter(x, rows.response_mask) for x in (*statistics, values)))

    def text_logprob(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(): summed over the tokens of right-padded texts (B, L) but each one's first, at temperature 1."""
        predicted = attention_mask[:, 1:]
        plain = without_adapter(self.causal_lm)
        with self._autocasting(input_ids):
            states = last_hidden_states(plain.base_model, input_ids, attention_mask)[:, :-1][predicted]
            return TokenHead(plain)(states, input_ids[:, 1:][predicted], 1.0).logprobs.sum()

    @torch.no_grad()
    def reference_logprobs(self, rows: PaddedRows, temperature: float) -> Tensor:
        """(B, T) under the reference policy: what the causal LM was when this object was made."""
        with self.reference() as reference, sharding.whole(self.frozen), self._autocasting(rows.input_ids):
            _, statistics = _read(reference, rows, temperature)
        return _scatter(statistics.logprobs, rows.response_mask)

    @torch.no_grad()
    def full_kl(self, rows: PaddedRows, temperature: float) -> Tensor:
        """(B, T): KL(policy || reference) over the whole vocabulary, in the state of each response token."""
        plain = without_adapter(self.causal_lm)
        with sharding.whole(self.frozen), self._autocasting(rows.input_ids):
            ours = _states(plain.base_model, rows)
            with self.reference() as reference:
                theirs = _states(without_adapter(reference).base_model, rows)
            chunks = [
                self._kl_of_chunk(h, r, temperature)
                for h, r in zip(in_chunks(plain, ours), in_chunks(plain, theirs), strict=True)
            ]
        return _scatter(torch.cat(chunks), rows.response_mask)

    def _kl_of_chunk(self, ours: Tensor, theirs: Tensor, temperature: float) -> Tensor:
        """(N, d), (N, d) -> (N,)."""
        logprobs = TokenHead(without_adapter(self.causal_lm)).log_softmax(ours, temperature)
        with self.reference() as reference:
            reference_logprobs = TokenHead(without_adapter(reference)).log_softmax(theirs, temperature)
        return (logprobs.exp() * (logprobs - reference_logprobs)).sum(dim=-1)

    @contextlib.contextmanager
    def reference(self) -> Iterator[CausalLM]:
        """The reference policy, for the length of a `with`: a frozen copy, or the policy with its adapters off."""
        if self.frozen is not None:
            yield self.frozen
        else:
            with cast(PeftModel, self.causal_lm).disable_adapter():
                yield self.causal_lm

    def reference_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of all that the reference policy is made of."""
        if self.frozen is not None:
            yield from self.frozen.named_parameters()
        else:
            yield from ((name, p) for name, p in self.causal_lm.named_parameters() if not p.requires_grad)

    def _autocasting(self, input_ids: Tensor) -> torch.autocast:
        device = input_ids.device.type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self._autocast == torch.bfloat16)


def is_critics(name: str) -> bool:
    """Whether a parameter of `ActorCritic` serves the values alone: the value head's and a separate critic's do."""
    return not name.startswith("causal_lm.")


def _states(trunk: nn.Module, rows: PaddedRows) -> Tensor:
    """(N, d): the states in which the N real response tokens are chosen, row by row."""
    hidden = last_hidden_states(trunk, rows.input_ids, rows.attention_mask)
    return before_each_response_token(hidden, rows.response_mask.shape[1])[rows.response_mask]


def _read(causal_lm: CausalLM, rows: PaddedRows, temperature: float) -> tuple[Tensor, TokenStatistics]:
    """Those states, and the statistics of the tokens chosen in them."""
    plain = without_adapter(causal_lm)
    states = _states(plain.base_model, rows)
    return states, TokenHead(plain)(states, _response_tokens(rows), temperature)


def _response_tokens(rows: PaddedRows) -> Tensor:
    """(N,): the real response tokens, row by row."""
    return rows.input_ids[:, -rows.response_mask.shape[1] :][rows.response_mask]


def _scatter(per_token: Tensor, mask: Tensor) -> Tensor:
    """(N,) -> (B, T), 0 where masked."""
    return torch.zeros(mask.shape, dtype=per_token.dtype, device=mask.device).masked_scatter(mask, per_token)

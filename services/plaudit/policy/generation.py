"""Generation: a bare decode loop over a key-value cache that sheds rows as they end.

    1. the prompts, left-padded, pass through the model once and fill the cache
    2. one token per row is drawn from the full softmax at the temperature (`sampling.draw`)
    3. rows that ended (stop token or length) leave the cache
    4. the rest pass their new token through the model; back to 2

What a row draws depends on its own stream of random numbers. Floating point still depends a little on the rows beside
it, so the same requests in the same order give the same trajectories, bit for bit; other groupings nearly always do.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedTokenizerBase

from plaudit.policy.loading import CausalLM, without_adapter
from plaudit.policy.sampling import draw, uniforms
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory


def generate(
    model: CausalLM,
    requests: Sequence[RolloutRequest],
    sampling: Sampling,
    pad_token_id: int,
    weight_version: int,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Trajectory]:
    """One trajectory per request, in order, sampled together as one batch on the model's device."""
    ended = dict(stream(model, requests, sampling, pad_token_id, weight_version, tokenizer))
    return [ended[index] for index in range(len(requests))]


def stream(
    model: CausalLM,
    requests: Sequence[RolloutRequest],
    sampling: Sampling,
    pad_token_id: int,
    weight_version: int,
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[tuple[int, Trajectory]]:
    """What `generate` returns, each with its index, as soon as it has ended."""
    if not requests:
        return
    with _evaluating(model):
        for index, row in _decode(model, requests, sampling, pad_token_id):
            request = requests[index]
            yield (
                index,
                Trajectory(
                    request=request,
                    response_ids=tuple(row.tokens),
                    response_text=_response_text(tokenizer, request.prompt.token_ids, row.tokens),
                    sampler_logprobs=np.array(row.logprobs, dtype=np.float32),
                    finish_reason="stop" if row.tokens[-1] in sampling.stop_token_ids else "length",
                    weight_version=weight_version,
                ),
            )


@dataclass(slots=True)
class _Row:
    """A response in the making."""

    tokens: list[int]
    logprobs: list[float]


@torch.no_grad()  # between two rows, whoever takes them may compute gradients
def _decode(
    model: CausalLM, requests: Sequence[RolloutRequest], sampling: Sampling, pad_token_id: int
) -> Iterator[tuple[int, _Row]]:
    """Rows that ended, with their indices."""
    device = next(model.parameters()).device
    step = _Step(model)
    input_ids, mask = left_padded([request.prompt.token_ids for request in requests], pad_token_id, device)  # (B, P)
    streams = torch.from_numpy(uniforms(requests, sampling)).to(device)  # (B, T)
    stops = torch.tensor(sampling.stop_token_ids, dtype=torch.int64, device=device)
    rows = [_Row([], []) for _ in requests]
    alive = torch.arange(len(rows), device=device)  # the row behind each line of the batch
    for t in range(sampling.max_new_tokens):
        logits = step(input_ids, mask)  # (A, V), A rows alive
        tokens, logprobs = draw(logits, sampling.temperature, streams[alive, t])
        for index, token, logprob in zip(alive.tolist(), tokens.tolist(), logprobs.tolist(), strict=True):
            rows[index].tokens.append(token)
            rows[index].logprobs.append(logprob)
        goes_on = torch.isin(tokens, stops, invert=True) & (t + 1 < sampling.max_new_tokens)
        if not goes_on.all():
            yield from ((index, rows[index]) for index in alive[~goes_on].tolist())
            keep = goes_on.nonzero().squeeze(1)
            if len(keep) == 0:
                return
            alive, tokens, mask = alive[keep], tokens[keep], mask[keep]
            step.keep(keep)
        input_ids = tokens[:, None]  # (A, 1)
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)


class _Step:
    """The model with its cache: takes new tokens, gives the logits behind the last of them."""

    def __init__(self, model: CausalLM) -> None:
        self._model = model
        base = without_adapter(model)
        self._cache = DynamicCache(config=base.config)
        accepted = inspect.signature(base.forward).parameters
        self._takes_positions = "position_ids" in accepted
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def __call__(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """input_ids (A, n) new tokens, mask (A, cached + n) -> (A, V)."""
        arguments: dict[str, Tensor] = {"input_ids": input_ids, "attention_mask": mask}
        if self._takes_positions:
            positions = (mask.cumsum(1) - mask).masked_fill(mask == 0, 0)  # of the tokens that count, from 0
            arguments["position_ids"] = positions[:, -input_ids.shape[1] :]
        output = self._model(**arguments, past_key_values=self._cache, use_cache=True, **self._last_only)
        logits: Tensor = output.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Forgets every other row."""
        self._cache.batch_select_indices(rows)


def left_padded(prompts: Sequence[Sequence[int]], pad_token_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """ids and mask, both (B, P) int64."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids.to(device), mask.to(device)


def _response_text(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], response: Sequence[int]) -> str:
    """The response as it continues the prompt: decoded alone, some tokenizers would drop the space it begins with."""
    before, whole, alone = (
        str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        for ids in (list(prompt), [*prompt, *response], list(response))
    )
    return whole[len(before) :] if whole.startswith(before) else alone


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """eval mode for a while: in train mode gradient checkpointing would switch the cache off."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

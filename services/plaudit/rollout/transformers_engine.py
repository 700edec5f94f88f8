"""The engine on plain transformers: `policy.generation` on the CPU, or on the GPU that Ray gave the worker."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from peft import PeftModel
from torch import nn

from plaudit.policy.generation import stream
from plaudit.policy.loading import load_causal_lm, load_tokenizer
from plaudit.policy.merging import AdapterMerger
from plaudit.policy.settings import PolicySettings
from plaudit.policy.weights import load_into
from plaudit.rollout.settings import RolloutSettings
from plaudit.telemetry.quiet import quiet_libraries
from plaudit.trajectory import RolloutRequest, Sampling, Trajectory, Weights


class TransformersEngine:
    """With LoRA the adapter is merged once per version, so that generation costs what it costs without one."""

    def __init__(self, policy: PolicySettings, settings: RolloutSettings) -> None:
        quiet_libraries()
        torch.set_num_threads(max(1, int(settings.cpus_per_worker)))  # more would fight over them, and change results
        dtype = getattr(torch, settings.dtype or policy.dtype)
        device = "cuda" if settings.gpus_per_worker and torch.cuda.is_available() else "cpu"
        self._tokenizer = load_tokenizer(policy)
        self._model = load_causal_lm(policy, weights_dtype=dtype)
        nn.Module.to(self._model, device)
        self._merger = AdapterMerger(self._model) if isinstance(self._model, PeftModel) else None

    def load_weights(self, weights: Weights) -> None:
        """`policy.weights.pack` of the policy's trainable parameters."""
        load_into(self._model, weights)
        if self._merger is not None:
            self._merger.merge()

    def generate(
        self, requests: Sequence[RolloutRequest], sampling: Sampling, weight_version: int
    ) -> Iterator[Trajectory]:
        """One batch of all requests."""
        pad = self._tokenizer.pad_token_id
        with self._merger.merged() if self._merger is not None else nullcontext():
            for _, one in stream(self._model, requests, sampling, pad, weight_version, self._tokenizer):
                yield one

"""Small classic trainers, and what they are given."""

from pathlib import Path

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from plaudit import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer

SAMPLED = {"do_sample": True, "top_k": 0, "top_p": 1.0, "max_new_tokens": 6}


def make(folder: Path, tokenizer: PreTrainedTokenizerBase, dataset: Dataset | None = None, **config) -> PPOTrainer:
    settings = PPOConfig(**{"batch_size": 4, "mini_batch_size": 4, "learning_rate": 1e-3, **config})
    model = AutoModelForCausalLMWithValueHead.from_pretrained(folder)
    return PPOTrainer(settings, model, None, tokenizer, dataset)


def ids(*lengths: int) -> list[torch.Tensor]:
    return [torch.arange(10, 10 + length) for length in lengths]


def values(*numbers: float) -> list[torch.Tensor]:
    return [torch.tensor(number) for number in numbers]

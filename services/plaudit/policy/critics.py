"""Critics: what reads values off states."""

from typing import NamedTuple

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.policy.dropout import disable_dropout
from plaudit.policy.loading import load_tokenizer, location
from plaudit.policy.settings import PolicySettings
from plaudit.policy.sources import explained


class Critic(NamedTuple):
    """A trunk from ids to states (d), None for the policy's own, and the head that reads values off them."""

    trunk: nn.Module | None
    head: nn.Linear


def zero_head(width: int) -> nn.Linear:
    """From a state to its value: 0 at first (N-details)."""
    head = nn.Linear(width, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def from_reward_model(model: str, tokenizer: PreTrainedTokenizerBase) -> Critic:
    """The trunk and score head of a decoder reward model, as InstructGPT has it: values start as its raw scores.

    `tokenizer` is the policy's: the critic reads the policy's ids. Raises ConfigurationError where that makes no sense.
    """
    settings = PolicySettings(model=model)
    if load_tokenizer(settings).get_vocab() != tokenizer.get_vocab():
        raise ConfigurationError(f"ppo.critic_model '{model}' has another vocabulary than the policy: train one on it")
    with explained(model):
        classifier = AutoModelForSequenceClassification.from_pretrained(
            location(settings), dtype=torch.float32, use_safetensors=True
        )
    score = getattr(classifier, "score", None)
    if not isinstance(score, nn.Linear) or score.out_features != 1:
        raise ConfigurationError(
            f"ppo.critic_model '{model}' is no decoder with one score: give a reward model made from a causal model"
        )
    disable_dropout(classifier)
    head = zero_head(score.in_features)
    with torch.no_grad():
        head.weight.copy_(score.weight)
        if score.bias is not None:
            head.bias.copy_(score.bias)
    return Critic(classifier.base_model, head)

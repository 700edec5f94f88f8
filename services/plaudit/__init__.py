"""RLHF as services: the programs behind `plaudit COMMAND`, and trl 0.11's PPO classes for programs of one's own.

from plaudit import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# gRPC's fork handlers kill about one child in a hundred between fork and exec once a channel is open, and Ray starts
# its node by fork and exec. Nothing here uses gRPC in a forked child, which is what the handlers are for.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

if TYPE_CHECKING:
    from plaudit.classic.config import PPOConfig as PPOConfig
    from plaudit.classic.core import LengthSampler as LengthSampler
    from plaudit.classic.core import set_seed as set_seed
    from plaudit.classic.model import AutoModelForCausalLMWithValueHead as AutoModelForCausalLMWithValueHead
    from plaudit.classic.model import create_reference_model as create_reference_model
    from plaudit.classic.trainer import PPOTrainer as PPOTrainer

_CLASSIC = {
    "AutoModelForCausalLMWithValueHead": "model",
    "LengthSampler": "core",
    "PPOConfig": "config",
    "PPOTrainer": "trainer",
    "create_reference_model": "model",
    "set_seed": "core",
}


def __getattr__(name: str) -> Any:
    """The classic names, imported when they are asked for: the services need none of them."""
    if name not in _CLASSIC:
        raise AttributeError(f"module 'plaudit' has no attribute '{name}'")
    return getattr(importlib.import_module(f"plaudit.classic.{_CLASSIC[name]}"), name)

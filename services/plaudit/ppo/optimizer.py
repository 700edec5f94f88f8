"""Adam, with the checks that every step passes through."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from plaudit.policy.actor_critic import is_critics
from plaudit.ppo.collective import Collective
from plaudit.ppo.gradient import Gradient
from plaudit.ppo.settings import PPOSettings


class Optimizer:
    """AdamW on float32 master weights."""

    def __init__(self, parameters: dict[str, nn.Parameter], ppo: PPOSettings, collective: Collective) -> None:
        self._parameters = parameters
        self._ppo = ppo
        self._gradient = Gradient(list(parameters.values()), collective)
        self._adam = torch.optim.AdamW(
            _groups(parameters, ppo),
            betas=ppo.adam_betas,
            eps=ppo.adam_eps,
            weight_decay=ppo.weight_decay,
            fused=True,
        )
        # What Adam makes in its first step; here so that a checkpoint can be loaded.
        for parameter in parameters.values():
            self._adam.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def zero_gradient(self) -> None:
        self._gradient.zero()

    def step(self, learning_rate_scale: float, *, critic_only: bool = False) -> tuple[float, bool]:
        """Adds the ranks' gradients, clips them, updates. Returns the norm before clipping and whether it was applied.

        A gradient that is not finite is not applied: weights and moments stay as they are. With `critic_only` those of
        the policy do.
        """
        with self._policy_left_out() if critic_only else contextlib.nullcontext():
            return self._step(learning_rate_scale)

    def _step(self, learning_rate_scale: float) -> tuple[float, bool]:
        norm = self._gradient.add_up()
        if not torch.isfinite(norm):
            return float(norm), False
        self._gradient.scale(torch.clamp(self._ppo.max_grad_norm / (norm + 1e-6), max=1.0))
        for group in self._adam.param_groups:
            group["lr"] = group["unscaled_lr"] * learning_rate_scale
        self._adam.step()
        return float(norm), True

    @contextlib.contextmanager
    def _policy_left_out(self) -> Iterator[None]:
        """Adam passes over parameters without a gradient, so that their moments and counts of steps stay too."""
        policy = [(p, p.grad) for name, p in self._parameters.items() if not is_critics(name) and p.grad is not None]
        for parameter, gradient in policy:
            gradient.zero_()
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, gradient in policy:
                parameter.grad = gradient

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step counts: `{moment}.{parameter}`. Views, not copies."""
        return {
            f"{moment}.{name}": tensor
            for name, parameter in self._parameters.items()
            for moment, tensor in self._adam.state[parameter].items()
        }


def _groups(parameters: dict[str, nn.Parameter], ppo: PPOSettings) -> list[dict[str, Any]]:
    """The policy's parameters and the critic's, each with its learning rate before the schedule scales it."""
    rate = ppo.learning_rate if ppo.critic_learning_rate is None else ppo.critic_learning_rate
    return [
        {"params": [p for name, p in parameters.items() if is_critics(name) is own], "unscaled_lr": unscaled}
        for own, unscaled in ((False, ppo.learning_rate), (True, rate))
    ]

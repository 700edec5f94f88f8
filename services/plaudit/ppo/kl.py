"""KL divergence between policy and reference: its estimators, and what sets the weight of its penalty.

All estimators read the log-ratio l = log pi(y) - log pi_ref(y) of tokens y sampled from pi. Source: John Schulman,
"Approximating KL Divergence" (joschu.net/blog/kl-approx.html).
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, expm1

from plaudit.errors import ConfigurationError
from plaudit.ppo.settings import KLSettings
from plaudit.uncertainty import Estimate

MAX_RELATIVE_ERROR = 0.2  # the controller's error is clipped to this (Ziegler et al. 2019, section 2.2)


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """l: unbiased, of either sign. For the penalty inside the reward; as a loss its gradient has expectation 0."""
    return logprobs - reference_logprobs


def k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """l^2 / 2: never negative, biased; as a loss on samples of the policy its gradient is that of the KL."""
    return (logprobs - reference_logprobs).square() / 2


def absolute(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """|l|: biased; punishes moving to either side."""
    return (logprobs - reference_logprobs).abs()


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """exp(-l) - 1 + l: unbiased, never negative, of low variance. For watching; its gradient is not that of the KL."""
    log_ratio = logprobs - reference_logprobs
    return expm1(-log_ratio) + log_ratio


PENALTIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "abs": absolute, "mse": k2}
"""By the names of `KLSettings.estimator`; "full", over the whole vocabulary, takes more than the tokens drawn."""


ENOUGH = 32
"""Responses. k1 is skewed, many a little below 0, few far above: without those few its standard error is too small."""


def is_too_negative(kl: Estimate) -> bool:
    """Whether the mean of k1 over responses, in nats, says that they are no samples of the policy.

    Chance alone hardly explains three standard errors below 0; less than a thousandth of a nat may be rounding.
    """
    return (kl.n or 0) >= ENOUGH and kl.value < -3 * (kl.standard_error or 0.0) - 1e-3


class KLController(Protocol):
    """Sets the coefficient of the penalty from step to step. The unit everywhere: nats per response."""

    coef: float
    """Beta, for the next step."""

    def update(self, kl_nats_per_response: float, episodes: int) -> None:
        """Takes the KL of one batch: summed over each response, averaged over its `episodes` responses."""
        ...

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        ...

    def load_state(self, state: dict[str, float]) -> None: ...


class FixedKL:
    """Beta stays what it is."""

    def __init__(self, coef: float) -> None:
        self.coef = coef

    def update(self, kl_nats_per_response: float, episodes: int) -> None:
        return None

    def state(self) -> dict[str, float]:
        return {"coef": self.coef}

    def load_state(self, state: dict[str, float]) -> None:
        """Nothing: a fixed beta belongs to the settings."""


class AdaptiveKL:
    """Proportional controller: beta *= 1 + clip(KL / target - 1, -0.2, 0.2) * episodes / horizon.

    Source: Ziegler et al. 2019, section 2.2; `AdaptiveKLController` of openai/lm-human-preferences.
    """

    def __init__(self, coef: float, target_kl_nats_per_response: float, horizon_episodes: float) -> None:
        if min(coef, target_kl_nats_per_response, horizon_episodes) <= 0:
            raise ConfigurationError("adaptive KL needs coef, target_kl_nats_per_response and horizon_episodes above 0")
        self.coef = coef
        self._target = target_kl_nats_per_response
        self._horizon = horizon_episodes

    def update(self, kl_nats_per_response: float, episodes: int) -> None:
        error = kl_nats_per_response / self._target - 1
        clipped = min(max(error, -MAX_RELATIVE_ERROR), MAX_RELATIVE_ERROR)
        self.coef *= 1 + clipped * episodes / self._horizon

    def state(self) -> dict[str, float]:
        return {"coef": self.coef}

    def load_state(self, state: dict[str, float]) -> None:
        self.coef = state["coef"]


def kl_controller(settings: KLSettings) -> KLController:
    """The controller that `settings` names."""
    if settings.controller == "fixed":
        return FixedKL(settings.coef)
    return AdaptiveKL(settings.coef, settings.target_kl_nats_per_response, settings.horizon_episodes)

"""trl's `kl_ctl`."""

from plaudit.ppo.kl import kl_controller
from plaudit.ppo.settings import KLSettings


class KLControl:
    """`value` is the weight of the penalty, which programs read, keep and put back."""

    def __init__(self, settings: KLSettings) -> None:
        self._controller = kl_controller(settings)

    @property
    def value(self) -> float:
        return self._controller.coef

    @value.setter
    def value(self, coef: float) -> None:
        self._controller.coef = coef

    def update(self, current: float, n_steps: int) -> None:
        """Takes one batch's KL in nats per response, and its number of responses."""
        self._controller.update(current, n_steps)

"""The law of a single mode: how its eigenvalue rises to a plateau.

Apart from its fit (`ssljax.analytic.mode_fit`), which loads the solvers: the tables of
methods name these laws, and every command loads those tables.
"""

import math
from dataclasses import dataclass
from typing import Literal

from ssljax.analytic.inputs import check_choice, check_positive

CURVES = ("logistic", "lambert")


@dataclass(frozen=True)
class ModeLaw:
    """The curve of one mode: ``x = (value / plateau)^power``.

    Attributes:
        curve: "logistic" for ``dx/dt = rate x (1 - x)``, or "lambert" for ``dx/dt =
            rate x^2 (1 - x)``, which waits for long while it is small.
        power: of the value, > 0: the exponent of a closed-form predictor.
    """

    curve: Literal["logistic", "lambert"] = "logistic"
    power: float = 1.0

    def __post_init__(self) -> None:
        check_choice("curve", self.curve, CURVES)
        check_positive("power", self.power)

    @property
    def half(self) -> float:
        """The value over its plateau at ``x = 1/2``, where a mode is half learned."""
        return 0.5 ** (1.0 / self.power)

    def time_to_half(self, value: float) -> float:
        """Return rate x time from ``value``, a share of the plateau, to the crossing.

        >>> round(ModeLaw().time_to_half(0.01), 4)  # log 99
        4.5951
        """
        x = value**self.power
        passed = math.log(x) - math.log1p(-x)
        # That curve has ``log(x / (1 - x)) - 1 / x`` in the place of log odds.
        return 1.0 / x - 2.0 - passed if self._waits else -passed

    @property
    def _waits(self) -> bool:
        return self.curve == "lambert"

    def sensitivity(self, value: float) -> float:
        """Return the derivative of `time_to_half` by the log of the plateau."""
        x = value**self.power
        return self.power / ((1.0 - x) * (x if self._waits else 1.0))

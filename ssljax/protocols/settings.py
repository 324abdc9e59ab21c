"""What a caller of `ssljax evaluate` can set for single protocols."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from ssljax.config.checks import ConfigError, at_least, check_types, positive, refuse

Protocol = Literal[
    "knn",
    "knn_euclidean",
    "linear",
    "spectrum",
    "linear_sgd",
    "semi_supervised",
    "finetune",
]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
"""The names, in the order in which the help shows them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The protocols to run, and their settings. The texts are those of ``--help``."""

    protocol: list[Protocol] = field(default_factory=lambda: ["knn", "linear"])
    """Protocols to run; without labels only `spectrum` is possible."""
    seed: int | None = None
    """Draws the held-out images, the lists of labels and the classifier; the run's by
    default."""
    epochs: float | None = None
    """Of the protocols that train: epochs. None: linear_sgd 100, finetune 30,
    semi_supervised 60 up to 1 % of the labels and 30 above."""
    learning_rates: list[float] | None = None
    """Rates for a batch of 256. Of several, one is chosen on a held-out tenth of the
    training images. None: linear_sgd 0.3, finetune and semi_supervised 0.05."""
    encoder_factor: float = 1.0
    """Factor on the encoder's learning rate in finetune and semi_supervised."""
    batch_size: int | None = None
    """Images per step of the protocols that train; None takes up to 256."""
    optimizer: Literal["sgd", "lars"] = "sgd"
    """Optimizer of the protocols that train."""
    weight_decay: float = 0.0
    """Weight decay of the protocols that train."""
    fractions: list[float] = field(default_factory=lambda: [0.01, 0.1])
    """Shares of the labels that semi_supervised trains on."""
    label_list: str | None = None
    """File of image names for semi_supervised instead, one a line."""
    baseline: bool = False
    """Train from the untrained encoder too, which doubles the time."""

    def __post_init__(self):
        if not self.protocol:
            raise ConfigError(f"--protocol names none; allowed: {', '.join(PROTOCOLS)}")
        for name in self.protocol:
            if name not in PROTOCOLS:
                raise ConfigError(
                    f"protocol {name!r} is unknown; allowed: {', '.join(PROTOCOLS)}"
                )
        self._check_training()

    def _check_training(self) -> None:
        check_types(self, "")
        positive(self, "", "epochs", "encoder_factor")
        at_least(self, "", 0, "weight_decay", "seed")
        at_least(self, "", 2, "batch_size")
        rates = self.learning_rates
        if rates is not None and not (rates and all(0 < x < math.inf for x in rates)):
            refuse("learning_rates", rates, "one or more numbers > 0")
        shares = self.fractions
        if not (shares and all(0 < x <= 1 for x in shares)):
            refuse("fractions", shares, "one or more numbers above 0 and up to 1")

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Return the settings of keyword arguments.

        Raises:
            ConfigError: for a name that is not a setting.

        >>> Settings.of({"protocol": ["knn"]}).protocol
        ['knn']
        """
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"evaluate has no setting {name!r}; allowed: {', '.join(known)}"
                )
        return cls(**values)

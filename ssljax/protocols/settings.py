"""What a caller of `ssljax evaluate` can set for single protocols."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from ssljax.config.checks import (
    LARGEST_SEED,
    ConfigError,
    at_least,
    check_types,
    nearest,
    positive,
    refuse,
)

Protocol = Literal[
    "knn",
    "knn_euclidean",
    "linear",
    "spectrum",
    "online",
    "layers",
    "transfer",
    "scores",
    "linear_sgd",
    "semi_supervised",
    "finetune",
]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
"""The names, in the order in which the help shows them."""
WITHOUT_LABELS = ("spectrum", "transfer")
"""Protocols that need no labels of the run's images."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The protocols to run, and their settings. The texts are those of ``--help``."""

    protocol: list[Protocol] = field(default_factory=lambda: ["knn", "linear"])
    """Protocols to run; without labels the default is `spectrum`."""
    seed: int | None = None
    """Draws the held-out and few-shot images, and the views; the run's by default."""
    k: list[int] = field(default_factory=lambda: [1, 5, 20, 200])
    """`knn`: numbers of neighbours."""
    temperature: float = 0.1
    """`knn`: a neighbour votes with weight exp(cosine / temperature)."""
    transfer_data: list[str] = field(default_factory=list)
    """`transfer`: data sets, each a folder of images or a name as for `--data`."""
    shots: list[int] = field(default_factory=lambda: [1, 5, 10, 20])
    """`transfer`: images per class of the few-shot classifiers."""
    draws: int = 10
    """`transfer`: random draws of those images, for the mean and its interval."""
    lidar_images: int = 1000
    """`spectrum`, `scores`: images that LiDAR is measured on."""
    lidar_views: int = 10
    """`spectrum`, `scores`: augmented views of each of them."""
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
                    f"{nearest(name, PROTOCOLS)}"
                )
        check_types(self, "")
        self._check_frozen()
        self._check_training()

    def _check_frozen(self) -> None:
        if self.seed is not None and not 0 <= self.seed <= LARGEST_SEED:
            refuse("seed", self.seed, f"0 to {LARGEST_SEED}")
        for name in ("k", "shots"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                refuse(name, values, "whole numbers from 1 on")
        if not self.temperature > 0:
            refuse("temperature", self.temperature, "above 0")
        for name, least in (("draws", 1), ("lidar_images", 2), ("lidar_views", 2)):
            if getattr(self, name) < least:
                refuse(name, getattr(self, name), f"at least {least}")
        if "transfer" in self.protocol and not self.transfer_data:
            raise ConfigError(
                "protocol transfer needs data sets: --transfer-data NAME or DIR ..."
            )
        if self.transfer_data and "transfer" not in self.protocol:
            raise ConfigError("--transfer-data needs --protocol transfer")

    def _check_training(self) -> None:
        positive(self, "", "epochs", "encoder_factor")
        at_least(self, "", 0, "weight_decay")
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
                    f"{nearest(name, known)}"
                )
        return cls(**values)

"""Describe an encoder without its weights: architecture and preprocessing, as JSON."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.config.checks import ConfigError
from ssljax.data.preprocess import default_crop_fraction
from ssljax.models import resnet
from ssljax.models.resnet import ResNet
from ssljax.runs.encoder import Restored

TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""Architectures that torchvision, timm and Detectron2 have as well."""


@dataclass(frozen=True)
class Description:
    """The network and its input: everything beside the weights.

    The preprocessing is that of `ssljax.data.preprocess`: crop the central square of
    ``crop_fraction`` of the shorter side, resize it to ``size`` pixels (bilinear,
    antialiased) unless the image has that size, divide by 255, subtract ``mean``,
    divide by ``std``.
    """

    arch: str
    stem: str
    stem_padding: int | None
    width: float
    size: int
    """Side of the images in pixels."""
    mean: tuple[float, ...]
    """Of each channel, in [0, 1]."""
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return len(self.mean)

    @property
    def crop_fraction(self) -> float:
        """Side of the evaluation's crop over the shorter side of the image."""
        return default_crop_fraction(self.size)

    def encoder(self) -> ResNet:
        """Return the encoder, computing in float32."""
        return resnet(
            self.arch,
            stem=self.stem,
            stem_padding=self.stem_padding,
            width=self.width,
        )

    def variables(self) -> Any:
        """Return the shapes of the encoder's variables, without computing any."""
        return _shapes(self)

    def as_object(self) -> dict[str, Any]:
        """Return the object for ``ssljax.json``."""
        return dataclasses.asdict(self) | {
            "channels": self.channels,
            "crop_fraction": self.crop_fraction,
            "interpolation": "bilinear, antialiased",
            "features": self.encoder().feature_dim,
        }

    @classmethod
    def from_object(cls, value: Mapping[str, Any], where: Any) -> "Description":
        """Return the description in an object as JSON gives it.

        Args:
            value: the object.
            where: the file, for the message.

        Raises:
            ConfigError: if a value is missing or not allowed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in names if name not in value]
        if missing:
            raise ConfigError(
                f"{where} describes no encoder (no {missing[0]!r}); export it again"
            )
        found = {name: value[name] for name in names}
        try:
            found |= {key: tuple(map(float, found[key])) for key in ("mean", "std")}
            description = cls(**found)
            channels = {len(description.mean), len(description.std)}
            if len(channels) > 1 or not description.mean or min(description.std) <= 0:
                raise ValueError(
                    "mean and std need one number per channel, std above 0"
                )
            if description.size < 1:
                raise ValueError(f"size is {description.size}")
            description.encoder()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{where} describes an encoder that this version does not know "
                f"({error}); use the version of ssljax that wrote it"
            ) from error
        return description


@functools.lru_cache(maxsize=4)  # tracing takes a second
def _shapes(description: Description) -> Any:
    size, encoder = description.size, description.encoder()
    images = jnp.zeros((2, size, size, description.channels), jnp.float32)
    return jax.eval_shape(lambda: encoder.init(jax.random.key(0), images, train=True))


def describe_run(run: Restored) -> Description:
    """Return the description of a run's encoder."""
    model = run.config.model
    return Description(
        arch=model.arch,
        stem=run.setup.stem,
        stem_padding=model.stem_padding,
        width=model.width,
        size=run.setup.view_size,
        mean=tuple(map(float, run.setup.mean)),
        std=tuple(map(float, run.setup.std)),
    )

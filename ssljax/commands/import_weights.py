"""`ssljax import FILE --workdir DIR`: a foreign ResNet as a run folder."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from ssljax.commands.parse import parse_positional
from ssljax.config.checks import ConfigError
from ssljax.config.paths import url_of


@dataclass(frozen=True)
class Import:
    """Write a run folder with the weights of a ResNet that was trained elsewhere.

    FILE is a torch or safetensors file with torchvision's names, with or without
    prefixes and heads, or a folder that `ssljax export` wrote.
    """

    file: Path
    """File of weights, or folder of an export."""
    workdir: Path | None = None
    """Run folder to create."""
    arch: str = "resnet50"
    """Architecture: `resnet18`, `resnet34`, `resnet50`, `resnet101` or `resnet152`."""
    stem: Literal["auto", "small", "medium", "large"] = "auto"
    """First layers; `auto` chooses by the image size."""
    stem_padding: int | None = None
    """Zero padding of the first convolution in pixels; None keeps the size."""
    width: float = 1.0
    """Factor on the channels of every layer."""
    image_size: int = 224
    """Side of the images that the network takes, in pixels."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Mean of each channel in [0, 1] that the network was trained with."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    """Standard deviation of each channel that the network was trained with."""
    data: str | None = None
    """Data set to evaluate on: a folder, or a name that `ssljax data list` shows."""
    prefix: str | None = None
    """What the encoder's names begin with, such as `backbone.`; found by default."""
    drop: list[str] = field(default_factory=list)
    """First names of arrays to leave out, beside the known heads."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(
        Import,
        words,
        command="ssljax import",
        flags=[field.name for field in fields(Import) if field.name != "file"],
    )
    if asked.workdir is None:
        raise ConfigError(
            "--workdir is missing; write: ssljax import FILE --workdir DIR"
        )
    from ssljax.exports import import_weights

    lines = import_weights(
        asked.file,
        asked.workdir,
        arch=asked.arch,
        stem=asked.stem,
        stem_padding=asked.stem_padding,
        width=asked.width,
        image_size=asked.image_size,
        mean=asked.mean,
        std=asked.std,
        data=asked.data,
        prefix=asked.prefix,
        drop=asked.drop,
        command=["ssljax", "import", *words],
    )
    print("\n".join(lines))
    more = "" if asked.data else " --data NAME"
    print(f"next: ssljax evaluate {url_of(asked.workdir) or asked.workdir}{more}")
    return 0

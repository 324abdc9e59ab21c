"""Import a foreign ResNet as a run folder with one checkpoint, at step 0."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.config import AugmentConfig, Config, DataConfig, MethodConfig, ModelConfig
from ssljax.config.checks import ConfigError
from ssljax.config.paths import in_bucket, local
from ssljax.exports import comparison, reference
from ssljax.exports.description import Description
from ssljax.exports.folder import RECORD, sha256
from ssljax.exports.foreign import find_resnet, read_arrays, suggest
from ssljax.exports.load import description_of, read_export
from ssljax.exports.names import from_torch, to_torch
from ssljax.methods import resolve
from ssljax.models import choose_stem
from ssljax.models.resnet import ARCHS
from ssljax.runs import environment
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.folder import RunFolder
from ssljax.runs.initial import with_encoder
from ssljax.runs.records import DataRecord
from ssljax.runs.setup import assemble
from ssljax.training.state import creator

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation that torchvision's ResNets were trained with."""


def import_weights(
    file: str | Path,
    workdir: str | Path,
    *,
    arch: str = "resnet50",
    stem: str = "auto",
    stem_padding: int | None = None,
    width: float = 1.0,
    image_size: int = 224,
    mean: Sequence[float] = IMAGENET[0],
    std: Sequence[float] = IMAGENET[1],
    data: str | None = None,
    prefix: str | None = None,
    drop: Sequence[str] = (),
    command: Sequence[str] = ("ssljax", "import"),
) -> list[str]:
    """Write a run folder whose only checkpoint has a foreign encoder's weights.

    `ssljax.evaluate`, `ssljax.load_encoder` and `ssljax.export` take it as any other.
    The imported network is run beside a forward pass in PyTorch's conventions on the
    file's own arrays, and refused where features differ.

    Args:
        file: torch or safetensors file of a ResNet with torchvision's names, with or
            without prefixes and heads; or a folder that `ssljax.export` wrote, whose
            ``ssljax.json`` then replaces the arguments from ``arch`` to ``std``.
        workdir: folder to create.
        arch: architecture.
        stem: ``small``, ``medium``, ``large``; ``auto`` chooses by the image size.
        stem_padding: of the first convolution; None keeps the size.
        width: factor on all channels.
        image_size: side of the images that the network takes, in pixels.
        mean: of each channel in [0, 1], as the network was trained with.
        std: likewise.
        data: data set to evaluate on: a folder of images, or a name as for `data.name`.
        prefix: what the encoder's names begin with; None finds it.
        drop: first names of arrays to leave out, beside the known heads.
        command: the command line, for the record.

    Returns:
        Lines that say what was done.

    Raises:
        ConfigError: if the file holds no such ResNet, arrays are missing or left over,
            or the folder holds something else.
    """
    file = local(file, "FILE")
    exported = (file / RECORD).is_file()
    if exported:
        description = description_of(file)
    else:
        description = _described(
            arch, stem, stem_padding, width, image_size, tuple(mean), tuple(std)
        )
    folder = RunFolder(workdir)
    config = _config(description, data)
    folder.check_claim(config)
    origin: dict[str, Any] = {"file": str(file), "prefix": "", "dropped": []}
    if exported:
        description, variables = read_export(file)
        arrays = to_torch(variables)
        origin["sha256"] = sha256((file / RECORD).read_bytes())
    else:
        found = find_resnet(read_arrays(file), where=file, prefix=prefix, drop=drop)
        arrays = found.arrays
        try:
            variables = from_torch(arrays, description, where=file)
        except ConfigError as error:
            raise ConfigError(f"{error}{suggest(arrays)}") from None
        origin |= {
            "sha256": sha256(file.read_bytes()),
            "prefix": found.prefix,
            "dropped": list(found.dropped),
        }
    check = _checked(description, variables, arrays)
    _write(folder, config, description, variables, origin, command)
    kept = sum(x.size for x in jax.tree.leaves(variables["params"]))
    lines = [f"{description.arch} with {kept:,} parameters from {file}"]
    if origin["prefix"]:
        lines.append(f"prefix {origin['prefix']!r} removed")
    if origin["dropped"]:
        lines.append(f"left out: {', '.join(origin['dropped'])}")
    lines.append(
        f"features within {check.difference:.1e} of {check.against}, on {check.images}"
    )
    return lines


def _described(
    arch: str,
    stem: str,
    stem_padding: int | None,
    width: float,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Description:
    if len(mean) != len(std) or not mean or min(std) <= 0:
        raise ConfigError(
            f"--mean is {mean} and --std is {std}; give both one number per channel, "
            "deviations above 0"
        )
    if size < 1:
        raise ConfigError(f"--image-size is {size}; allowed: at least 1")
    if arch not in ARCHS:
        raise ConfigError(f"--arch is {arch!r}; allowed: {', '.join(ARCHS)}")
    value = {
        "arch": arch,
        "stem": choose_stem(size) if stem == "auto" else stem,
        "stem_padding": stem_padding,
        "width": width,
        "size": size,
        "mean": mean,
        "std": std,
    }
    return Description.from_object(value, "the command line")


def _config(description: Description, data: str | None) -> Config:
    """Return the config of a run that only holds an encoder."""
    folder = data is not None and (in_bucket(data) or Path(data).expanduser().is_dir())
    path = data if folder else None
    name = "arrays" if data is None else data if path is None else "folder"
    return resolve(
        Config(
            # A method is needed to describe a run; without heads none is carried over.
            method=MethodConfig("simclr", projector="none"),
            data=DataConfig(name, path=path, image_size=description.size),
            model=ModelConfig(
                description.arch,
                width=description.width,
                stem=description.stem,  # pyright: ignore[reportArgumentType]
                stem_padding=description.stem_padding,
            ),
            augment=AugmentConfig(size=description.size),
        )
    )


def _checked(
    description: Description, variables: Any, arrays: dict[str, np.ndarray]
) -> comparison.Check:
    """Compare our network with the file's own arrays, run as torch would."""
    images, named = comparison.generated(description.size, description.channels)
    inputs = comparison.preprocess(
        images, size=description.size, mean=description.mean, std=description.std
    )
    ours = comparison.our_features(description.encoder(), variables, inputs)
    theirs = reference.features(
        description, arrays, np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    )
    return comparison.compare(
        ours, theirs, against="a forward pass in torch's conventions", images=named
    )


def _write(
    folder: RunFolder,
    config: Config,
    description: Description,
    variables: Any,
    origin: dict[str, Any],
    command: Sequence[str],
) -> None:
    size, channels = description.size, description.channels
    record = DataRecord(
        name=config.data.name,
        examples=config.batch_size,
        image_shape=(size, size, channels),
        mean=description.mean,
        std=description.std,
        note=f"weights imported from {origin['file']}; no images were trained on here, "
        "so the number of examples only fills the record",
    )
    setup = assemble(
        config,
        image_shape=(size, size, channels),
        num_classes=None,
        examples=config.batch_size,
        mean=description.mean,
        std=description.std,
    )
    state = with_encoder(creator(setup)(), variables)
    if folder.claim(config):
        raise ConfigError(f"{folder.path} already holds a run; use another --workdir")
    launch = environment.this_launch(command)
    with folder.refusing():
        launch = replace(launch, extra={"imported": origin})
        environment.append(folder.environment, launch)
        folder.write_data(record)
        folder.checkpoints.mkdir(exist_ok=True)
        checkpoints = Checkpoints(folder.checkpoints, keep=1)
        try:
            checkpoints.save(0, state, {"step": 0})
        finally:
            checkpoints.close()

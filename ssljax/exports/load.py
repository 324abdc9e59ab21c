"""Load an encoder from a run folder, an export, or a Hugging Face repository."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path
from ssljax.data.augment import for_evaluation, normalize
from ssljax.exports import formats, hub
from ssljax.exports.description import Description
from ssljax.exports.folder import RECORD, sha256
from ssljax.exports.names import from_torch
from ssljax.runs import encoder, files
from ssljax.runs.encoder import Encode

_READABLE = ("safetensors", "timm", "flax")


def load_encoder(source: str | Path, *, untrained: bool = False) -> Encode:
    """Return a frozen encoder as a pure function.

    Args:
        source: folder of a run, see `ssljax.pretrain`; folder that `ssljax.export`
            wrote as ``flax``, ``safetensors`` or ``timm``; or, if no such folder
            exists, a Hugging Face repository ``ORG/NAME`` with such an export.
        untrained: return the network of a run before its first step, as a baseline.

    Returns:
        ``encode(images)``: features ``[N, F]`` float32 of uint8 images
        ``[N, H, W, C]``; BatchNorm uses its running statistics. It composes with
        ``jax.jit``, ``jax.vmap`` and other code.

    Raises:
        ConfigError: if the folder has no run, no checkpoint yet, or an export that
            cannot be used.
    """
    folder = as_path(source)
    if not folder.exists() and hub.is_name(str(source)):
        folder = hub.download(str(source))
    if not (folder / RECORD).is_file():
        return encoder.load_encoder(folder, untrained=untrained)
    if untrained:
        raise ConfigError(
            f"{folder} is an export, which has trained weights only; name the run "
            "folder for untrained ones"
        )
    description, variables = read_export(folder)
    return as_function(description, variables)


def description_of(folder: str | Path) -> Description:
    """Return what an export holds beside the weights.

    Raises:
        ConfigError: if ``ssljax.json`` is missing, damaged or of a newer version.
    """
    return Description.from_object(*_described(as_path(folder)))


def read_export(folder: str | Path) -> tuple[Description, Any]:
    """Return the description and the variables of an export.

    Args:
        folder: as `ssljax.export` wrote it.

    Raises:
        ConfigError: if a file is missing, damaged or of a format that only other
            libraries read.
    """
    folder = as_path(folder)
    description = description_of(folder)
    record = files.read_object(folder / RECORD)
    name = str(record.get("format"))
    if name not in _READABLE:
        raise ConfigError(
            f"{folder} is an export for {name}; load_encoder reads "
            f"{', '.join(_READABLE)}: export the run again in one of these"
        )
    path = folder / formats.get(name).file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({files.reason_of(error)}); export it again"
        ) from error
    digests = record.get("files")
    if not isinstance(digests, Mapping) or digests.get(path.name) != sha256(content):
        raise ConfigError(
            f"{path} differs from the digest in {RECORD}; download or export it again"
        )
    if name == "flax":
        return description, formats.read_flax(content, description, path)
    arrays = formats.read_safetensors(content, path)
    return description, from_torch(arrays, description, where=path)


def as_function(description: Description, variables: Any) -> Encode:
    """Return ``encode(images)`` of an encoder, compiled once per batch shape."""
    network = description.encoder()

    @jax.jit
    def compiled(variables: Any, images: jax.Array) -> Any:
        x = for_evaluation(images, size=description.size)
        x = normalize(x, description.mean, description.std)
        return network.apply(variables, x, train=False)

    variables = jax.tree.map(jnp.asarray, variables)
    return encoder.of_images(lambda images: compiled(variables, images))


def _described(folder: Path) -> tuple[Mapping[str, Any], Path]:
    path = folder / RECORD
    found = files.read_object(path).get("encoder")
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"{folder} holds no export (no usable {RECORD}); `ssljax export RUN --out "
            f"{folder}` writes one"
        )
    return found, path

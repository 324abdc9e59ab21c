"""The formats of an export: which file each writes, and who reads it back.

Every reader takes the bytes that will be on disk, not the arrays they were made of.
"""

import io
import json
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import serialization

from ssljax.config.checks import ConfigError, nearest
from ssljax.exports import onnx_graph, reference, torch_module
from ssljax.exports.comparison import our_features
from ssljax.exports.description import TORCHVISION, Description
from ssljax.exports.extras import installed, need
from ssljax.exports.names import LAYOUTS, Arrays, shapes_of, to_torch


class Format(NamedTuple):
    """One format: its file, how it is written, and how it is run."""

    file: str
    write: Callable[[Description, Any], bytes]
    """From description and variables to the content of the file."""
    run: Callable[[Description, bytes, np.ndarray], tuple[np.ndarray, str]]
    """Features of normalised images ``[N, H, W, C]`` by the content of the file, and
    the program that computed them."""
    foreign: bool = False
    """Whether only networks that the other library has can be exported."""


def get(name: str) -> Format:
    """Return a format by name.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in FORMATS:
        raise ConfigError(
            f"--format is {name!r}; allowed: {', '.join(FORMATS)}"
            f"{nearest(name, FORMATS)}"
        )
    return FORMATS[name]


def check_network(name: str, description: Description) -> None:
    """Refuse a network that the other library of a format does not have.

    Raises:
        ConfigError: for another stem, width or architecture than it has.
    """
    if not get(name).foreign:
        return
    why = None
    if description.arch not in TORCHVISION:
        why = f"a {description.arch}"
    elif description.stem != "large" or description.stem_padding not in (None, 3):
        why = f"a ResNet with a {description.stem} stem" + (
            "" if description.stem != "large" else " padded otherwise than by 3"
        )
    elif description.width != 1:
        why = f"a ResNet of width {description.width:g}"
    if why is not None:
        raise ConfigError(
            f"{name} does not have {why}; use --format torch or safetensors, and "
            "ssljax.exports.torch_module.build for the module"
        )


# What each reader returns: features of normalised images, and the program that ran.
Ran = tuple[np.ndarray, str]


def _channels_first(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def _run_arrays(description: Description, arrays: Arrays, images: np.ndarray) -> Ran:
    """Run arrays of torch's names in torch, or where it is missing as torch would."""
    images = _channels_first(images)
    if installed("torch"):
        return torch_module.features(description, arrays, images), "torch"
    found = reference.features(description, arrays, images)
    return found, "a forward pass in torch's conventions"


def _torch_write(description: Description, variables: Any) -> bytes:
    return torch_module.to_bytes(to_torch(variables))


def _torch_run(description: Description, content: bytes, images: np.ndarray) -> Ran:
    return _run_arrays(description, torch_module.read(io.BytesIO(content)), images)


def _safetensors() -> Any:
    return need(
        "safetensors.numpy",
        extra="export",
        what="a safetensors file",
        otherwise="use --format flax, which needs no other package",
    )


def read_safetensors(content: bytes, where: Any) -> Arrays:
    """Return the arrays of a safetensors file by name.

    Raises:
        ConfigError: if safetensors is not installed or the content is damaged.
    """
    package = _safetensors()
    try:
        found = package.load(content)
    except Exception as error:  # of a type of its own
        raise ConfigError(
            f"{where} is not a whole safetensors file ({error}); download or export it "
            "again"
        ) from error
    # Half precision is as good as float32 here, and NumPy has no bfloat16 of its own.
    return {
        name: x.astype(np.float32) if x.dtype.kind in "fV" else x
        for name, x in found.items()
    }


def _safetensors_write(description: Description, variables: Any) -> bytes:
    # "pt" is what readers in PyTorch look for: names and axes are torch's.
    metadata = {"format": "pt", "ssljax": json.dumps(description.as_object())}
    return _safetensors().save(to_torch(variables), metadata)


def _safetensors_run(
    description: Description, content: bytes, images: np.ndarray
) -> Ran:
    return _run_arrays(description, read_safetensors(content, "the export"), images)


def _timm_run(description: Description, content: bytes, images: np.ndarray) -> Ran:
    if not (installed("timm") and installed("torch")):
        return _safetensors_run(description, content, images)
    import timm  # pyright: ignore[reportMissingImports]

    arrays = read_safetensors(content, "the export")
    module = timm.create_model(
        description.arch, num_classes=0, in_chans=description.channels
    )
    found = torch_module.run_strictly(module, arrays, _channels_first(images))
    return found, "timm"


def _onnx_write(description: Description, variables: Any) -> bytes:
    metadata = {"ssljax": json.dumps(description.as_object())}
    return onnx_graph.to_bytes(description, to_torch(variables), metadata=metadata)


def _onnx_run(description: Description, content: bytes, images: np.ndarray) -> Ran:
    return onnx_graph.features(content, _channels_first(images)), "onnxruntime"


def _flax_write(description: Description, variables: Any) -> bytes:
    return serialization.msgpack_serialize(variables)


def read_flax(content: bytes, description: Description, where: Any) -> Any:
    """Return the variables in a msgpack file of Flax.

    Raises:
        ConfigError: if it is damaged, or holds another network.
    """
    wanted = description.variables()
    try:
        found = serialization.msgpack_restore(content)
    except Exception as error:  # msgpack raises many types for damaged files
        raise ConfigError(f"{where} is damaged; export it again") from error
    if jax.tree.map(np.shape, found) != jax.tree.map(np.shape, wanted):
        raise ConfigError(
            f"{where} does not hold the {description.arch} that ssljax.json describes; "
            "export it again"
        )
    return found


def _flax_run(description: Description, content: bytes, images: np.ndarray) -> Ran:
    variables = read_flax(content, description, "the export")
    return our_features(description.encoder(), variables, images), "Flax, read again"


def _detectron2_write(description: Description, variables: Any) -> bytes:
    arrays = to_torch(variables, layout="detectron2")
    # Without the heuristics, Detectron2 would match whole names only, which begin with
    # `backbone.bottom_up.` in some of its models.
    record = {"model": arrays, "__author__": "ssljax", "matching_heuristics": True}
    return pickle.dumps(record, protocol=4)


def _detectron2_run(
    description: Description, content: bytes, images: np.ndarray
) -> Ran:
    # Our own bytes, from a moment ago; foreign pickles are never loaded.
    arrays = pickle.loads(content)["model"]
    # By name alone: the arrays stay as the file has them.
    names = {LAYOUTS["detectron2"](name): name for name in shapes_of(description)}
    if names.keys() != arrays.keys():
        raise AssertionError(f"names of Detectron2: {names.keys() ^ arrays.keys()}")
    found = {names[name]: array for name, array in arrays.items()}
    return _run_arrays(description, found, images)


FORMATS: dict[str, Format] = {
    "torch": Format("encoder.pth", _torch_write, _torch_run),
    "safetensors": Format("model.safetensors", _safetensors_write, _safetensors_run),
    "onnx": Format("encoder.onnx", _onnx_write, _onnx_run),
    "flax": Format("encoder.msgpack", _flax_write, _flax_run),
    "timm": Format("model.safetensors", _safetensors_write, _timm_run, True),
    "detectron2": Format("encoder.pkl", _detectron2_write, _detectron2_run, True),
}
"""Formats by the name that ``--format`` takes."""

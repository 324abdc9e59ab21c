"""Map our parameter tree to flat tables of arrays with PyTorch's names, and back.

Our ``layer1_0/downsample_conv/kernel`` ``[h, w, in, out]`` is torchvision's
``layer1.0.downsample.0.weight`` ``[out, in, h, w]``. timm's ResNets have the same
names. Detectron2 has others, without the counters of BatchNorm.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from ssljax.config.checks import ConfigError
from ssljax.exports.description import Description

Arrays = dict[str, np.ndarray]

# Collection and name of a leaf here, and its name there.
_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
_COUNTER = "num_batches_tracked"
_SHOWN = 3  # names in a message


def _detectron2(name: str) -> str:
    """Return Detectron2's name of an array.

    >>> _detectron2("layer1.0.downsample.1.weight"), _detectron2("bn1.bias")
    ('res2.0.shortcut.norm.weight', 'stem.conv1.norm.bias')
    """
    name = re.sub(r"^(?!layer)", "stem.", name)
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    return name.replace("downsample.0", "shortcut").replace(
        "downsample.1", "shortcut.norm"
    )


LAYOUTS: dict[str, Callable[[str], str]] = {
    "torchvision": lambda name: name,
    "timm": lambda name: name,
    "detectron2": _detectron2,
}
"""From torchvision's name of an array to the name in another library."""
_WITHOUT_COUNTERS = ("detectron2",)


def to_torch(variables: Any, *, layout: str = "torchvision") -> Arrays:
    """Return a flat table of the encoder's arrays in PyTorch's names and axes.

    Args:
        variables: ``{"params": ..., "batch_stats": ...}`` of the encoder.
        layout: a key of `LAYOUTS`.

    Returns:
        float32 arrays by name, kernels ``[out, in, h, w]``. Each BatchNorm has its
        counter ``num_batches_tracked`` at zero, except in Detectron2's layout.

    >>> ours = {"params": {"conv1": {"kernel": np.zeros((7, 7, 3, 64), np.float32)}}}
    >>> {name: array.shape for name, array in to_torch(ours).items()}
    {'conv1.weight': (64, 3, 7, 7)}
    """
    found: Arrays = {}
    rename = LAYOUTS[layout]
    for path, leaf in _leaves(variables).items():
        array = np.asarray(leaf)
        if path[-1] == "kernel":
            array = array.transpose(3, 2, 0, 1)
        found[rename(_name(path))] = np.ascontiguousarray(array)
        if path[-1] == "var" and layout not in _WITHOUT_COUNTERS:
            counter = _name(path).removesuffix("running_var") + _COUNTER
            found[rename(counter)] = np.zeros((), np.int64)
    return dict(sorted(found.items()))


def from_torch(
    arrays: Mapping[str, np.ndarray],
    description: Description,
    *,
    layout: str = "torchvision",
    where: Any = "the file",
) -> Any:
    """Return our variables from a flat table in PyTorch's names and axes.

    Args:
        arrays: as `to_torch` returns them; the counters of BatchNorm may be missing.
        description: the encoder that they must fit.
        layout: a key of `LAYOUTS`.
        where: the file, for messages.

    Returns:
        ``{"params": ..., "batch_stats": ...}``, float32.

    Raises:
        ConfigError: if an array is missing, left over, of another shape or not finite.
    """
    rename = LAYOUTS[layout]
    wanted = {
        rename(_name(path)): (path, leaf)
        for path, leaf in _leaves(description.variables()).items()
    }
    given = {name: x for name, x in arrays.items() if not name.endswith(_COUNTER)}
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    network = f"a {description.arch} with a {description.stem} stem"
    if missing or extra:
        parts = [
            f"{len(names)} {what} ({shown(names)})"
            for what, names in (("missing", missing), ("left over", extra))
            if names
        ]
        raise ConfigError(
            f"{where} does not hold {network}: {', '.join(parts)}; name the "
            "architecture it has, or the arrays to leave out"
        )
    found = {}
    for name, (path, leaf) in wanted.items():
        array = np.asarray(given[name])
        if path[-1] == "kernel" and array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        if array.shape != leaf.shape:
            raise ConfigError(
                f"{where} does not hold {network}: {name} is "
                f"{list(given[name].shape)}, which does not fit {list(leaf.shape)} "
                "(height, width, in, out for kernels); name the architecture, width "
                "and stem it has"
            )
        array = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(array).all():
            raise ConfigError(
                f"{where} holds values that are NaN or infinite ({name}); use another "
                "checkpoint"
            )
        found[path] = array
    return traverse_util.unflatten_dict(found)


def shapes_of(description: Description) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array in torchvision's names and axes."""
    found = {}
    for path, leaf in _leaves(description.variables()).items():
        shape = leaf.shape
        if path[-1] == "kernel":
            shape = (shape[3], shape[2], shape[0], shape[1])
        found[_name(path)] = shape
    return found


def shown(names: Iterable[str]) -> str:
    """Return the first few names, for a message of one line.

    >>> shown(["a", "b", "c", "d", "e"])
    'a, b, c, and 2 more'
    """
    names = list(names)
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])


def _leaves(tree: Any) -> dict[tuple[str, ...], Any]:
    return traverse_util.flatten_dict(tree)  # pyright: ignore[reportReturnType]


def _name(path: tuple[str, ...]) -> str:
    """Return torchvision's name of a leaf of our tree.

    >>> _name(("params", "layer1_0", "downsample_bn", "scale"))
    'layer1.0.downsample.1.weight'
    """
    collection, *modules, leaf = path
    module = ".".join(modules).replace("downsample_conv", "downsample.0")
    module = module.replace("downsample_bn", "downsample.1")
    module = re.sub(r"^layer(\d+)_(\d+)", r"layer\1.\2", module)
    return f"{module}.{_LEAVES[collection, leaf]}"

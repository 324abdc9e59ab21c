"""Find a ResNet in a foreign file: its prefix, its arrays, and what else there is.

Training code wraps encoders in prefixes (``module.``, ``backbone.``, ``encoder_q.``)
and saves heads, target networks and queues beside them. The encoder is what lies beside
a ``conv1.weight`` and a ``bn1.weight``; heads are dropped by name, and anything else is
refused, because a file that is understood in part may be another network.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.exports import formats, torch_module
from ssljax.exports.names import Arrays, shown
from ssljax.models.resnet import ARCHS
from ssljax.runs import files

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".bin")
HEADS = (
    "bn",  # the last norm of Barlow Twins
    "fc",
    "head",
    "classifier",
    "projector",
    "projection",
    "projection_head",
    "predictor",
    "prediction_head",
    "prototypes",
    "queue",
    "queue_ptr",
    "online_classifier",
    "online_predictor",
    "online_projector",
)
"""First names of arrays that are dropped: what method code keeps beside an encoder.

With ``momentum_``, ``target_``, ``teacher_`` or ``student_`` before them, too.
"""
_ROLES = ("momentum_", "target_", "teacher_", "student_")
_CONTAINERS = ("state_dict", "model", "model_state_dict", "net", "network")
_WRAPPERS = ("module.", "model.", "_orig_mod.")


class Found(NamedTuple):
    """A ResNet's arrays in torchvision's names, and what was beside them."""

    arrays: Arrays
    prefix: str
    dropped: tuple[str, ...]
    """First names of what was left out."""


def read_arrays(path: Path) -> Arrays:
    """Return all arrays of a torch or safetensors file by name.

    Args:
        path: a ``.safetensors`` file, or a torch file: a state dict, or a checkpoint
            that holds one under ``state_dict`` or ``model``.

    Raises:
        ConfigError: if the file cannot be read or holds no arrays.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder without an export; name a file")
    if path.suffix not in (".safetensors", *TORCH_SUFFIXES):
        raise ConfigError(
            f"{path} has an unknown type; allowed: .safetensors, "
            f"{', '.join(TORCH_SUFFIXES)}, or a folder that `ssljax export` wrote"
        )
    try:
        if path.suffix == ".safetensors":
            return formats.read_safetensors(path.read_bytes(), path)
        with path.open("rb"):
            pass  # for the system's reason, where torch would give a traceback
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({files.reason_of(error)}); check the path"
        ) from error
    found: Any = torch_module.read(path)
    for _ in range(3):  # such as {"model": {"state_dict": ...}}
        inside = [
            found[name]
            for name in _CONTAINERS
            if isinstance(found, Mapping) and isinstance(found.get(name), Mapping)
        ]
        if not inside:
            break
        found = inside[0]
    arrays = found.items() if isinstance(found, Mapping) else ()
    arrays = {name: x for name, x in arrays if isinstance(x, np.ndarray)}
    if not arrays:
        raise ConfigError(
            f"{path} holds no table of arrays by name; save a state dict with "
            "torch.save(model.state_dict(), FILE)"
        )
    return arrays


def find_resnet(
    arrays: Mapping[str, np.ndarray],
    *,
    where: Any,
    prefix: str | None = None,
    drop: Sequence[str] = (),
) -> Found:
    """Return the ResNet among the arrays of a file.

    Args:
        arrays: by name.
        where: the file, for messages.
        prefix: what its names begin with, such as ``backbone.``; None finds it.
        drop: first names of arrays to leave out, beside `HEADS`.

    Raises:
        ConfigError: if there is no ResNet or more than one, or other arrays that are
            not known as heads.

    >>> names = ["module.encoder.conv1.weight", "module.encoder.bn1.weight"]
    >>> file = {name: np.zeros(1) for name in [*names, "module.predictor.0.weight"]}
    >>> found = find_resnet(file, where="FILE")
    >>> found.prefix, list(found.arrays), found.dropped
    ('module.encoder.', ['conv1.weight', 'bn1.weight'], ('predictor',))
    """
    networks = _prefixes(arrays)
    if prefix is None:
        prefix = _only(networks, arrays, where)
    mine, beside = {}, {}
    for name, array in arrays.items():
        rest = name.removeprefix(prefix)
        part = rest.split(".")[0]
        known = part in ("conv1", "bn1") or part.startswith("layer")
        if name.startswith(prefix) and known:
            mine[rest] = array
        else:
            beside[name] = part if name.startswith(prefix) else _first(name)
    if not mine:
        raise ConfigError(
            f"{where} holds no array of a torchvision ResNet whose name begins with "
            f"{prefix!r}; it has {shown(arrays)}"
        )
    allowed = {*HEADS, *(name.rstrip(".") for name in drop)}
    # Where one network was chosen by its prefix, the others are left out.
    others = tuple(other for other in networks if other and other != prefix)
    unknown = [
        name
        for name, part in beside.items()
        if part not in allowed
        and _without_role(part) not in allowed
        and not (others and name.startswith(others))
    ]
    if unknown:
        parts = dict.fromkeys(beside[name] for name in unknown)
        raise ConfigError(
            f"{where} holds {len(unknown)} arrays that belong neither to a ResNet nor "
            f"to a known head ({shown(unknown)}); leave them out with --drop "
            f"{' '.join(parts)}"
        )
    return Found(mine, prefix, tuple(dict.fromkeys(beside.values())))


def suggest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return which architecture the names of arrays fit, as a hint; "" if none.

    >>> names = [f"layer{i}.{j}.conv1.weight" for i in range(1, 5) for j in (0, 1)]
    >>> suggest({name: np.zeros(1) for name in names})
    '; the file has the blocks of --arch resnet18'
    """
    blocks: dict[str, set[str]] = {}
    for name in arrays:
        stage, block, *_ = [*name.split("."), "", ""]
        if stage.startswith("layer"):
            blocks.setdefault(stage, set()).add(block)
    sizes = tuple(len(blocks[stage]) for stage in sorted(blocks))
    bottleneck = any(".conv3." in name for name in arrays)
    for name, arch in ARCHS.items():
        if (arch.stage_sizes, arch.bottleneck) == (sizes, bottleneck):
            return f"; the file has the blocks of --arch {name}"
    return ""


def _prefixes(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return what the names of each ResNet in a file begin with."""
    candidates = [
        name.removesuffix("conv1.weight")
        for name in arrays
        if name.endswith("conv1.weight")
    ]
    return [
        prefix
        for prefix in candidates
        if prefix[-1:] in ("", ".")
        and f"{prefix}bn1.weight" in arrays
        # Every residual block has a conv1 as well.
        and ".layer" not in f".{prefix}"
    ]


def _only(prefixes: Sequence[str], arrays: Mapping[str, np.ndarray], where: Any) -> str:
    if not prefixes:
        raise ConfigError(
            f"{where} holds no ResNet with torchvision's names (no conv1.weight beside "
            f"a bn1.weight); it has {shown(arrays)}"
        )
    if len(prefixes) > 1:
        raise ConfigError(
            f"{where} holds {len(prefixes)} ResNets ({shown(prefixes)}); choose one, "
            f"such as --prefix {prefixes[0]}"
        )
    return prefixes[0]


def _without_role(part: str) -> str:
    for role in _ROLES:
        part = part.removeprefix(role)
    return part


def _first(name: str) -> str:
    """Return the first part of a name behind the usual wrappers.

    >>> _first("module.projector.0.weight")
    'projector'
    """
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name.split(".")[0]

"""Detect damaged checkpoints: store layout and digest with a state and compare them."""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.runs.files import plain

_OURS = ("digest", "leaves", "seal")


def digest(state: Any) -> int:
    """Compute the CRC-32 of every leaf's name, dtype, shape and bytes, in tree order.

    >>> digest({"w": np.zeros(2)}) == digest({"w": np.zeros(3)})
    False
    """
    crc = 0
    for name, leaf in table(jax.device_get(state)).items():
        array = np.ascontiguousarray(leaf)
        head = f"{name} {array.dtype.name} {leaf.shape};"
        crc = zlib.crc32(head.encode(), crc)
        # As bytes, since bfloat16 does not support the buffer protocol.
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return crc


class Damage(ValueError):
    """A checkpoint that can be read but differs from what was saved."""


def table(state: Any) -> dict[str, Any]:
    """Return the leaves by name.

    Empty subtrees and None are dropped; the reader takes them from its own tree.
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in flat]
    # With a dot inside a key, two paths could have the same name.
    if len(set(names)) < len(names):
        names = [jax.tree_util.keystr(path) for path, _ in flat]
    return dict(zip((n or "state" for n in names), (v for _, v in flat), strict=True))


def not_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """Drop arrays of size zero, which orbax refuses to save."""
    return {name: leaf for name, leaf in table.items() if 0 not in leaf.shape}


def record_of(state: Any, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``meta`` with the layout, digest and seal that `verified` checks."""
    record = {k: v for k, v in plain(meta).items() if k not in _OURS}
    record["leaves"] = _layout(table(state))
    record["digest"] = digest(state)
    return {**record, "seal": _seal(record)}


def verified(
    where: Path,
    record: Any,
    abstract_state: Any,
    read: Callable[[dict[str, jax.ShapeDtypeStruct]], Mapping[str, jax.Array]],
) -> tuple[Any, dict[str, Any]]:
    """Read a state and return it with its meta if both are unchanged since saving.

    Args:
        where: folder that error messages name.
        record: as from `record_of`, read back from disk.
        abstract_state: tree of `jax.ShapeDtypeStruct`, with shardings if any.
        read: returns the arrays of a flat table of abstract leaves.

    Raises:
        ConfigError: if the saved state has a different layout.
        Damage: if record or state differ from what was saved.
    """
    if not isinstance(record, dict) or record.get("seal") != _seal(record):
        raise Damage("meta differs from its seal")
    wanted = table(abstract_state)
    if record["leaves"] != _layout(wanted):
        raise ConfigError(
            f"{where} holds another state "
            f"({_first_difference(record['leaves'], _layout(wanted))}); use the "
            "settings it was saved with or another --workdir"
        )
    arrays = read(
        {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_sharding(leaf))
            for name, leaf in not_empty(wanted).items()
        }
    )
    leaves = [
        arrays[name]
        if name in arrays
        else jax.device_put(np.zeros(leaf.shape, leaf.dtype), _sharding(leaf))
        for name, leaf in wanted.items()
    ]
    state = jax.tree.unflatten(jax.tree.structure(abstract_state), leaves)
    if digest(state) != record["digest"]:
        raise Damage("content differs from its digest")
    return state, {k: v for k, v in record.items() if k not in ("leaves", "seal")}


def _layout(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [np.dtype(leaf.dtype).name, *leaf.shape] for name, leaf in table.items()
    }


def _sharding(leaf: Any) -> jax.sharding.Sharding:
    given = getattr(leaf, "sharding", None)
    return given or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _seal(record: Mapping[str, Any]) -> int:
    rest = {k: v for k, v in record.items() if k != "seal"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _first_difference(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    for name in sorted(saved.keys() | wanted.keys()):
        a, b = saved.get(name, "nothing"), wanted.get(name, "nothing")
        if a != b:
            return f"{name}: saved {a}, wanted {b}"
    return "the order of its arrays"

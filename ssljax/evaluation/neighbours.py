"""Nearest rows by cosine or distance, a block of the bank at a time, and their vote."""

import functools
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.evaluation.rows import SMALL, filled, give_back, in_blocks, mesh_of

Metric = Literal["cosine", "euclidean"]
BLOCK = 65_536
"""Rows of the bank on the devices at a time, fewer where they are long."""
_BYTES = 2**28


@partial(jax.jit, static_argnames=("ks", "num_classes"))
def neighbour_votes(
    bank: jax.Array,
    bank_labels: jax.Array,
    queries: jax.Array,
    *,
    ks: tuple[int, ...],
    num_classes: int,
    temperature: float | jax.Array = 0.1,
) -> jax.Array:
    """Classify by a vote of the k nearest rows of the bank, for several k at once.

    Neighbours are the rows with the largest cosine. Neighbour i votes for its class
    with weight ``exp(cosine_i / temperature)``. Equal cosines are taken in bank order,
    equal votes go to the lower class, and the sums have a fixed order, so that results
    are reproducible bit by bit. It is jitted and compiles once per shape, for features
    that stay on the device.

    Args:
        bank: features of labelled images, ``[N, F]``.
        bank_labels: their classes, integers ``[N]``.
        queries: features to classify, ``[B, F]``; the similarities take 4 B N bytes.
        ks: numbers of neighbours, ascending, each from 1 to N.
        num_classes: number of classes.
        temperature: divisor of the cosine, > 0; may be traced.

    Returns:
        int32 ``[len(ks), B]``.

    Raises:
        ValueError: if ``ks`` is empty, not ascending, or exceeds the bank.

    Source: Wu et al., "Unsupervised feature learning via non-parametric instance
    discrimination", CVPR 2018, section 3.4 (k = 200, temperature 0.07). Most published
    tables use temperature 0.1.

    >>> bank, labels = jnp.eye(3), jnp.array([2, 0, 1])
    >>> neighbour_votes(bank, labels, bank, ks=(1,), num_classes=3).tolist()
    [[2, 0, 1]]
    """
    if not ks or list(ks) != sorted(set(ks)) or ks[0] < 1 or ks[-1] > bank.shape[0]:
        raise ValueError(
            f"ks must be ascending, from 1 to at most the {bank.shape[0]} rows of the "
            f"bank, got {ks}"
        )
    similar, index = _top(unit_rows(queries), unit_rows(bank), ks[-1])
    return votes(
        similar,
        bank_labels[index],
        ks=ks,
        num_classes=num_classes,
        temperature=temperature,
    )


@partial(jax.jit, static_argnames=("ks", "num_classes"))
def votes(
    similar: jax.Array,
    labels: jax.Array,
    *,
    ks: tuple[int, ...],
    num_classes: int,
    temperature: float | jax.Array,
) -> jax.Array:
    """Return the classes that the nearest neighbours elect: int32 ``[len(ks), B]``.

    Args:
        similar: cosines of the nearest rows of the bank, ``[B, K]``, descending.
        labels: their classes, ``[B, K]``.
        ks: numbers of neighbours, ascending, at most K.
        num_classes: number of classes.
        temperature: divisor of the cosine, > 0.

    >>> votes(jnp.array([[0.9, 0.8, 0.8]]), jnp.array([[1, 2, 2]]), ks=(1, 3),
    ...       num_classes=3, temperature=1.0).tolist()
    [[1], [2]]
    """
    # Dividing a query's votes by its largest does not change the winner, and prevents
    # overflow at small temperatures.
    weights = jnp.exp((similar - similar[:, :1]) / temperature)
    classes = jnp.arange(num_classes)[None, None, :]
    labels = labels[:, :, None]
    sums = jnp.zeros((len(similar), num_classes), weights.dtype)
    predictions, used = [], 0
    for k in ks:
        # A masked sum, not a scatter: a GPU's atomic adds have no fixed order.
        own = jnp.where(
            labels[:, used:k] == classes, weights[:, used:k, None], jnp.zeros(())
        )
        sums, used = sums + own.sum(axis=1), k
        predictions.append(jnp.argmax(sums, axis=1).astype(jnp.int32))
    return jnp.stack(predictions)


def nearest(
    bank: np.ndarray,
    queries: np.ndarray,
    *,
    k: int,
    metric: Metric = "cosine",
    query_batch: int = 512,
    block: int = BLOCK,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows of the bank that are nearest to each query.

    The bank is scaled and sent to the devices once, a block at a time, and the devices
    share the queries. Of equally near rows the earlier one is taken.

    Args:
        bank: ``[N, F]``.
        queries: ``[M, F]``.
        k: number of neighbours, 1 to N.
        metric: ``"cosine"``, or ``"euclidean"`` for the distance.
        query_batch: queries at a time.
        block: rows of the bank at a time.

    Returns:
        Their similarity, descending, and their rows in the bank, ``[M, k]`` both. It is
        the cosine, or half the negative squared distance plus a number of the query's.

    >>> similar, index = nearest(np.eye(3), np.eye(3)[1:], k=1, block=2)
    >>> index.tolist()
    [[1], [2]]
    """
    # Queries of one batch on all devices; a small search is faster on one.
    devices = jax.local_devices()
    if bank.nbytes + queries.nbytes < SMALL or query_batch % len(devices):
        devices = devices[:1]
    mesh = mesh_of(devices)
    merge = merge_on(mesh, metric)
    # Distances do not change, and their rounding errors become smaller.
    centre = None
    if metric == "euclidean":
        sums = [part.sum(axis=0, dtype=np.float64) for _, part in in_blocks(bank)]
        centre = (np.sum(sums, axis=0) / len(bank)).astype(np.float32)[None]
    of_queries, of_bank = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
    block = min(block, max(1, _BYTES // (4 * bank.shape[1])))
    # Blocks of one size, because every other size compiles again.
    blocks = -(-len(bank) // block)
    block = -(-len(bank) // blocks)
    real = jnp.promote_types(jax.dtypes.canonicalize_dtype(bank.dtype), jnp.float32)
    similar = np.full((len(queries), k), -np.inf, real)
    index = np.zeros((len(queries), k), np.int32)
    for first in range(0, len(bank), block):
        rows = bank[first : first + block]
        part = jax.device_put(filled(_centred(rows, centre), block), of_bank)
        part = unit_rows(part) if metric == "cosine" else part
        give_back(bank)
        for start in range(0, len(queries), query_batch):
            some = slice(start, start + query_batch)
            batch = (_centred(queries[some], centre), similar[some], index[some])
            found = merge(
                *jax.device_put([filled(x, query_batch) for x in batch], of_queries),
                part,
                jnp.int32(first),
                jnp.int32(len(rows)),
            )
            count = len(batch[0])
            similar[some], index[some] = (np.asarray(x)[:count] for x in found)
    return similar, index


def _centred(rows: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
    return rows if centre is None else rows - centre


@functools.lru_cache
def merge_on(
    mesh: Mesh, metric: Metric = "cosine"
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the compiled merge of one block's nearest rows into those before it.

    The devices of the mesh share the queries. It is said by ``shard_map``, because XLA
    by itself gathers what a top-k reads.
    """
    rows, whole = P("rows"), P()
    specs = (rows, rows, rows, whole, whole, whole)
    return jax.jit(
        jax.shard_map(
            partial(_merged, metric=metric),
            mesh=mesh,
            in_specs=specs,
            out_specs=(rows, rows),
        )
    )


def _merged(queries, similar, index, bank, first, count, *, metric: Metric):
    """Merge the nearest rows of one block into those of the blocks before it."""
    k = similar.shape[1]
    if metric == "cosine":
        queries, offset = unit_rows(queries), None
    else:
        offset = 0.5 * (bank**2).sum(axis=1)
    here, place = _top(queries, bank, min(k, len(bank)), count, offset)
    both = jnp.concatenate([similar, here], axis=1)
    # Of equals top-k takes the first, which is the earlier row of the bank.
    best, chosen = _top_k(both, k)
    where = jnp.concatenate([index, first + place], axis=1)
    return best, jnp.take_along_axis(where, chosen, axis=1)


def _top(queries, bank, k, count=None, offset=None):
    """Return similarities and rows of the k nearest of the first ``count`` rows."""
    # Full precision, because bfloat16 or TF32 products would reorder close neighbours.
    similar = jnp.matmul(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
    if offset is not None:
        similar = similar - offset[None]
    if count is not None:
        similar = jnp.where(jnp.arange(len(bank))[None] < count, similar, -jnp.inf)
    return _top_k(similar, k)


def _top_k(x: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    values, index = jax.lax.top_k(x, k)
    # Without a barrier XLA:CPU fuses what follows into the top-k, does not recognise it
    # any more and sorts the whole row: 20 times slower. One for each, because one for
    # both ends the process within shard_map (a failed check in TopkDecomposer).
    return jax.lax.optimization_barrier(values), jax.lax.optimization_barrier(index)


@jax.jit
def unit_rows(x: jax.Array) -> jax.Array:
    """Scale rows to length one; a row of zeros stays zero.

    >>> unit_rows(jnp.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    norm = jnp.linalg.norm(x, axis=1, keepdims=True)
    # A zero row stays zero: cosine 0 with everything.
    return x / jnp.where(norm > 0, norm, jnp.ones_like(norm))

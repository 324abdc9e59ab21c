"""Multinomial logistic regression by full-batch L-BFGS, one penalty after another."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.evaluation.logit_line import step_length, summed
from ssljax.evaluation.rows import mesh_of

_COPY_LIMIT = 2**28
"""Keep a transposed copy of features of at most this many bytes."""

_BLOCK = 2**24
"""Bytes of the logits whose residuals are formed at a time."""


class LogisticFit(NamedTuple):
    """Outcome of :func:`fit_logistic`: G fits, one for each penalty."""

    weights: jax.Array
    """``[G, F, C]``."""
    bias: jax.Array
    """``[G, C]``."""
    objective: jax.Array
    """Mean cross-entropy in nats plus penalty, ``[G]``."""
    iterations: jax.Array
    """int32 ``[G]``."""
    converged: jax.Array
    """bool ``[G]``: largest gradient entry within the tolerance."""


def fit_logistic(
    x: np.ndarray | jax.Array,
    y: np.ndarray | jax.Array,
    *,
    num_classes: int,
    l2: Sequence[float],
    used: np.ndarray | None = None,
    start: tuple[jax.Array, jax.Array] | None = None,
    max_iterations: int = 300,
    tolerance: float = 3e-6,
) -> LogisticFit:
    """Minimise ``mean_i CE(x_i W + b, y_i) + l2 / 2 |W|^2`` for each ``l2`` in turn.

    Full-batch L-BFGS, in float32 unless x64 is enabled. The objective is convex and its
    logits are linear in the weights, so the step length is searched along one
    precomputed direction of the logits: an iteration reads the features twice, however
    many lengths it tries. The bias is not penalised.

    Args:
        x: features, ``[N, F]``, preferably standardised; on the host, or on devices
            that share the rows.
        y: classes, integers ``[N]``.
        num_classes: number of classes C.
        l2: penalties, each > 0, ``[G]``.
        used: bool ``[N]``, the rows to fit to; None for all.
        start: initial weights ``[F, C]`` and bias ``[C]`` of all fits; None for zeros.
        max_iterations: limit of the iterations.
        tolerance: largest gradient entry at which a fit stops.

    Returns:
        :class:`LogisticFit`. Besides the features, a few arrays of 4 N C bytes are
        needed, whatever the number of penalties.

    Raises:
        ValueError: if a penalty is not positive or there is none.

    >>> x, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    >>> fit = fit_logistic(x, y, num_classes=2, l2=(0.1,))
    >>> bool(fit.converged[0]), predict(fit, x).tolist()
    (True, [[0, 1]])
    """
    if len(l2) == 0 or not all(value > 0 for value in l2):
        raise ValueError(f"every penalty must be positive, got {tuple(l2)}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    features = np.shape(x)[1]
    real = jnp.result_type(float)  # float64 under enable_x64, as optax's own state
    if start is None:
        start = jnp.zeros((features, num_classes)), jnp.zeros(num_classes)
    examples, classes = jnp.asarray(x, real), jnp.asarray(y, jnp.int32)
    rows = np.ones(len(classes), bool) if used is None else np.asarray(used, bool)
    # Like the labels: on one device, or spread over several.
    weights = jax.device_put((rows / rows.sum()).astype(real), classes.sharding)
    place = classes.sharding
    if isinstance(place, NamedSharding):
        mesh = place.mesh
    else:
        mesh = mesh_of(list(classes.devices()))
    fits = [
        fit_on(mesh)(
            examples,
            classes,
            weights,
            jnp.asarray(value, real),
            *(jnp.asarray(part, real) for part in start),
            jnp.asarray(tolerance, real),
            jnp.asarray(max_iterations, jnp.int32),
        )
        for value in l2
    ]
    return LogisticFit(*(jnp.stack(parts) for parts in zip(*fits, strict=True)))


def predict(fit: LogisticFit, x: np.ndarray) -> np.ndarray:
    """Predict the class of the largest logit for each fit; ties go to the lower class.

    Args:
        fit: as returned by :func:`fit_logistic`.
        x: features ``[M, F]``, standardised like those of the fit.

    Returns:
        int32 ``[G, M]``.
    """
    return np.asarray(_classes(fit.weights, fit.bias, jnp.asarray(x, jnp.float32)))


def held_out(
    fit: LogisticFit, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Measure each fit on examples that it was not fitted to.

    Args:
        fit: as returned by :func:`fit_logistic`.
        x: features ``[M, F]``, standardised like those of the fit.
        y: classes, integers ``[M]``.

    Returns:
        Accuracy (0 to 1) and mean cross-entropy (nats), ``[G]`` both.
    """
    correct, losses = _score(
        fit.weights, fit.bias, jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)
    )
    return np.asarray(correct) / len(y), np.asarray(losses)


@jax.jit
def _classes(weights, bias, x):
    logits = jax.vmap(lambda w, b: _matmul(x, w) + b[None])(weights, bias)
    return jnp.argmax(logits, axis=2).astype(jnp.int32)


@jax.jit
def _score(weights, bias, x, y):
    def score(w, b):
        logits = _matmul(x, w) + b[None]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return (jnp.argmax(logits, axis=1) == y).sum(), losses.mean()

    return jax.vmap(score)(weights, bias)


@functools.lru_cache
def fit_on(mesh: Mesh) -> Callable[..., LogisticFit]:
    """Return the compiled fit of one penalty; the mesh's devices share the rows."""
    rows, whole = P("rows"), P()
    return jax.jit(
        jax.shard_map(
            _fit,
            mesh=mesh,
            in_specs=(rows, rows, rows, *(whole,) * 5),
            out_specs=whole,
            # The loops' carries are sums over all rows in one half and not in the
            # other, which the check does not follow.
            check_vma=False,
        )
    )


def _fit(x, y, weights, l2, slopes, bias, tolerance, max_iterations) -> LogisticFit:
    # The bias is the last row of the parameters.
    start = jnp.concatenate([slopes, bias[None]])  # [F + 1, C]
    penalty = jnp.full_like(start[:, :1], l2).at[-1].set(0.0)
    classes = jnp.arange(start.shape[1])
    block = max(1024, _BLOCK // (x.dtype.itemsize * start.shape[1]))
    columns = None
    if x.nbytes <= _COPY_LIMIT:
        # On a CPU a product of [8000, 3073] with 12 columns takes 15 ms, of its
        # transpose 50 ms, of this copy 15 ms. XLA would undo the copy but for the
        # barrier.
        columns = jax.lax.optimization_barrier(x.T)
    directions = optax.scale_by_lbfgs(memory_size=10)

    def logits_of(params):
        return _matmul(x, params[:-1]) + params[-1:]

    def gradient(params, logits):
        def part(rows):
            right = (rows(y)[:, None] == classes[None]).astype(x.dtype)
            chances = jax.nn.softmax(rows(logits), axis=1)
            residual = rows(weights)[:, None] * (chances - right)
            across = rows(x).T if columns is None else rows(columns, axis=1)
            of_slopes = _matmul(across, residual)
            return jnp.concatenate([of_slopes, residual.sum(axis=0, keepdims=True)])

        return summed(part, len(x), block) + penalty * params

    def unfinished(carry):
        _, _, grads, _, iteration = carry
        return (jnp.abs(grads).max() > tolerance) & (iteration < max_iterations)

    def iterate(carry):
        ascent: Any
        params, logits, grads, state, iteration = carry
        ascent, state = directions.update(grads, state, params)
        # Rounding near the optimum can spoil the curvature memory, and L-BFGS then
        # points uphill; use the gradient instead.
        direction = -jnp.where(jnp.vdot(ascent, grads) > 0, ascent, grads)
        along = logits_of(direction)
        step = step_length(
            logits,
            along,
            y,
            weights,
            block,
            jnp.vdot(penalty * params, direction),
            jnp.vdot(penalty * direction, direction),
        )
        params, logits = params + step * direction, logits + step * along
        return params, logits, gradient(params, logits), state, iteration + 1

    logits = logits_of(start)
    carry = start, logits, gradient(start, logits), directions.init(start), 0
    params, _, _, _, iterations = jax.lax.while_loop(unfinished, iterate, carry)
    # Recomputed, because the updated logits have accumulated rounding errors.
    logits = logits_of(params)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return LogisticFit(
        weights=params[:-1],
        bias=params[-1],
        objective=jax.lax.psum(weights @ losses, "rows")
        + 0.5 * (penalty * params**2).sum(),
        iterations=jnp.asarray(iterations, jnp.int32),
        converged=jnp.abs(gradient(params, logits)).max() <= 1.1 * tolerance,
    )


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # With TF32 or bfloat16 products the gradient would not reach the tolerance.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)

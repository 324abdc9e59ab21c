"""Multinomial logistic regression by full-batch L-BFGS, for many penalties at once."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

_COPY_LIMIT = 2**28
"""Keep a transposed copy of features of at most this many bytes."""


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
    x: np.ndarray,
    y: np.ndarray,
    *,
    num_classes: int,
    l2: Sequence[float],
    start: tuple[jax.Array, jax.Array] | None = None,
    max_iterations: int = 300,
    tolerance: float = 3e-6,
) -> LogisticFit:
    """Minimise ``mean_i CE(x_i W + b, y_i) + l2 / 2 |W|^2`` for several ``l2`` at once.

    Full-batch L-BFGS, in float32 unless x64 is enabled. The objective is convex and its
    logits are linear in the weights, so the step length is searched along one
    precomputed direction of the logits: an iteration reads the features twice, however
    many lengths it tries. The bias is not penalised.

    Args:
        x: features, ``[N, F]``, preferably standardised.
        y: classes, integers ``[N]``.
        num_classes: number of classes C.
        l2: penalties, each > 0, ``[G]``.
        start: initial weights ``[F, C]`` and bias ``[C]`` of all fits; None for zeros.
        max_iterations: limit of the iterations.
        tolerance: largest gradient entry at which a fit stops.

    Returns:
        :class:`LogisticFit`. An array of logits takes 4 G N C bytes.

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
    return _fit(
        jnp.asarray(x, real),
        jnp.asarray(y, jnp.int32),
        jnp.asarray(l2, real),
        *(jnp.asarray(part, real) for part in start),
        jnp.asarray(tolerance, real),
        jnp.asarray(max_iterations, jnp.int32),
    )


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


@jax.jit
def _fit(x, y, l2, weights, bias, tolerance, max_iterations) -> LogisticFit:
    # The bias is the last row of the parameters, read from a column of ones.
    x = jnp.pad(x, ((0, 0), (0, 1)), constant_values=1.0)
    onehot = jax.nn.one_hot(y, bias.shape[0], dtype=x.dtype)  # [N, C]
    start = jnp.concatenate([weights, bias[None]])  # [F + 1, C]
    penalised = jnp.ones_like(start[:, :1]).at[-1].set(0.0)  # not the bias
    columns = x.T
    if x.nbytes <= _COPY_LIMIT:
        # On a CPU a product of [8000, 3073] with 12 columns takes 15 ms, of its
        # transpose 50 ms, of this copy 15 ms. XLA would undo the copy but for the
        # barrier.
        columns = jax.lax.optimization_barrier(columns)
    fit_one = partial(_fit_one, x, columns, onehot, start, tolerance, max_iterations)
    return jax.vmap(lambda value: fit_one(value * penalised))(l2)


def _fit_one(x, columns, onehot, start, tolerance, max_iterations, l2) -> LogisticFit:
    directions = optax.scale_by_lbfgs(memory_size=10)

    def gradient(params, logits):
        residual = (jax.nn.softmax(logits, axis=1) - onehot) / x.shape[0]
        return _matmul(columns, residual) + l2 * params

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
        along = _matmul(x, direction)
        step = _step_length(
            logits,
            along,
            onehot,
            jnp.vdot(l2 * params, direction),
            jnp.vdot(l2 * direction, direction),
        )
        params, logits = params + step * direction, logits + step * along
        return params, logits, gradient(params, logits), state, iteration + 1

    logits = _matmul(x, start)
    carry = start, logits, gradient(start, logits), directions.init(start), 0
    params, _, _, _, iterations = jax.lax.while_loop(unfinished, iterate, carry)
    # Recomputed, because the updated logits have accumulated rounding errors.
    logits = _matmul(x, params)
    losses = jax.nn.logsumexp(logits, axis=1) - (logits * onehot).sum(axis=1)
    return LogisticFit(
        weights=params[:-1],
        bias=params[-1],
        objective=losses.mean() + 0.5 * (l2 * params**2).sum(),
        iterations=jnp.asarray(iterations, jnp.int32),
        converged=jnp.abs(gradient(params, logits)).max() <= 1.1 * tolerance,
    )


def _step_length(logits, along, onehot, penalty_slope, penalty_curvature):
    """Find the root of the slope along the direction, by safeguarded Newton steps."""
    linear = (along * onehot).sum(axis=1).mean()

    def slope_and_curvature(step):
        p = jax.nn.softmax(logits + step * along, axis=1)
        first = (p * along).sum(axis=1)
        second = (p * along**2).sum(axis=1) - first**2
        slope = first.mean() - linear + penalty_slope + step * penalty_curvature
        return slope, second.mean() + penalty_curvature

    start, curvature = slope_and_curvature(0.0)

    def unfinished(carry):
        _, _, _, slope, _, tries = carry
        return (tries == 0) | ((jnp.abs(slope) > -0.3 * start) & (tries < 12))

    def improve(carry):
        step, low, high, slope, curvature, tries = carry
        low = jnp.where(slope < 0, step, low)
        high = jnp.where(slope < 0, high, step)
        newton = step - slope / curvature
        # From a flat stretch a Newton step overshoots by orders of magnitude.
        furthest = jnp.minimum(high, 10.0 * jnp.maximum(step, 1.0))
        middle = jnp.where(jnp.isinf(high), furthest, 0.5 * (low + high))
        step = jnp.where((newton > low) & (newton < furthest), newton, middle)
        return step, low, high, *slope_and_curvature(step), tries + 1

    zero = jnp.zeros_like(start)
    carry = zero, zero, zero + jnp.inf, start, curvature, 0
    return jax.lax.while_loop(unfinished, improve, carry)[0]


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # With TF32 or bfloat16 products the gradient would not reach the tolerance.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)

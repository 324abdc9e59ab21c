"""The Euclidean losses on a layer of rectifiers, averaged over Gaussian inputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.analytic.implicit_variance.growth import LOSSES
from ssljax.analytic.inputs import (
    check_choice,
    check_finite,
    check_positive,
    check_rate,
    check_shape,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers
from ssljax.analytic.spectral_functions import symmetric_power


@in_float64
def relu_velocity(
    weights: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
    target_noise: float | jax.Array = 0.0,
) -> jax.Array:
    """Return minus the expected gradient of a Euclidean loss of ``z = relu(W x)``.

    The predictor is still made of the weights, ``(W W^T)^alpha``. The averages over
    ``x ~ N(0, I)`` are those of pairs of rectifiers, functions of the angles between
    the rows of W.

    Args:
        weights: W, ``[modes, inputs]``, no row zero.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.
        target_noise: standard deviation of the noise on the target's view.

    Returns:
        ``dW/dt``, ``[modes, inputs]``, time being learning rate x step. Derivatives are
        exact for orthogonal rows of one length too; parallel rows have no second one.

    Raises:
        ValueError: for a loss of another name, weights that are not a finite matrix
            without zero rows, an alpha that is not positive or a negative noise.

    Source: the ReLU network of Halvagal, Laborieux and Zenke, NeurIPS 2023, with the
    exact gradient (their code masks the error before it goes back through the
    predictor); averages as in Cho and Saul, NeurIPS 2009.

    >>> rate = relu_velocity(0.5 * jnp.eye(2))
    >>> [round(float(x), 4) for x in rate[0]]
    [0.0469, 0.0]
    """
    _check(loss, alpha, target_noise)
    return _velocity(_checked("weights", weights), loss, alpha, target_noise)


@in_float64
def solve_relu(
    start: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
    target_noise: float | jax.Array = 0.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the eigenvalues of ``W W^T`` of a layer of rectifiers.

    Args:
        start: weights W at time 0, ``[modes, inputs]``, no row zero.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.
        target_noise: standard deviation of the noise on the target's view.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues, ``[times, modes]``, ascending. The weights do not
        keep their eigenvectors and are integrated as a whole.

    Raises:
        ValueError: see `relu_velocity`.

    Source: see `relu_velocity`.

    >>> solution = solve_relu(0.5 * jnp.eye(2), loss="isoloss_euclidean")
    >>> [round(float(x), 4) for x in solution(1.0)]
    [0.4754, 0.4754]
    """
    _check(loss, alpha, target_noise)
    numbers = {"alpha": alpha, "target_noise": target_noise}
    return Solution(
        params={"start": _checked("start", start), **as_numbers(numbers)},
        law=_relu_law,
        settings=(("loss", loss), ("adjoint", adjoint)),
        title=f"variances of rectifiers under {loss}",
        quantity="variance",
    )


def _relu_law(params: dict, t: jax.Array, *, loss: str, adjoint: str) -> jax.Array:
    alpha, noise = params["alpha"], params["target_noise"]
    return integrate(
        lambda w: _velocity(w, loss, alpha, noise),
        params["start"],
        t,
        record=lambda w: jnp.linalg.eigvalsh(w @ w.T),
        rtol=1e-10,
        atol=1e-12,
        estimate_error=False,
        adjoint=adjoint,
    ).values


def _check(
    loss: str, alpha: float | jax.Array, target_noise: float | jax.Array
) -> None:
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    check_finite("alpha", alpha)
    check_rate("target_noise", target_noise)


def _checked(name: str, weights: jax.Array) -> jax.Array:
    w = check_shape(name, weights, "modes", "inputs")
    check_finite(name, w)
    # Its rectifier is dead, so it has no angle with the others.
    check_positive(f"the length of each row of {name}", jnp.sum(w**2, axis=1))
    return w


def _velocity(
    w: jax.Array, loss: str, alpha: float | jax.Array, noise: float | jax.Array
) -> jax.Array:
    gram = w @ w.T
    p = symmetric_power(gram, alpha)
    lengths = jnp.sqrt(jnp.diagonal(gram))
    cosine = gram / (lengths[:, None] * lengths[None, :])
    clean, noisy = (_gated(w, lengths, cosine, n) for n in (0.0, noise))
    if loss == "isoloss_euclidean":
        return noisy(jnp.eye(len(w))) - clean(p)
    return noisy(p) - clean(p @ p)


def _gated(
    w: jax.Array, lengths: jax.Array, cosine: jax.Array, noise: float | jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Map A to rows ``sum_j A_mj E[1(w_m x > 0) relu(w_j (x + noise n)) x]``."""
    same = jnp.eye(len(w), dtype=bool)
    # A row makes no angle with itself whatever the weights, but with its noisy view: in
    # terms of the cosine that would be 0 / 0 for the derivative.
    cosine = jnp.where(same, 1.0, cosine)
    across = 1.0 + noise**2 - cosine**2
    apart = ~same & (across > 4.0 * jnp.finfo(across.dtype).eps)
    sine = jnp.where(apart, jnp.sqrt(jnp.where(apart, across, 1.0)), 0.0)
    sine = jnp.where(same, noise, sine)
    along_j = (jnp.pi - jnp.arctan2(sine, cosine)) / (2.0 * jnp.pi)
    along_m = sine * lengths[None, :] / lengths[:, None]

    def mix(a: jax.Array) -> jax.Array:
        own = jnp.sum(a * along_m, axis=1, keepdims=True) / (2.0 * jnp.pi)
        return (a * along_j) @ w + own * w

    return mix

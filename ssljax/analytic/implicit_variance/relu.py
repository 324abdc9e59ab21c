"""The Euclidean losses on a layer of rectifiers, averaged over Gaussian inputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.analytic.implicit_variance.euclidean import LOSSES
from ssljax.analytic.inputs import check_choice, check_shape, check_times
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import integrate


@in_float64
def relu_velocity(
    weights: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float = 1.0,
    target_noise: float | jax.Array = 0.0,
) -> jax.Array:
    """Return minus the expected gradient of a Euclidean loss of ``z = relu(W x)``.

    The predictor is still made of the weights, ``(W W^T)^alpha``. The averages over
    ``x ~ N(0, I)`` are those of pairs of rectifiers, functions of the angles between
    the rows of W.

    Args:
        weights: W, ``[modes, inputs]``, no row zero.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor.
        target_noise: standard deviation of the noise on the target's view.

    Returns:
        ``dW/dt``, ``[modes, inputs]``, time being learning rate x step.

    Raises:
        ValueError: for a loss of another name or weights that are not a matrix.

    Source: the ReLU network of Halvagal, Laborieux and Zenke, NeurIPS 2023, with the
    exact gradient (their code masks the error before it goes back through the
    predictor); averages as in Cho and Saul, NeurIPS 2009.

    >>> rate = relu_velocity(0.5 * jnp.eye(2))
    >>> [round(float(x), 4) for x in rate[0]]
    [0.0469, 0.0]
    """
    check_choice("loss", loss, LOSSES)
    w = check_shape("weights", weights, "modes", "inputs")
    gram = w @ w.T
    values, vectors = jnp.linalg.eigh(gram)
    p = (vectors * (jnp.maximum(values, 0.0) ** alpha)[None, :]) @ vectors.T
    lengths = jnp.sqrt(jnp.diagonal(gram))
    cosine = gram / (lengths[:, None] * lengths[None, :])
    clean, noisy = (_gated(w, lengths, cosine, noise) for noise in (0.0, target_noise))
    if loss == "isoloss_euclidean":
        return noisy(jnp.eye(len(w))) - clean(p)
    return noisy(p) - clean(p @ p)


@in_float64
def solve_relu(
    weights: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float = 1.0,
    target_noise: float | jax.Array = 0.0,
) -> Callable[[jax.Array], jax.Array]:
    """Solve for the eigenvalues of ``W W^T`` of a layer of rectifiers.

    Args:
        weights: W at the start, ``[modes, inputs]``.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor.
        target_noise: standard deviation of the noise on the target's view.

    Returns:
        ``solution(t)``: eigenvalues, ``[times, modes]``, ascending. The weights do not
        keep their eigenvectors and are integrated as a whole.

    Source: see `relu_velocity`.

    >>> solution = solve_relu(0.5 * jnp.eye(2), loss="isoloss_euclidean")
    >>> solution(jnp.array([0.0, 1.0])).shape
    (2, 2)
    """
    w = jnp.asarray(weights)

    def velocity(w: jax.Array) -> jax.Array:
        return relu_velocity(w, loss=loss, alpha=alpha, target_noise=target_noise)

    # Named, so that the next call finds the program of this one.
    def spectrum(w: jax.Array) -> jax.Array:
        return jnp.linalg.eigvalsh(w @ w.T)

    return lambda t: (
        integrate(
            velocity,
            w,
            check_times("t", t, from_zero=True),
            record=spectrum,
            rtol=1e-8,
            atol=1e-10,
            estimate_error=False,
        ).values
    )


def _gated(
    w: jax.Array, lengths: jax.Array, cosine: jax.Array, noise: float | jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Map A to rows ``sum_j A_mj E[1(w_m x > 0) relu(w_j (x + noise n)) x]``."""
    stretch = jnp.sqrt(1.0 + noise**2)
    angle = jnp.arccos(jnp.clip(cosine / stretch, -1.0, 1.0))
    along_j = (jnp.pi - angle) / (2.0 * jnp.pi)
    along_m = jnp.sin(angle) * stretch * lengths[None, :] / lengths[:, None]

    def mix(a: jax.Array) -> jax.Array:
        own = jnp.sum(a * along_m, axis=1, keepdims=True) / (2.0 * jnp.pi)
        return (a * along_j) @ w + own * w

    return mix

"""The linear network of the implicit-variance paper, trained with `ssljax.losses`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.simulate import Simulation, gradient_descent

# The public losses by the names that the theory gives them.
LOSSES = {
    "euclidean": "asymmetric_euclidean",
    "isoloss_euclidean": "isoloss_euclidean",
    "cosine": "asymmetric_cosine",
    "isoloss_cosine": "isoloss_cosine",
}
EUCLIDEAN = ("euclidean", "isoloss_euclidean")
COSINE = ("cosine", "isoloss_cosine")

# Variances at the start of the paper's figure 2, and of its figure 5.
FIGURE_2 = (0.02, 0.1, 0.2, 0.34, 0.5, 0.57, 1.1, 1.1, 1.75, 2.3)
FIGURE_5 = ((0.54, 1.9), (0.32, 1.54), (0.08, 0.385))
# No mode far above 1, where descent at the paper's step is not yet near the flow.
MODERATE = (0.1, 0.15, 0.2, 0.34, 0.5, 0.57, 0.8, 1.1, 1.2, 1.5)


def start(modes: int = 10, inputs: int = 15) -> jax.Array:
    """Return the paper's initialisation: one fixed draw, which figures need."""
    draw = np.random.default_rng(2).normal(size=(modes, inputs))
    return jnp.asarray(draw / 4.0)


def with_variances(variances: Any, inputs: int, seed: int) -> jax.Array:
    """Return weights ``[modes, inputs]`` with these eigenvalues of ``W W^T``."""
    rng = np.random.default_rng(seed)
    s = np.asarray(variances, float)
    u = np.linalg.qr(rng.normal(size=(len(s), len(s))))[0]
    v = np.linalg.qr(rng.normal(size=(inputs, len(s))))[0]
    return jnp.asarray((u * np.sqrt(s)[None, :]) @ v.T)


def variances(w: jax.Array) -> jax.Array:
    """Return the eigenvalues of ``W W^T``, ascending."""
    return jnp.linalg.eigvalsh(w @ w.T)


def spectra(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Return `variances` of several networks."""
    return {name: variances(w) for name, w in params.items()}


def exact_views(inputs: int, seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a clean view and two noises whose second moments are exactly white.

    Of a quadratic loss such a batch gives the expectation itself, to rounding.
    """
    rows = 3 * inputs + 3
    draw = np.random.default_rng(seed).normal(size=(rows, 3 * inputs))
    white = np.linalg.qr(draw)[0] * np.sqrt(rows)
    x, first, second = np.split(white, 3, axis=1)
    return jnp.asarray(x), jnp.asarray(first), jnp.asarray(second)


def fresh_views(
    key: jax.Array, rows: int, inputs: int, noise: float
) -> tuple[jax.Array, jax.Array]:
    """Return Gaussian inputs as the clean view, and the noisy one.

    Each input comes with its noise and with the opposite, so that what is of first
    order in the noise averages out.
    """
    x, n = jax.random.normal(key, (2, rows // 2, inputs))
    clean = jnp.concatenate([x, x])
    return clean, clean + noise * jnp.concatenate([n, -n])


def ring(directions: int = 128, *, turn: float = np.pi) -> tuple[jax.Array, jax.Array]:
    """Return clean views in every direction of the plane.

    Of a smooth loss 128 of them give the expectation to 1e-9, and half a turn is all
    where the loss is even in its inputs.
    """
    angle = (np.arange(directions) + 0.5) * turn / directions
    x = np.sqrt(2.0) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return jnp.asarray(x), jnp.asarray(x)


def over_sphere(
    loss: Callable[[tuple[jax.Array, jax.Array]], jax.Array], noise: float
) -> jax.Array:
    """Average over clean views in space and noisy ones, to second order in noise.

    Gauss' rule in the height, even steps in the angle, and noise along each axis in
    both senses. The views have length 1, at which ``1 / length^2`` has the mean that
    it has for normal inputs: right for a loss that does not see their scale.
    """
    height, weight = np.polynomial.legendre.leggauss(24)
    angle = (np.arange(48) + 0.5) * 2.0 * np.pi / 48
    flat = np.sqrt(1.0 - height**2)
    x = np.stack(
        [
            flat[:, None] * np.cos(angle)[None, :],
            flat[:, None] * np.sin(angle)[None, :],
            np.broadcast_to(height[:, None], (24, 48)),
        ],
        axis=2,
    )
    n = np.sqrt(3.0) * np.concatenate([np.eye(3), -np.eye(3)])
    clean = np.broadcast_to(x[:, :, None, :], (24, 48, 6, 3)).reshape(24, -1, 3)
    noisy = (x[:, :, None, :] + noise * n[None, None]).reshape(24, -1, 3)
    of_height = jax.vmap(lambda x1, x2: loss((x1, x2)))
    values = of_height(jnp.asarray(clean), jnp.asarray(noisy))
    return jnp.sum(jnp.asarray(weight / 2.0) * values)


def predictor_of(
    w: jax.Array, *, alpha: float | jax.Array = 1.0, epsilon: Any = None
) -> jax.Array:
    """Return ``(W W^T)^alpha``, or ``(C / ||C|| + epsilon)^alpha``."""
    w = jax.lax.stop_gradient(w)  # also: eigenvectors have no gradient at isotropy
    gram = w @ w.T
    if isinstance(alpha, float) and alpha == 1.0 and epsilon is None:
        return gram
    values, vectors = jnp.linalg.eigh(gram)
    values = jnp.maximum(values, 0.0)
    if epsilon is not None:
        values = values / values[-1] + epsilon
    return (vectors * (values**alpha)[None, :]) @ vectors.T


def loss_of(
    w: jax.Array,
    views: Sequence[jax.Array],
    loss: str,
    *,
    alpha: float | jax.Array = 1.0,
    epsilon: Any = None,
    predictor: bool = True,
    stop_gradient: str = "target",
    target_weights: jax.Array | None = None,
    activation: Callable[[jax.Array], jax.Array] = lambda z: z,
) -> jax.Array:
    """Compute one of the four losses on the network ``z = x W^T``.

    The losses hold their target fixed. Both are symmetric in prediction and target, so
    that swapping the two roles gives the gradient that the target would get.
    """
    distance = getattr(losses, LOSSES[loss])
    target = w if target_weights is None else target_weights
    z1, z2 = activation(views[0] @ w.T), activation(views[1] @ target.T)
    identity = jnp.eye(w.shape[0])
    p = predictor_of(w, alpha=alpha, epsilon=epsilon) if predictor else identity
    value = jnp.zeros(())
    if stop_gradient != "prediction":
        value += distance(z1, z2, p)
    if stop_gradient != "target":
        value += distance(z2, z1 @ p, identity)
    return value


def loss_of_all(
    params: dict[str, jax.Array], views: Sequence[jax.Array], **kwargs: Any
) -> jax.Array:
    """Sum over networks that are named for their losses: each gets its own gradient."""
    return sum(
        (loss_of(w, views, k, **kwargs) for k, w in params.items()), jnp.zeros(())
    )


def descents_at(
    loss: Callable[..., jax.Array],
    params: Any,
    rates: Sequence[float],
    total: float,
    **kwargs: Any,
) -> Simulation:
    """Descend at every rate for at least ``total`` time, in one program."""
    steps = round(total / min(rates))
    return jax.vmap(lambda r: gradient_descent(loss, params, steps, r, **kwargs))(
        jnp.asarray(rates)
    )


def mean_of_two(run: Callable[[jax.Array], Any], seed: int) -> tuple[Any, Any]:
    """Return the mean of two runs on samples of their own, and its standard error.

    Args:
        run: from a random key to records, a pytree of arrays.
        seed: of both keys.

    Returns:
        The means, and per array ``[times, modes]`` half the difference of the two runs:
        the root of its mean square over times, of the mode where it is largest. Modes
        differ in their noise, and a comparison looks at the worst.
    """
    # Draws and compiles faster than the default generator.
    keys = jax.random.split(jax.random.key(seed, impl="rbg"), 2)
    found = jax.vmap(run)(keys)
    mean = jax.tree.map(lambda x: x.mean(axis=0), found)
    error = jax.tree.map(
        lambda x: float(jnp.sqrt(jnp.mean((x[0] - x[1]) ** 2, axis=0)).max()) / 2.0,
        found,
    )
    return mean, error


def looked_up(grid: Any, values: Any) -> Callable[[Any], np.ndarray]:
    """Return ``solution(t)`` for times on the grid, from values ``[grid, modes]``."""
    grid, values = np.asarray(grid), np.asarray(values)

    def solution(t: Any) -> np.ndarray:
        index = np.searchsorted(grid, np.asarray(t) - 1e-9)
        return values[np.minimum(index, len(grid) - 1)]

    return solution


def slope_of(
    solution: Callable[[Any], Any],
    times: jax.Array,
    values: jax.Array,
    rates: Sequence[float],
    total: float,
) -> float:
    """Return the order at which descents approach the solution."""
    gaps = []
    for t, found in zip(times, values, strict=True):
        distance = np.abs(np.sort(solution(t), axis=-1) - np.asarray(found))
        gaps.append(distance[np.asarray(t) <= total * (1.0 + 1e-9)].max())
    return convergence_slope(rates, gaps)

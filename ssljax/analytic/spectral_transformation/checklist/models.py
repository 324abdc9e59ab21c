"""Batches with a known covariance and toy encoders, for spectral transformations."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses


def white_batch(seed: int, n: int, d: int) -> np.ndarray:
    """Return centred samples ``[n, d]`` whose covariance is the identity."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    return np.linalg.qr(x - x.mean(axis=0, keepdims=True))[0] * np.sqrt(n - 1.0)


def rotation(seed: int, n: int) -> np.ndarray:
    """Return a random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def hadamard(n: int) -> np.ndarray:
    """Return an orthogonal matrix, all squared entries 1/n; n a power of two."""
    h = np.ones((1, 1))
    while len(h) < n:
        h = np.kron([[1.0, 1.0], [1.0, -1.0]], h)
    return h / np.sqrt(n)


def noisy_views(seed: int, n: int, noise: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Return two views whose sample covariances are *exactly* those of the population.

    Either has ``I + diag(noise)``, the two together the identity.
    """
    d = len(noise)
    parts = jnp.split(jnp.asarray(white_batch(seed, n, 3 * d)), 3, axis=1)
    size = np.sqrt(noise)[None, :]
    return parts[0] + size * parts[1], parts[0] + size * parts[2]


def plain_alignment(t1: jax.Array, t2: jax.Array) -> jax.Array:
    """Return the squared distance of two outputs over N - 1, like a variance.

    Not a loss of the library, where rows are normalised or norms held.
    """
    return jnp.sum((t1 - t2) ** 2) / (t1.shape[0] - 1)


def aligned(x1: jax.Array, x2: jax.Array, g) -> jax.Array:
    """Return un-normalised alignment after a spectral transformation over the batch."""
    t = transformed(x1, x2, g)
    return plain_alignment(t[0], t[1])


def transformed(x1: jax.Array, x2: jax.Array, g) -> jax.Array:
    """Transform both views, each by its own covariance."""
    # Mapped, since compiling takes most of the time.
    return jax.vmap(lambda x: losses.spectral_transform(x, g))(jnp.stack([x1, x2]))


def aligned_alone(
    x1: jax.Array, x2: jax.Array, encoders: dict, pace: dict | None = None
):
    """Sum the alignment of independent encoders, for one program of them all.

    The key of an encoder is the power p of its ``g = lambda^-p``.
    """
    total = jnp.zeros(())
    for power, w in encoders.items():
        loss = aligned(x1 @ w, x2 @ w, lambda v, p=power: v**-p)
        total += loss if pace is None else pace[power] * loss
    return total


def trace_loss_of(z: jax.Array, iterations: int, axis: str) -> jax.Array:
    """Return the trace loss of the normalised embedding."""
    t = losses.iterative_normalization(z, iterations=iterations, axis=axis)
    return losses.trace_loss(t, axis=axis)


def spectrum(z: jax.Array, axis: str = "batch") -> jax.Array:
    """Return the eigenvalues of the embedding's covariance, ascending."""
    x = z if axis == "batch" else z.T
    x = x - x.mean(axis=0, keepdims=True)
    return jnp.linalg.eigvalsh(x.T @ x / (x.shape[0] - 1))


def effective_rank(values: jax.Array) -> jax.Array:
    """Return the exponential of the entropy of shares, along the last axis."""
    share = jnp.maximum(values, 0.0)
    share = share / jnp.sum(share, axis=-1, keepdims=True)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(share), axis=-1))


def adam(loss_of_params, params, steps: int, rate: float, *, key, record, every: int):
    """Run Adam on samples that are drawn anew in every step.

    Returns the records, the start among them.
    """
    moments = (jax.tree.map(jnp.zeros_like, params),) * 2

    def step(carry, number):
        params, first, second = carry
        gradient = jax.grad(loss_of_params)(params, jax.random.fold_in(key, number))
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 1e-3 * g**2, second, gradient)
        t = number + 1.0
        scale = jnp.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t)
        params = jax.tree.map(
            lambda p, m, v: p - rate * scale * m / (jnp.sqrt(v) + 1e-8),
            params,
            first,
            second,
        )
        return (params, first, second), None

    def stretch(carry, numbers):
        carry, _ = jax.lax.scan(step, carry, numbers)
        return carry, record(carry[0])

    numbers = jnp.arange(steps).reshape(steps // every, every)
    _, values = jax.lax.scan(stretch, (params, *moments), numbers)
    return jax.tree.map(
        lambda a, b: jnp.concatenate([a[None], b]), record(params), values
    )

"""Leading eigenvectors of the contrastive kernel, computed and differentiated.

With the kernel matrix ``K`` of 2n views and ``P = [[0, I], [I, 0]] / 2n``, eigenvectors
of the contrastive kernel ``K^(1/2) P K^(1/2)`` are ``K^(1/2) a``, ``P K a = gamma a``.
Nothing below takes an inverse of ``K``, so a singular one is not a special case: where
``K = L L^T`` and ``L^T P L u = gamma u``, simply ``a = P L u / gamma``.
"""

from functools import partial

import jax
import jax.numpy as jnp

from ssljax.losses.custom_rule import CustomRule

# Powers of P K in one cycle, and vectors beyond the wanted ones in a block.
_DEPTH, _SPARE = 8, 12
_CYCLES, _ROUNDING = 40, 1e-12


@partial(jax.jit, static_argnums=1)
def leading_modes(kernel: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    """Return the ``dim`` largest eigenvalues and the embedding's coefficients.

    The derivative is exact for distinct eigenvalues. Where some of the ``dim`` coincide
    it is exact for what does not depend on the choice of a basis, such as
    ``K c c^T K``, and finite for the rest. Between the last of them and the next
    eigenvalue there has to be a gap.

    Args:
        kernel: ``[2n, 2n]``, symmetric, positive semi-definite.
        dim: number of modes.

    Returns:
        ``gamma [dim]``, descending, and ``c [2n, dim]``, ``c_j = a_j / sqrt(gamma_j)``
        with ``a_i^T K a_j = delta_ij``. ``K c`` embeds the 2n views; of the two signs
        of a column, the one that makes its largest entry there positive.
    """
    return _modes(kernel, dim)


@partial(CustomRule, static=(1,))
def _modes(kernel: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    if 2 * _DEPTH * (dim + _SPARE) > len(kernel):
        gamma, c = dense_modes(kernel, dim)
    else:
        gamma, c, residual = krylov_modes(kernel, dim)
        # A cluster of eigenvalues that is wider than a block may not settle.
        gamma, c = jax.lax.cond(
            residual <= _ROUNDING, lambda: (gamma, c), lambda: dense_modes(kernel, dim)
        )
    embedded = kernel @ c
    largest = jnp.argmax(jnp.abs(embedded), axis=0)
    sign = jnp.sign(jnp.take_along_axis(embedded, largest[None, :], axis=0))
    return gamma, c * sign


@_modes.defjvp
def _modes_jvp(dim, primals, tangents):
    gamma, c = _modes(primals[0], dim)
    return (gamma, c), _change(primals[0], gamma, c, tangents[0])


def _change(
    kernel: jax.Array, gamma: jax.Array, c: jax.Array, tangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the first-order change of the modes of a kernel that changes."""
    root = jnp.sqrt(gamma)
    a = c * root[None, :]
    moved = tangent @ a
    inside = a.T @ moved
    # Within the span of the modes: a symmetric part, which has no denominators, and a
    # rotation, which has no meaning between equal eigenvalues.
    row, column = gamma[:, None], gamma[None, :]
    mean_root = 2.0 * root[:, None] * root[None, :]
    gap = column - row
    distinct = jnp.abs(gap) > 0.5e-8 * (column + row)
    turn = (row**2 + column**2) / (mean_root * jnp.where(distinct, gap, 1.0))
    within = inside * (jnp.where(distinct, turn, 0.0) - (row + column) / mean_root)
    # Out of it: (P K - gamma_j) y_j = -(I - a a^T K) P dK a_j. The modes themselves are
    # taken out of P K to keep the system regular.
    embedded = kernel @ a
    source = pair(moved)
    source = source - a @ (embedded.T @ source)
    rest = pair(kernel) - (a * gamma[None, :]) @ embedded.T
    identity = jnp.eye(len(kernel), dtype=kernel.dtype)

    def outside(mode):
        value, right = mode
        return jnp.linalg.solve(value * identity - rest, right)

    out = jax.lax.map(outside, (gamma, source.T)).T
    return gamma * jnp.diagonal(inside), c @ within + out / root[None, :]


def pair(views: jax.Array) -> jax.Array:
    """Multiply with ``P``: every view's partner, over 2n.

    >>> pair(jnp.arange(4.0)[:, None])[:, 0].tolist()
    [0.5, 0.75, 0.0, 0.25]
    """
    half = len(views) // 2
    return jnp.concatenate([views[half:], views[:half]]) / len(views)


def dense_modes(kernel: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    """Compute ``gamma`` and ``c`` from two full eigendecompositions."""
    values, vectors = jnp.linalg.eigh(kernel)
    factor = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
    gamma, u = jnp.linalg.eigh(factor.T @ pair(factor))
    gamma, u = gamma[::-1][:dim], u[:, ::-1][:, :dim]
    c = pair(factor @ u) / gamma[None, :] ** 1.5

    def corrected():
        # A finite difference can leave a singular kernel with negative eigenvalues.
        # They count to first order, so that it meets the derivative above.
        negative = vectors * jnp.minimum(values, 0.0)[None, :] @ vectors.T
        change = _change(kernel - negative, gamma, c, negative)
        return gamma + change[0], c + change[1]

    indefinite = values[0] < -1e-13 * values[-1]
    return jax.lax.cond(indefinite, corrected, lambda: (gamma, c))


def krylov_modes(kernel: jax.Array, dim: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compute ``gamma``, ``c`` and a residual from products with the kernel.

    ``P K`` is symmetric in the inner product of ``K``, so a block Krylov space with a
    Rayleigh-Ritz step, restarted from its best vectors, finds its top. The cost grows
    as n^2, where a decomposition takes n^3.
    """
    size, block = len(kernel), dim + _SPARE
    bound = jnp.max(jnp.sum(jnp.abs(kernel), axis=1))

    def orthonormal(w, basis, image):
        for _ in range(2):
            w = w - basis @ (image.T @ w)
            w = w / jnp.maximum(jnp.linalg.norm(w, axis=0), 1e-300)[None, :]
        for _ in range(2):
            kernel_w = kernel @ w
            gram = w.T @ kernel_w
            lengths, axes = jnp.linalg.eigh(0.5 * (gram + gram.T))
            # Directions that the kernel does not see are dropped: zero columns.
            seen = lengths > 1e-13 * bound
            inverse = jnp.where(seen, 1.0 / jnp.sqrt(jnp.where(seen, lengths, 1.0)), 0)
            scaled = axes * inverse[None, :]
            w, kernel_w = w @ scaled, kernel_w @ scaled
        return w, kernel_w

    def cycle(state):
        start, _, previous, _, number = state
        basis = image = jnp.zeros((size, block * _DEPTH), kernel.dtype)

        def grow(i, grown):
            basis, image, w, kernel_w = grown
            basis = jax.lax.dynamic_update_slice(basis, w, (0, i * block))
            image = jax.lax.dynamic_update_slice(image, kernel_w, (0, i * block))
            return basis, image, *orthonormal(pair(kernel_w), basis, image)

        first = (basis, image, *orthonormal(start, basis, image))
        basis, image, _, _ = jax.lax.fori_loop(0, _DEPTH, grow, first)
        small = image.T @ pair(image)
        values, axes = jnp.linalg.eigh(0.5 * (small + small.T))
        values, axes = values[::-1][:block], axes[:, ::-1][:, :block]
        embedded = kernel @ (basis @ axes)
        ahead = pair(embedded)
        error = kernel @ ahead[:, :dim] - embedded[:, :dim] * values[None, :dim]
        lengths = jnp.linalg.norm(embedded[:, :dim], axis=0)
        residual = jnp.max(jnp.linalg.norm(error, axis=0) / lengths) / values[0]
        return ahead, values[:dim], residual, previous, number + 1

    def unfinished(state):
        _, _, residual, previous, number = state
        # Down to rounding, or as far as rounding lets it come.
        stuck = (residual <= _ROUNDING) & (residual > 0.9 * previous)
        return ~((residual <= 1e-13) | stuck) & (number < _CYCLES)

    start = jax.random.normal(jax.random.key(0), (size, block), kernel.dtype)
    far = jnp.asarray(jnp.inf, kernel.dtype)
    none = jnp.zeros(dim, kernel.dtype)
    state = (start, none, far, far, jnp.zeros((), jnp.int32))
    ahead, gamma, residual, _, _ = jax.lax.while_loop(unfinished, cycle, state)
    # a = P K a / gamma is free of what lies in the null space of the kernel.
    return gamma, ahead[:, :dim] / gamma[None, :] ** 1.5, residual

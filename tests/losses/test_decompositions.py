"""Eigendecompositions and Cholesky factors, also of singular matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrices import SPECTRA, symmetric, with_spectrum

from ssljax.losses.matrix_functions import (
    cholesky,
    eigh,
    matrix_function,
)


def test_eigh_has_a_derivative_where_the_eigenvalues_are_distinct(float64):
    weight, direction, step = symmetric(4, 1), symmetric(4, 5), 1e-4
    s = with_spectrum(SPECTRA["distinct"])

    def f(s):
        values, vectors = eigh(s)
        return jnp.sum(weight * vectors) + jnp.sum(values**2)

    @jax.jit
    def found(s):
        forward = jax.jvp(f, (s,), (jnp.asarray(direction),))[1]
        return f(s), jnp.vdot(jax.grad(f)(s), direction), forward

    ends = [found(s + k * step * direction)[0] for k in (1, -1)]
    _, reverse, forward = found(s)
    numeric = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose([reverse, forward], numeric, rtol=1e-5)


def test_eigh_stays_finite_in_an_eigenspace_and_fixes_its_signs(float64):
    s = np.diag([2.0, 2.0, 5.0])

    @jax.jit
    def found(s):
        return *eigh(s), jax.grad(lambda s: jnp.sum(eigh(s)[1] ** 3))(s)

    values, vectors, gradient = found(s)
    np.testing.assert_allclose((vectors * values[None, :]) @ vectors.T, s, atol=1e-14)
    assert np.isfinite(gradient).all()
    matrices = [with_spectrum(SPECTRA["distinct"], seed) for seed in range(5)]
    _, vectors = jax.jit(jax.vmap(eigh))(np.stack(matrices))
    for matrix in np.asarray(vectors):
        assert all(c[np.argmax(abs(c))] > 0 for c in matrix.T)


@jax.jit
def cholesky_and_gradient(s):
    return cholesky(s), jax.grad(lambda s: jnp.sum(cholesky(s)))(s)


def test_cholesky_is_exact_where_it_exists(float64):
    s = with_spectrum([1e-6, 0.5, 2.0, 8.0])
    lower, _ = cholesky_and_gradient(s)
    np.testing.assert_allclose(lower, np.linalg.cholesky(s), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cholesky_of_a_singular_matrix_is_close_to_a_root(dtype, float64):
    for values in ([0.0] * 4, [0.0, 0.0, 0.0, 2.0], [0.0, 1, 2, 3]):
        s = with_spectrum(values).astype(dtype)
        lower, gradient = cholesky_and_gradient(s)
        assert lower.dtype == dtype
        assert np.isfinite(gradient).all()
        if max(values) > 0:
            bound = 40 * float(np.finfo(dtype).eps) * max(values)
            np.testing.assert_allclose(lower @ lower.T, s, atol=bound)
        else:
            np.testing.assert_allclose(lower, np.eye(4))


def test_a_batch_of_batches_is_decomposed_as_each_matrix_alone(float64):
    s = np.stack([symmetric(3, seed) for seed in range(6)]).reshape(2, 3, 3, 3)

    def exponential(s):
        return matrix_function(s, jnp.exp)

    together = jax.jit(jax.vmap(jax.vmap(exponential)))(s)
    alone = jax.jit(exponential)
    each = [[alone(one) for one in row] for row in s]
    np.testing.assert_allclose(together, np.array(each), rtol=1e-12)

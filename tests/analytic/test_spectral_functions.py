"""Powers of symmetric matrices: derivatives where eigenvalues repeat or vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.spectral_functions import symmetric_power

pytestmark = pytest.mark.usefixtures("float64")


def turned(values, seed=0):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    return (turn * np.asarray(values, float)[None, :]) @ turn.T


def by_numpy(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0.0)[None, :] ** power) @ vectors.T


def directions(n, seed=1):
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(2, n, n))
    return found + np.swapaxes(found, 1, 2)


SPECTRA = {
    "distinct": (0.3, 1.0, 2.5),
    "repeated": (0.7, 0.7, 1.9),
    "all equal": (0.5, 0.5, 0.5),
    "nearly equal": (0.5, 0.5 + 1e-9, 0.5 + 2e-3),
    "far apart": (0.02, 1.0, 5.0),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("power", [0.5, 1.5, -1.0])
def test_first_and_second_derivatives_match_differences(name, power):
    matrix, (first, second) = turned(SPECTRA[name]), directions(3)

    def slope(matrix, power):
        return jax.jvp(lambda m: symmetric_power(m, power), (matrix,), (first,))[1]

    @jax.jit
    def exact(matrix, power):
        """Return value, slope, second derivative, and both slopes' slope in power."""
        one = jnp.ones(())
        return (
            symmetric_power(matrix, power),
            slope(matrix, power),
            jax.jvp(lambda p: symmetric_power(matrix, p), (power,), (one,))[1],
            jax.jvp(lambda m: slope(m, power), (matrix,), (second,))[1],
            jax.jvp(lambda p: slope(matrix, p), (power,), (one,))[1],
        )

    h = 1e-5 * min(*SPECTRA[name], 0.5)
    along = {
        1: lambda x: by_numpy(matrix + x * first, power),
        2: lambda x: by_numpy(matrix, power + x),
        # Of the slope, which is tested against differences itself.
        3: lambda x: exact(matrix + x * second, power)[1],
        4: lambda x: exact(matrix, power + x)[1],
    }
    found = exact(matrix, power)
    np.testing.assert_allclose(found[0], by_numpy(matrix, power), rtol=0, atol=1e-10)
    for i, step in along.items():
        numeric = (step(h) - step(-h)) / (2 * h)
        tolerance = 1e-6 * np.abs(numeric).max()
        np.testing.assert_allclose(found[i], numeric, rtol=0, atol=tolerance)


def test_reverse_mode_of_every_order_agrees_with_forward():
    weights = 0.5 * np.eye(3)
    mask = directions(3)[0]

    def value(w, power):
        return jnp.sum(mask * symmetric_power(w @ w.T, power))

    @jax.jit
    def all_of(w, power):
        both = (0, 1)
        return (
            jax.grad(value, both)(w, power),
            jax.jacfwd(value, both)(w, power),
            jax.jacfwd(jax.grad(value, both), both)(w, power),
            jax.jacrev(jax.grad(value, both), both)(w, power),
        )

    reverse, forward, hessian, twice = all_of(weights, 0.7)

    def equal(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)

    jax.tree.map(equal, reverse, forward)
    jax.tree.map(equal, hessian, twice)


def test_it_is_mapped_and_differentiated_in_any_order():
    matrices = jnp.stack([jnp.eye(2), jnp.array([[2.0, 0.5], [0.5, 1.0]])])
    powers = jnp.array([0.5, -1.0, 2.0])

    def curve(matrix, power):
        return jax.hessian(lambda m: symmetric_power(m, power)[0, 0])(matrix)

    mapped = jax.jit(jax.vmap(jax.vmap(curve, (None, 0)), (0, None)))(matrices, powers)
    one = jax.jit(curve)
    for i, matrix in enumerate(matrices):
        for j, power in enumerate(powers):
            np.testing.assert_allclose(mapped[i, j], one(matrix, power), atol=1e-12)


@pytest.mark.parametrize("power, slope, curve", [(1.0, 1.0, 0.0), (2.0, 0.0, 2.0)])
def test_whole_powers_are_smooth_at_zero(power, slope, curve):
    def value(x):
        return symmetric_power(x * jnp.eye(2), power)[0, 0]

    zero = jnp.zeros(())
    assert jax.grad(value)(zero) == slope
    assert jax.grad(jax.grad(value))(zero) == curve


def test_a_null_space_keeps_finite_derivatives_of_high_powers():
    matrix, (first, _) = np.diag([2.0, 1.0, 0.0, 0.0]), directions(4)
    found = jax.jvp(lambda m: symmetric_power(m, 3.0), (matrix,), (first,))[1]
    exact = first @ matrix @ matrix + matrix @ first @ matrix + matrix @ matrix @ first
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_a_matrix_must_be_square():
    with pytest.raises(ValueError, match=r"matrix must be \[n, n\], got shape"):
        symmetric_power(np.ones((2, 3)), 0.5)

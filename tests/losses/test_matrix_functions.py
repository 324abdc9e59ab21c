import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax.losses.matrix_functions import (
    cholesky,
    coupled_iteration,
    eigh,
    iterated_inverse_root,
    matrix_function,
    plain_iteration,
)

FUNCTIONS = {
    "inverse root": (lambda x: x**-0.5, lambda x: x**-0.5),
    "exponential": (lambda x: jnp.exp(-x), lambda x: np.exp(-x)),
    "logarithm": (jnp.log1p, np.log1p),
    "constant": (lambda x: 2.0, lambda x: 2.0 + 0 * x),
}
SPECTRA = {
    "distinct": [0.3, 0.9, 1.7, 4.0],
    "all equal": [2.0, 2.0, 2.0, 2.0],
    "two pairs": [0.5, 0.5, 3.0, 3.0],
    "nearly equal": [1.0, 1.0 + 1e-9, 1.0 + 1e-4, 2.0],
}


def cube(x):
    return x**3


def rotation(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def with_spectrum(values, seed=0):
    q = rotation(len(values), seed)
    return jnp.asarray((q * np.asarray(values)) @ q.T)


def symmetric(n, seed):
    a = np.random.default_rng(seed).normal(size=(n, n))
    return jnp.asarray(a + a.T)


@functools.cache
def inner_product(g, seed=1, n=4):
    weight = symmetric(n, seed)
    return jax.jit(lambda s: jnp.sum(weight * matrix_function(s, g)))


@jax.jit
@jax.grad
def inverse_root_gradient(s, weight):
    return jnp.sum(weight * matrix_function(s, lambda x: x**-0.5))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_equals_the_sum_over_eigenvectors(name, n, float64):
    g, reference = FUNCTIONS[name]
    s = with_spectrum(np.random.default_rng(n).uniform(0.2, 5, size=n))
    values, vectors = np.linalg.eigh(np.asarray(s))
    expected = np.zeros((n, n))
    for value, vector in zip(values, vectors.T, strict=True):
        expected += reference(value) * np.outer(vector, vector)
    np.testing.assert_allclose(matrix_function(s, g), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "name, spectrum",
    [*itertools.product(["inverse root"], SPECTRA), ("exponential", "two pairs")],
)
def test_two_orders_of_gradients_match_differences(name, spectrum, float64):
    f = inner_product(FUNCTIONS[name][0])
    s = with_spectrum(SPECTRA[spectrum])
    check_grads(f, (s,), order=2, modes=["rev"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gap", [0.0, *(10.0**-k for k in range(1, 16))])
def test_the_gradient_is_accurate_at_any_gap(gap, float64):
    # For x**-0.5 the divided difference has a form that never cancels.
    values = np.array([1.0, 1.0 + gap, 1.0 + 2 * gap, 3.0])
    root = np.sqrt(values)
    quotient = -1 / (np.outer(root, root) * (root[:, None] + root[None, :]))
    weight = symmetric(4, 1)
    for dtype, tolerance in [(jnp.float64, 2e-12), (jnp.float32, 2e-5)]:
        s = jnp.diag(jnp.asarray(values, dtype))
        gradient = inverse_root_gradient(s, weight.astype(dtype))
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, quotient * weight, rtol=tolerance)


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_three_orders_agree_with_a_matrix_product(spectrum, float64):
    # The cube needs no eigenvectors, so plain autodiff is the reference.
    s, weight = with_spectrum(SPECTRA[spectrum]), symmetric(4, 1)
    first, second = symmetric(4, 2), symmetric(4, 3)

    def gradients(f):
        def once(s):
            return jnp.sum(first * jax.grad(f)(s))

        def twice(s):
            return jnp.sum(second * jax.grad(once)(s))

        return [jax.jit(jax.grad(h))(s) for h in (f, once, twice)]

    def product(s):
        s = 0.5 * (s + s.T)
        return jnp.sum(weight * (s @ s @ s))

    for value, expected in zip(
        gradients(inner_product(cube)),
        gradients(product),
        strict=True,
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


def test_a_singular_inverse_root_is_the_pseudo_inverse(float64):
    s = with_spectrum([0.0, 0.0, 0.5, 2.0])
    expected = with_spectrum([0.0, 0.0, 0.5**-0.5, 2.0**-0.5])
    value = matrix_function(s, lambda x: x**-0.5)
    np.testing.assert_allclose(value, expected, atol=1e-13)


def test_the_gradient_of_a_singular_matrix_is_exact_while_the_rank_stays(float64):
    rng = np.random.default_rng(0)
    tall, direction = (jnp.asarray(rng.normal(size=(5, 3))) for _ in range(2))
    f = inner_product(FUNCTIONS["inverse root"][0], n=5)

    def along(t):
        moved = tall + t * direction
        return f(moved @ moved.T)

    step = 1e-5
    numeric = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(along))(0.0), numeric, rtol=1e-7)


def test_a_function_finite_at_zero_keeps_its_value_and_slope_there(float64):
    s = with_spectrum([0.0, 0.0, 1.0])
    np.testing.assert_allclose(
        matrix_function(s, jnp.cos), with_spectrum([1.0, 1.0, np.cos(1.0)]), atol=1e-14
    )
    check_grads(inner_product(jnp.exp, n=3), (s,), order=2, modes=["rev"])


def test_what_is_not_finite_elsewhere_is_not_hidden(float64):
    negative = with_spectrum([-1.0, 1.0])
    assert bool(jnp.isnan(matrix_function(negative, jnp.sqrt)).any())
    assert bool(jnp.isnan(matrix_function(negative.at[0, 0].set(jnp.nan), abs)).any())


def test_forward_mode_is_refused(float64):
    s = jnp.eye(3)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda s: matrix_function(s, jnp.exp), (s,), (s,))


def test_jit_and_vmap_agree_with_the_plain_call(float64):
    f = inner_product(jnp.exp, n=3)
    batch = jnp.stack([with_spectrum([1.0, 1.0, k]) for k in (1.0, 2.0)])
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(f)))(batch)
    for i in range(2):
        value, gradient = jax.value_and_grad(f)(batch[i])
        np.testing.assert_allclose(values[i], value, rtol=1e-13)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-12, atol=1e-13)


def test_eigh_has_a_derivative_where_the_eigenvalues_are_distinct(float64):
    weight = symmetric(4, 1)

    @jax.jit
    def f(s):
        values, vectors = eigh(s)
        return jnp.sum(weight * vectors) + jnp.sum(values**2)

    check_grads(f, (with_spectrum(SPECTRA["distinct"]),), order=1, rtol=1e-5)


def test_eigh_stays_finite_in_an_eigenspace_and_fixes_its_signs(float64):
    s = jnp.diag(jnp.array([2.0, 2.0, 5.0]))
    values, vectors = eigh(s)
    np.testing.assert_allclose((vectors * values[None, :]) @ vectors.T, s, atol=1e-14)
    gradient = jax.grad(lambda s: jnp.sum(eigh(s)[1] ** 3))(s)
    assert bool(jnp.isfinite(gradient).all())
    for seed in range(5):
        _, vectors = eigh(with_spectrum(SPECTRA["distinct"], seed))
        columns = np.asarray(vectors).T
        assert all(c[np.argmax(abs(c))] > 0 for c in columns)


def test_cholesky_is_exact_where_it_exists(float64):
    s = with_spectrum([1e-6, 0.5, 2.0, 8.0])
    np.testing.assert_allclose(cholesky(s), np.linalg.cholesky(s), rtol=1e-12)


@pytest.mark.parametrize("values", [[0.0] * 4, [0.0, 0.0, 0.0, 2.0], [0.0, 1, 2, 3]])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_cholesky_of_a_singular_matrix_is_close_to_a_root(values, dtype, float64):
    s = with_spectrum(values).astype(dtype)
    lower = cholesky(s)
    gradient = jax.grad(lambda s: jnp.sum(cholesky(s)))(s)
    assert bool(jnp.isfinite(gradient).all())
    if max(values) > 0:
        bound = 40 * float(jnp.finfo(dtype).eps) * max(values)
        np.testing.assert_allclose(lower @ lower.T, s, atol=bound)
    else:
        np.testing.assert_allclose(lower, np.eye(4))


@pytest.mark.parametrize("iterations", [0, 1, 4, 7])
def test_the_two_iterations_are_the_same_map(iterations, float64):
    s = with_spectrum([0.01, 0.1, 0.3, 0.59])
    expected = plain_iteration(s, iterations)
    np.testing.assert_allclose(
        coupled_iteration(s, iterations), expected, rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(iterated_inverse_root(s, iterations), expected)


def test_many_steps_reach_the_inverse_root(float64):
    # Twenty plain steps on this matrix would be lost in amplified rounding.
    s = with_spectrum([0.001, 0.1, 0.3, 0.599])
    expected = matrix_function(s, jax.lax.rsqrt)
    np.testing.assert_allclose(iterated_inverse_root(s, 20), expected, rtol=1e-10)
    narrow = s.astype(jnp.float32)
    errors = [
        float(jnp.abs(f(narrow, 20) - expected).max() / jnp.abs(expected).max())
        for f in (plain_iteration, coupled_iteration)
    ]
    assert not errors[0] < 0.1 and errors[1] < 1e-3


def test_the_gradient_of_the_iteration_is_symmetric_in_permutations(float64):
    # A permutation of the axes permutes value and gradient alike.
    s, weight = with_spectrum([0.1, 0.2, 0.3, 0.4]), symmetric(4, 1)
    order = np.array([2, 0, 3, 1])
    for f, steps in itertools.product((plain_iteration, coupled_iteration), (2, 5)):

        @jax.jit
        @jax.grad
        def gradient(s, w, f=f, steps=steps):
            return jnp.sum(w * f(s, steps))

        permuted = np.ix_(order, order)
        np.testing.assert_allclose(
            gradient(s[permuted], weight[permuted]),
            gradient(s, weight)[permuted],
            rtol=1e-10,
        )


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_through_a_scan_are_those_of_a_vmap(order, float64):
    """As of gradient descent on a spectral loss, with respect to its start."""
    blocks = jnp.stack([symmetric(3, seed) @ symmetric(3, seed) for seed in range(4)])

    def root(s):
        return matrix_function(s + jnp.eye(3), lambda x: x**-0.5)

    def of(mapped):
        def value(b):
            return jnp.sum(mapped(root)(b) ** 3)

        if order == 1:
            return jax.grad(value)(blocks)
        return jax.grad(lambda b: jnp.sum(jax.grad(value)(b) ** 2))(blocks)

    scanned = of(lambda f: lambda b: jax.lax.map(f, b))
    np.testing.assert_allclose(scanned, of(jax.vmap), rtol=1e-9, atol=1e-12)


def test_a_batch_of_batches_is_decomposed_as_each_matrix_alone(float64):
    s = jnp.stack([symmetric(3, seed) for seed in range(6)]).reshape(2, 3, 3, 3)
    together = jax.jit(jax.vmap(jax.vmap(lambda s: matrix_function(s, jnp.exp))))(s)
    each = [[matrix_function(one, jnp.exp) for one in row] for row in s]
    np.testing.assert_allclose(together, np.array(each), rtol=1e-12)

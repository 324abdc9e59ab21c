"""Functions of symmetric matrices: values, and derivatives of every order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrices import SPECTRA, symmetric, with_spectrum

from ssljax.losses.matrix_functions import eigh, matrix_function

FUNCTIONS = {
    "inverse root": (lambda x: x**-0.5, lambda x: x**-0.5),
    "exponential": (lambda x: jnp.exp(-x), lambda x: np.exp(-x)),
    "logarithm": (jnp.log1p, np.log1p),
    "constant": (lambda x: 2.0, lambda x: 2.0 + 0 * x),
}
SINGULAR = {"two zeros": [0.0, 0.0, 1.0, 2.0], "three zeros": [0.0, 0.0, 0.0, 1.0]}


def inner_product(g, seed=1, n=4):
    weight = symmetric(n, seed)
    return lambda s: jnp.sum(weight * matrix_function(s, g))


@jax.jit
@jax.grad
def inverse_root_gradient(s, weight):
    return jnp.sum(weight * matrix_function(s, lambda x: x**-0.5))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_equals_the_sum_over_eigenvectors(n, float64):
    s = with_spectrum(np.random.default_rng(n).uniform(0.2, 5, size=n))
    values, vectors = np.linalg.eigh(s)

    @jax.jit
    def found(s):
        return {name: matrix_function(s, g) for name, (g, _) in FUNCTIONS.items()}

    for name, actual in found(s).items():
        expected = np.zeros((n, n))
        for value, vector in zip(values, vectors.T, strict=True):
            expected += FUNCTIONS[name][1](value) * np.outer(vector, vector)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    "g, spectra",
    [
        (FUNCTIONS["inverse root"][0], SPECTRA),
        # Finite at zero, with its slope: unlike the inverse root no value is dropped.
        (jnp.exp, {"two pairs": SPECTRA["two pairs"], **SINGULAR}),
    ],
    ids=["inverse root", "exponential"],
)
def test_two_orders_of_gradients_match_differences(g, spectra, float64):
    f, direction, step = inner_product(g), symmetric(4, 5), 1e-3

    @jax.jit
    @jax.vmap
    def measure(s):
        def slope(s):
            return jnp.vdot(jax.grad(f)(s), direction)

        return f(s), jax.grad(f)(s), jax.grad(slope)(s)

    for name, spectrum in spectra.items():
        s = with_spectrum(spectrum)
        points = [s + k * step * direction for k in (0, -2, -1, 1, 2)]
        values, gradients, curvature = map(np.asarray, measure(np.stack(points)))

        def difference(v):
            return (8 * (v[3] - v[2]) - (v[4] - v[1])) / (12 * step)

        slope = np.vdot(gradients[0], direction)
        np.testing.assert_allclose(slope, difference(values), rtol=1e-6, err_msg=name)
        expected = difference(gradients)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            curvature[0], expected, rtol=0, atol=1e-6 * scale, err_msg=name
        )


def test_the_gradient_is_accurate_at_any_gap(float64):
    # For x**-0.5 the divided difference has a form that never cancels.
    weight = symmetric(4, 1)
    for gap in [0.0, *(10.0**-k for k in range(1, 16))]:
        values = np.array([1.0, 1.0 + gap, 1.0 + 2 * gap, 3.0])
        root = np.sqrt(values)
        quotient = -1 / (np.outer(root, root) * (root[:, None] + root[None, :]))
        for dtype, tolerance in [(np.float64, 2e-12), (np.float32, 2e-5)]:
            s = np.diag(values).astype(dtype)
            gradient = inverse_root_gradient(s, weight.astype(dtype))
            assert gradient.dtype == dtype
            np.testing.assert_allclose(
                gradient, quotient * weight, rtol=tolerance, err_msg=str(gap)
            )


def test_three_orders_agree_with_a_matrix_product(float64):
    # The cube needs no eigenvectors, so plain autodiff is the reference.
    weight, first, second = (symmetric(4, seed) for seed in (1, 2, 3))

    def orders(f, s):
        def once(s):
            return jnp.sum(first * jax.grad(f)(s))

        def twice(s):
            return jnp.sum(second * jax.grad(once)(s))

        return [jax.grad(h)(s) for h in (f, once, twice)]

    def product(s):
        s = 0.5 * (s + s.T)
        return jnp.sum(weight * (s @ s @ s))

    @jax.jit
    @jax.vmap
    def found(s):
        return orders(inner_product(lambda x: x**3), s), orders(product, s)

    spectra = [with_spectrum(spectrum) for spectrum in SPECTRA.values()]
    for value, expected in zip(*found(np.stack(spectra)), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


def test_a_singular_inverse_root_is_the_pseudo_inverse(float64):
    s = with_spectrum([0.0, 0.0, 0.5, 2.0])
    expected = with_spectrum([0.0, 0.0, 0.5**-0.5, 2.0**-0.5])
    value = jax.jit(lambda s: matrix_function(s, lambda x: x**-0.5))(s)
    np.testing.assert_allclose(value, expected, atol=1e-13)


def test_the_gradient_of_a_singular_matrix_is_exact_while_the_rank_stays(float64):
    tall, direction = np.random.default_rng(0).normal(size=(2, 5, 3))
    f = inner_product(FUNCTIONS["inverse root"][0], n=5)

    @jax.jit
    @jax.value_and_grad
    def along(t):
        moved = tall + t * direction
        return f(moved @ moved.T)

    step = 1e-5
    numeric = (along(step)[0] - along(-step)[0]) / (2 * step)
    np.testing.assert_allclose(along(0.0)[1], numeric, rtol=1e-7)


def test_a_function_finite_at_zero_keeps_its_value_there(float64):
    value = jax.jit(lambda s: matrix_function(s, jnp.cos))(with_spectrum([0, 0, 1.0]))
    expected = with_spectrum([1.0, 1.0, np.cos(1.0)])
    np.testing.assert_allclose(value, expected, atol=1e-14)


def test_nan_away_from_zero_is_not_hidden(float64):
    root = jax.jit(lambda s: matrix_function(s, jnp.sqrt))
    negative = with_spectrum([-1.0, 1.0])
    assert np.isnan(root(negative)).any()
    positive = with_spectrum([1.0, 1.0])
    positive[0, 0] = np.nan
    assert np.isnan(root(positive)).any()


@pytest.mark.parametrize("name", [*SPECTRA, *SINGULAR])
def test_every_mix_of_modes_gives_the_same_derivatives(name, float64):
    s = with_spectrum((SPECTRA | SINGULAR)[name])
    f = inner_product(jnp.exp)
    first, second = symmetric(4, 5), symmetric(4, 6)

    def along(g, v):
        return lambda s: jax.jvp(g, (s,), (v,))[1]

    def down(g, v):
        return lambda s: jnp.vdot(jax.grad(g)(s), v)

    @jax.jit
    def found(s):
        mixes = [
            o(i(f, first), second)(s) for i in (along, down) for o in (along, down)
        ]
        hessian = [
            outer(inner(f))(s)
            for outer in (jax.jacfwd, jax.jacrev)
            for inner in (jax.jacfwd, jax.jacrev)
        ]
        return mixes, [jnp.einsum("abcd,ab,cd", h, first, second) for h in hessian]

    mixes, hessians = found(s)
    expected = mixes[-1]  # whose orders other tests compare with differences
    np.testing.assert_allclose(mixes, expected, rtol=1e-10)
    np.testing.assert_allclose(hessians, expected, rtol=1e-10)


def test_forward_mode_through_maps_and_shared_directions(float64):
    batch = np.stack([with_spectrum([1.0, 1.0, k]) for k in (1.0, 2.0, 3.0)])
    direction = symmetric(3, 2)

    def slope(s, v):
        return jax.jvp(lambda s: matrix_function(s, jnp.exp), (s,), (v,))[1]

    @jax.jit
    def found(batch):
        shared = jax.vmap(slope, in_axes=(0, None))(batch, direction)
        # The transpose of a direction that a vmap shares.
        total = jax.grad(
            lambda v: jnp.sum(jax.vmap(slope, in_axes=(0, None))(batch, v) ** 2)
        )(direction)
        scanned = jax.lax.map(lambda s: slope(s, direction), batch)
        return shared, scanned, total

    shared, scanned, total = found(batch)
    each = [jax.jit(slope)(s, direction) for s in batch]
    np.testing.assert_allclose(shared, np.stack(each), rtol=1e-12)
    np.testing.assert_allclose(scanned, shared, rtol=1e-12)
    pulled = [jax.jit(slope)(s, 2 * e) for s, e in zip(batch, each, strict=True)]
    np.testing.assert_allclose(total, np.sum(pulled, axis=0), rtol=1e-12)


def test_derivatives_inside_of_a_shard_map(float64):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("i",))
    spec = jax.sharding.PartitionSpec("i")
    batch = np.stack([with_spectrum([1.0, 1.0, k]) for k in (1.0, 2.0, 3.0, 4.0)])

    def loss(part):
        return jnp.sum(matrix_function(part[0], jnp.exp) ** 3)[None]

    def both(part):
        slope = jax.jvp(loss, (part,), (part,))[1]
        return jax.grad(lambda p: loss(p)[0])(part), slope

    sharded = jax.shard_map(both, mesh=mesh, in_specs=spec, out_specs=(spec, spec))
    found = jax.jit(sharded)(batch)
    alone = [jax.jit(both)(b[None]) for b in batch]
    for value, parts in zip(found, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(value, np.concatenate(parts), rtol=1e-12)


def test_vmap_agrees_with_the_plain_call(float64):
    both = jax.value_and_grad(inner_product(jnp.exp, n=3))
    batch = np.stack([with_spectrum([1.0, 1.0, k]) for k in (1.0, 2.0)])
    values, gradients = jax.jit(jax.vmap(both))(batch)
    plain = jax.jit(both)
    for i in range(2):
        value, gradient = plain(batch[i])
        np.testing.assert_allclose(values[i], value, rtol=1e-13)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-12, atol=1e-13)


def inverse_root(s):
    return matrix_function(s + jnp.eye(3), lambda x: x**-0.5)


def scaled_vectors(s):
    values, vectors = eigh(s)
    return values[None, :] * vectors


@pytest.mark.parametrize("root", [inverse_root, scaled_vectors])
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_through_a_scan_are_those_of_a_vmap(order, root, float64):
    """As of gradient descent on a spectral loss, with respect to its start."""
    blocks = np.stack([symmetric(3, seed) @ symmetric(3, seed) for seed in range(4)])

    def of(mapped, blocks):
        def value(b):
            return jnp.sum(mapped(root)(b) ** 3)

        if order == 1:
            return jax.grad(value)(blocks)
        return jax.grad(lambda b: jnp.sum(jax.grad(value)(b) ** 2))(blocks)

    def scan(f):
        return lambda blocks: jax.lax.map(f, blocks)

    scanned, mapped = jax.jit(lambda b: [of(m, b) for m in (scan, jax.vmap)])(blocks)
    np.testing.assert_allclose(scanned, mapped, rtol=1e-9, atol=1e-12)

"""Losses on the smaller side equal their definitions on matrices that are formed."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import normal, pair

from ssljax import losses
from ssljax.losses import innovations, matrix_functions, symmetric_products
from ssljax.losses.numerics import center, l2_normalize, off_diagonal_square_sum
from ssljax.losses.spectral_transforms import observations

KEY = jax.random.key(0)


def barlow_twins(z1, z2):
    def standardize(z):
        x = center(z)
        return x / jnp.sqrt(jnp.mean(x**2, axis=0, keepdims=True) + 1e-5)

    c = standardize(z1).T @ standardize(z2) / len(z1)
    others = off_diagonal_square_sum(c)
    return jnp.sum((jnp.diagonal(c) - 1.0) ** 2) + 0.0051 * others


def vicreg(z1, z2):
    """Of the covariances alone."""
    total = 0.0
    for z in (z1, z2):
        c = center(z).T @ center(z) / (len(z) - 1)
        total += off_diagonal_square_sum(c) / z.shape[1]
    return total


def tcr(z1, z2):
    rate = 0.0
    for z in map(l2_normalize, (z1, z2)):
        n, d = z.shape
        matrix = jnp.eye(d) + d / (n * 0.2) * (z.T @ z)
        rate += jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(matrix)))) / 2
    return -rate


def spectral_contrastive(z1, z2):
    def project(z):
        length = jnp.sum(z**2, axis=1, keepdims=True)
        outside = length > 1.0
        return jnp.where(outside, z / jnp.sqrt(jnp.where(outside, length, 1.0)), z)

    s, n = project(z1) @ project(z2).T, len(z1)
    return off_diagonal_square_sum(s) / (n * (n - 1)) - 2.0 * jnp.diagonal(s).mean()


def intl(z1, z2):
    """With every product of the iteration, on the channels' side."""

    def normalized(z):
        x, floor = observations(z, "channel")
        s = x.T @ x / (len(x) - 1)
        varies = jnp.trace(s) > floor
        trace = jnp.where(varies, jnp.trace(s), 1.0)
        p = jnp.eye(len(s))
        for _ in range(4):
            p = 1.5 * p - 0.5 * (p @ ((p @ (s / trace)) @ p))
        return jnp.where(varies, x @ p / jnp.sqrt(trace), 0.0).T

    a, b = normalized(z1), normalized(z2)
    trace = losses.trace_loss(a) + losses.trace_loss(b)
    return 2.0 + 2.0 * losses.negative_cosine(a, b) + 0.1 * trace


def whitened(z, eps):
    x, floor = observations(z, "batch")
    c = (1.0 - eps) * x.T @ x / (len(x) - 1) + eps * jnp.eye(x.shape[1])
    lower = matrix_functions.cholesky(c, floor=floor)
    return jax.scipy.linalg.solve_triangular(lower, x.T, lower=True).T


def w_mse(z1, z2):
    return 2.0 + 2.0 * losses.negative_cosine(whitened(z1, 0.1), whitened(z2, 0.1))


COVARIANCE = dict(invariance_weight=0.0, variance_weight=0.0)
FORMS = {
    "barlow_twins": (barlow_twins, losses.barlow_twins),
    "vicreg": (vicreg, functools.partial(losses.vicreg, **COVARIANCE)),
    "tcr": (tcr, functools.partial(losses.tcr, invariance_weight=0.0)),
    "spectral_contrastive": (spectral_contrastive, losses.spectral_contrastive),
    "intl": (intl, lambda a, b: losses.intl([a, b], trace_weight=0.1)),
    "w_mse": (w_mse, lambda a, b: losses.w_mse([a, b], key=KEY, eps=0.1)),
}
# Rows fewer than half the columns, half, more, as many, more than double.
SHAPES = [(3, 8), (4, 8), (5, 8), (5, 5), (9, 4), (2, 6), (5, 1), (2, 1)]


def points(n, d):
    """Return pairs of views: random, shifted, collapsed and of deficient rank."""
    a, b = pair(n, d)
    low = np.outer(a[:, 0], b[0])
    return [
        (a, b),
        (0.3 * a + 2.0, b),
        (0 * a, b),
        (np.ones((n, d)), np.ones((n, d))),
        (low, 2.0 * low),
        (np.where(np.arange(d)[None] == 0, a, 0.0), b),
    ]


def defined(name, d):
    return not (name == "intl" and d < 2)


def both_forms(n, d):
    first, second = (np.stack(z) for z in zip(*points(n, d), strict=True))
    names = [name for name in FORMS if defined(name, d)]

    @jax.jit
    @jax.vmap
    def measure(z1, z2):
        return {
            name: [jax.value_and_grad(f, argnums=(0, 1))(z1, z2) for f in FORMS[name]]
            for name in names
        }

    return measure(first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    "n, d", [SHAPES[0], *(pytest.param(*s, marks=pytest.mark.slow) for s in SHAPES[1:])]
)
def test_values_and_gradients_are_those_of_the_definition(n, d, float64):
    for name, (old, new) in both_forms(n, d).items():
        np.testing.assert_allclose(new[0], old[0], rtol=1e-10, atol=1e-10, err_msg=name)
        for found, expected in zip(new[1], old[1], strict=True):
            scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
            gap = np.abs(found - expected)
            assert (gap <= 1e-10 * np.maximum(scale, 1.0)).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_forward_mode_and_second_derivatives(name, float64):
    a, b = pair(3, 8)
    turns = normal(3, 8, 5), normal(3, 8, 6)

    def derivatives(f):
        slope = jax.jvp(f, (a, b), turns)[1]
        curved = jax.jvp(jax.grad(f, argnums=(0, 1)), (a, b), turns)[1]
        return slope, curved

    old, new = jax.jit(lambda: [derivatives(f) for f in FORMS[name]])()
    np.testing.assert_allclose(new[0], old[0], rtol=1e-10)
    for found, expected in zip(new[1], old[1], strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("eps", [0.0, 1e-3, 1.0])
def test_few_samples_are_whitened_by_the_factor_of_their_covariance(eps, float64):
    """Over two blocks and a half of channels, also where only a shift makes it regular.

    With a shift of a few rounding errors either factor is right to about 1e-8: against
    80-bit numbers, at [64, 512], the usual one has 2e-8 and this one 7e-9.
    """
    z = normal(6, 160)
    x, floor = observations(z, "batch")
    found = jax.jit(innovations.whiten_few, static_argnums=(1, 2))(
        x, 1.0 - eps, eps, floor
    )
    expected = jax.jit(whitened, static_argnums=1)(z, eps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 if eps else 1e-7)


def test_a_constant_batch_is_whitened_to_zeros():
    z = np.full((3, 200), 0.7, np.float32)
    value, slope = jax.jit(
        jax.value_and_grad(lambda z: jnp.sum(losses.whiten(z, method="cholesky")))
    )(z)
    assert float(value) == 0.0 and np.isfinite(slope).all()


SIZES = {"n": 32, "d": 512}


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg", "tcr", "w_mse"])
def test_no_matrix_of_the_larger_side_is_formed(name):
    """Few rows against many columns; the definition forms it."""
    z = jax.ShapeDtypeStruct((SIZES["n"], SIZES["d"]), jnp.float32)
    old, new = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1))).lower(z, z).as_text()
        for f in FORMS[name]
    )
    assert "tensor<512x512x" in old and "tensor<512x512x" not in new


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, shape, products",
    [
        # Two products forward and two backward, and sums.
        ("barlow_twins", (64, 1024), 4),
        ("vicreg", (64, 1024), 4),
        # Of [D, D]: no more, whether rows are few or many.
        ("vicreg", (1024, 64), 4),
        ("spectral_contrastive", (1024, 64), 4),
        # Per view a Gram matrix, its root times the view and three products backward,
        # and 24 of [D, D], each a sixteenth here.
        ("intl", (1024, 64), 13),
    ],
)
def test_the_number_of_products(name, shape, products):
    z = jax.ShapeDtypeStruct(shape, jnp.float32)
    loss = FORMS[name][1]
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(z, z).compile()
    flops = compiled.cost_analysis()["flops"]
    unit = 2 * shape[0] * shape[1] * min(shape)
    assert flops <= (products + 0.6) * unit, flops / unit


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("barlow_twins", "vicreg", "tcr"), id="pairs"),
        pytest.param(("intl", "w_mse"), id="whitening", marks=pytest.mark.slow),
    ],
)
def test_eight_devices_give_the_loss_and_gradient_of_one(names):
    views = [z.astype(np.float32) for z in pair(16, 48)]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    @jax.jit
    def measure(z1, z2):
        both = functools.partial(jax.value_and_grad, argnums=(0, 1))
        return [both(FORMS[name][1])(z1, z2) for name in names]

    one = measure(*views)
    eight = measure(*(jax.device_put(z, rows) for z in views))
    for (value, gradients), (other, others) in zip(one, eight, strict=True):
        np.testing.assert_allclose(other, value, rtol=1e-5)
        for gradient, sharded in zip(gradients, others, strict=True):
            gap = np.linalg.norm(sharded - gradient)
            assert gap <= 1e-5 * np.linalg.norm(gradient)


def spread(kind, n, d):
    """Return rows whose columns are as in training, unequal, or mostly collapsed."""
    z = normal(n, d)
    if kind == "one_large":
        return z * np.where(np.arange(d)[None] == 0, 30.0, 1.0)
    if kind == "few_alive":
        return z * np.where(np.arange(d)[None] < n // 4, 1.0, 1e-2)
    return z


@pytest.mark.parametrize("kind", ["equal", "one_large", "few_alive"])
def test_float32_rounds_relative_to_the_sum_over_all_entries(kind):
    """So it loses the digits by which the diagonal exceeds the rest, and no more."""
    z = spread(kind, 64, 256) / 8.0

    def off_diagonal(z):
        return symmetric_products.column_products(z)[1]

    found, slope = jax.jit(jax.value_and_grad(off_diagonal))(z.astype(np.float32))
    c = z.T @ z
    rest = c - np.diag(np.diagonal(c))
    exact, gradient = (rest**2).sum(), 4 * z @ rest
    lost = (c**2).sum() / exact
    assert abs(found - exact) <= 1e-6 * lost * exact
    gap = np.abs(slope - gradient).max()
    assert gap <= 1e-6 * lost * np.abs(gradient).max()
    assert lost < 2 if kind == "equal" else lost > 2


def test_products_of_symmetric_matrices(float64):
    a, b = normal(4, 6), normal(4, 4)
    s = b @ b.T
    turn, bend = normal(4, 6, 1), normal(4, 4, 1)
    bend = bend + bend.T
    cases = [
        (symmetric_products.gram, lambda x: x @ x.T, (a,), (turn,)),
        (
            symmetric_products.sandwich,
            lambda p, s: p @ s @ p,
            (s, s @ s),
            (bend, bend @ bend),
        ),
    ]
    for (found, expected, at, along), order in itertools.product(cases, (1, 2)):

        def derivative(f, at=at, along=along, order=order):
            for _ in range(order):
                f = functools.partial(lambda f, *x: jax.jvp(f, x, along)[1], f)
            return f(*at)

        np.testing.assert_allclose(derivative(found), derivative(expected), rtol=1e-10)

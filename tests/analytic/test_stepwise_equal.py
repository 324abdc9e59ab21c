"""Small starts where eigenvalues of the cross moment are equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import stepwise
from ssljax.analytic.simulate import gradient_flow
from ssljax.analytic.stepwise.axes import equal_blocks


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def basis(size):
    return np.linalg.qr(normal(9, size, size))[0]


def gaps(gamma, d, scales, seed=0):
    """Largest errors of W and of the eigenvalues of C, against gradient flow."""
    vectors = basis(len(gamma))
    moment, w0 = vectors @ np.diag(gamma) @ vectors.T, normal(seed, d, len(gamma))
    ends = 3.0 - np.log(scales) / (2 * gamma[d - 1])
    times = np.linspace(0.0, ends, 50, axis=1)

    # All scales in one program.
    def flow(scale, times):
        return gradient_flow(
            lambda w: jnp.sum((w @ moment @ w.T - jnp.eye(d)) ** 2),
            scale * jnp.asarray(w0),
            times,
            estimate_error=False,
        ).values

    found = []
    flows = jax.vmap(flow)(jnp.asarray(scales), jnp.asarray(times))
    for scale, t, path in zip(scales, times, flows, strict=True):
        predicted = stepwise.small_init_prediction(w0, moment, scale)(t)
        values = [
            np.linalg.eigvalsh(np.einsum("tdm,mn,ten->tde", w, moment, w))
            for w in (np.asarray(path), np.asarray(predicted))
        ]
        found.append(
            [np.abs(path - predicted).max(), np.abs(values[0] - values[1]).max()]
        )
    return np.array(found).T


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "gamma, d",
    [
        ([1.0, 1.0, 0.3], 2),
        ([1.0, 1.0, 0.3], 1),
        ([1.0, 0.4, 0.4, 0.4, 0.1], 2),
        ([1.0, 0.4, 0.4, 0.1], 3),
    ],
)
def test_equal_eigenvalues_are_predicted_the_better_the_smaller_the_start(gamma, d):
    weights, values = gaps(np.array(gamma), d, (1e-2, 1e-4))
    # Exponents are at least 0.6 for the weights and twice that for the eigenvalues.
    assert weights[1] < 0.1 * weights[0] and weights[1] < 0.01
    assert values[1] < 0.01 * values[0] and values[1] < 1e-4


def test_a_block_takes_its_singular_vectors_and_the_rest_what_it_leaves():
    gamma, vectors, w0 = np.array([2.0, 1.0, 1.0, 0.5]), basis(4), normal(1, 4, 4)
    start = stepwise.aligned_start(w0, vectors @ np.diag(gamma) @ vectors.T, 0.1)
    np.testing.assert_allclose(start.rotation.T @ start.rotation, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(
        start.directions.T @ start.directions, np.eye(4), atol=1e-12
    )
    inside = start.rotation.T @ w0 @ start.directions
    np.testing.assert_allclose(inside, np.triu(inside), atol=1e-12)
    block = inside[1:3, 1:3]
    np.testing.assert_allclose(block, np.diag(np.diagonal(block)), atol=1e-12)
    np.testing.assert_allclose(start.singular_values, 0.1 * np.diagonal(inside))


@pytest.mark.usefixtures("float64")
def test_nearly_equal_eigenvalues_are_equal_and_others_single():
    gamma = jnp.array([2.0, 2.0 - 1e-12, 1.0, 1.0 - 1e-6, 0.0, 0.0, -1.0, -1.0])
    runs = [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]
    assert equal_blocks(gamma) == runs
    seen = []
    jax.jit(lambda values: seen.append(equal_blocks(values)))(gamma)
    assert seen == [[(i, i + 1) for i in range(8)]]


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_a_scale_and_a_start_can_be_differentiated_through_a_block():
    # In the sizes of the block above, whose operations are compiled already.
    moment, w0 = np.diag([2.0, 1.0, 1.0, 0.5]), jnp.asarray(normal(2, 4, 4))

    def end(w):
        return stepwise.small_init_prediction(w, moment, 0.1)(jnp.array([0.4]))[0, 0, 1]

    step = 1e-6 * normal(3, 4, 4)
    numeric = (end(w0 + step) - end(w0 - step)) / 2
    found = jnp.sum(jax.grad(end)(w0) * step)
    np.testing.assert_allclose(found, numeric, rtol=1e-5)


def test_a_kernel_with_equal_eigenvalues_ends_where_its_rotation_says():
    k, f = np.diag([4.0, 4.0, 1.0]), normal(4, 3, 2)
    start = stepwise.kernel_start(k, k, k, f, f)
    a = np.sqrt(start.gamma) * stepwise.kernel_modes(k, k, k, 2).coefficients
    columns = np.concatenate([f, f]).T @ a
    u, s, vt = np.linalg.svd(columns)
    np.testing.assert_allclose(start.scale, s, rtol=1e-9)
    np.testing.assert_allclose(start.rotation, u @ vt, atol=1e-9)

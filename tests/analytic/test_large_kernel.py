"""The embedding of many pairs from a kernel function against the one from a matrix."""

from typing import Any

import jax
import numpy as np
import pytest

from ssljax.analytic.ntk import relu_ntk
from ssljax.analytic.stepwise import kernel_embedding, kernel_embedding_of, kernel_modes
from ssljax.analytic.stepwise.blocks import BlockKernel
from ssljax.analytic.stepwise.definite import check_kernel, ritz_values


def linear(a, b):
    return a.reshape(len(a), -1) @ b.reshape(len(b), -1).T


def views(n, m, seed=0, noise=0.4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, m))
    return x, x + noise * rng.normal(size=(n, m))


def matrices(kernel, x, xp) -> tuple[Any, Any, Any]:
    return kernel(x, x), kernel(x, xp), kernel(xp, xp)


@pytest.mark.parametrize(
    "storage, rtol, atol",
    [("float64", 1e-12, 1e-10), ("none", 1e-12, 1e-10), ("float32", 1e-8, 1e-6)],
)
def test_embedding_equals_the_one_from_the_matrix(storage, rtol, atol):
    x, xp = views(300, 20)
    held = views(7, 20, seed=1)[0]
    found = kernel_embedding_of(linear, x, xp, 4, block=128, storage=storage)
    assert found.kernel.storage == storage
    assert found.residual < 1e-13
    kernels = matrices(linear, x, xp)
    np.testing.assert_allclose(found.gamma, kernel_modes(*kernels, 4).gamma, rtol=rtol)
    embed = kernel_embedding(*kernels, 4)
    for points, result in ((held, found(held)), (np.concatenate([x, xp]), found.views)):
        expected = np.asarray(embed(linear(points, x), linear(points, xp)))
        assert np.abs(result - expected).max() < atol
        assert np.abs(found(points) - expected).max() < atol


@pytest.mark.slow
def test_two_thousand_pairs_of_a_tangent_kernel_agree():
    x, xp = views(2000, 30)
    compiled: Any = jax.jit(relu_ntk)
    with jax.enable_x64(True):
        kernels = matrices(compiled, x, xp)
    found = kernel_embedding_of(compiled, x, xp, 10)
    expected = kernel_modes(*kernels, 10)
    np.testing.assert_allclose(found.gamma, expected.gamma, rtol=1e-9)
    embed = kernel_embedding(*kernels, 10)
    gap = found.views[:2000] - np.asarray(embed(kernels[0], kernels[1]))
    assert np.abs(gap).max() < 1e-6
    assert found.residual < 1e-11


def test_images_are_points_and_the_cross_moment_is_the_identity():
    x, xp = (v.reshape(40, 3, 2, 2) for v in views(40, 12))
    found = kernel_embedding_of(linear, x, xp, 3, block=32)
    first, second = np.split(found.views, 2)
    moment = (first.T @ second + second.T @ first) / 80
    np.testing.assert_allclose(moment, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(found(x), first, atol=1e-10)
    assert "40 pairs, dim 3" in repr(found)


def test_all_copies_of_a_repeated_eigenvalue_are_found():
    points = np.eye(100)
    points[:5] *= 2.0  # five eigenvalues 4 / 100, then 95 of 1 / 100
    found = kernel_embedding_of(linear, points, points, 5, block=64)
    np.testing.assert_allclose(found.gamma, 5 * [4 / 100], rtol=1e-10)
    gram = found.views @ found.views.T
    expected = np.diag([20.0] * 5 + [0.0] * 95)  # 100 / 5 for each learned point
    np.testing.assert_allclose(gram[:100, :100], 5 * expected, atol=1e-8)


def test_a_rank_of_exactly_dim_is_enough():
    x, xp = views(100, 6)
    found = kernel_embedding_of(linear, x, xp, 6)
    expected = kernel_modes(*matrices(linear, x, xp), 6)
    np.testing.assert_allclose(found.gamma, expected.gamma, rtol=1e-10)


def test_storage_follows_from_memory_and_blocks_are_computed_once_for_all_products():
    points, calls = views(100, 5)[0], []

    def kernel(a, b):
        calls.append((len(a), len(b)))
        return linear(a, b)

    entries = 100 * 150 / 2
    for memory, storage in ((8 * entries, "float64"), (4 * entries, "float32")):
        assert BlockKernel(kernel, points, block=50, memory=memory).storage == storage
    assert len(calls) == 2 * 3
    matrix = BlockKernel(kernel, points, block=50, memory=100)
    assert matrix.storage == "none"
    columns = np.random.default_rng(0).normal(size=(100, 2))
    np.testing.assert_allclose(matrix @ columns, linear(points, points) @ columns)
    assert matrix.products == 2


def test_a_negative_eigenvalue_is_found_in_large_kernels():
    values = np.linspace(0.0, 1.0, 2000)
    values[7] = -0.05
    found = ritz_values(lambda v: values * v, 2000, 24)
    assert -0.05 - 1e-12 <= found[0] < -0.045
    assert 0.95 < found[-1] <= 1.0 + 1e-12
    check_kernel("k", np.diag(np.abs(values[:700])))
    with pytest.raises(ValueError, match="k must be positive semi-definite"):
        check_kernel("k", np.diag(values[:700]))


def failing(kernel, x=None, dim=1, **options):
    x = views(40, 3)[0] if x is None else x
    return lambda: kernel_embedding_of(kernel, x, x, dim, **options)


@pytest.mark.parametrize(
    "call, message",
    [
        (failing(lambda a, b: -linear(a, b)), "semi-definite, got the eigenvalue -"),
        (failing(lambda a, b: np.nan * linear(a, b)), "kernel must be finite"),
        (
            failing(lambda a, b: linear(a, b)[:1]),
            r"must be \[80, 80\], got shape \[1, 80\]",
        ),
        (
            failing(lambda a, b: linear(a, np.roll(b, 1, axis=1))),
            "kernel must be symmetric",
        ),
        (failing(linear, dim=41), "dim must be 1 to 40, got 41"),
        (failing(linear, dim=4), "at least 4 positive eigenvalues, got 3"),
        (failing(linear, np.zeros((0, 3))), r"both be \[n, ...\]"),
        (failing(linear, block=0), "block must be at least 1"),
        (failing(linear, memory=-1.0), "memory must be > 0"),
        (failing(linear, tolerance=0.0), "tolerance must be > 0"),
        (failing(linear, storage="int8"), "storage must be one of float64"),
        (
            lambda: kernel_embedding_of(linear, np.ones((4, 3)), np.ones((4, 2)), 1),
            r"both be \[n, ...\], got \[4, 3\] and \[4, 2\]",
        ),
        (lambda: failing(linear)()(np.ones((2, 4))), r"x must be \[tests, 3\]"),
        (
            lambda: jax.jit(lambda x: kernel_embedding_of(linear, x, x, 1).views)(
                np.ones((4, 3))
            ),
            "not inside jit",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

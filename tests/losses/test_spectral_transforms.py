"""Whitening, general spectral transformations and iterative normalisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from loss_inputs import normal, rotation
from spectral_reference import (
    batch_with_covariance,
    centred,
    covariance,
    covariance_of,
    newton_gain,
    normalized,
    output_variance,
    transformed,
    with_spectrum,
)

from ssljax import losses
from ssljax.losses.matrix_functions import coupled_iteration, plain_iteration

AXES = ["batch", "channel"]
METHODS = ("zca", "pca", "cholesky")
whiten = jax.jit(losses.whiten, static_argnames=("method", "axis", "eps"))
iterative_normalization = jax.jit(
    losses.iterative_normalization, static_argnames=("iterations", "axis")
)
SPECTRAL = (lambda v: v**-0.5, lambda v: 1 / (1 + v), lambda v: v**0.3)


@functools.partial(jax.jit, static_argnames=("eps", "steps"))
def everything(z, eps, steps):
    """All transformations over both axes, in one program; ``eps`` for Cholesky."""

    def over(axis):
        found = {
            f"spectral {i}": losses.spectral_transform(z, g, axis=axis)
            for i, g in enumerate(SPECTRAL)
        }
        found["zca"] = losses.whiten(z, axis=axis)
        found["zca shifted"] = losses.whiten(z, axis=axis, eps=0.3)
        found["pca"] = losses.whiten(z, method="pca", axis=axis)
        found["cholesky"] = losses.whiten(
            z, method="cholesky", axis=axis, eps=eps[AXES.index(axis)]
        )
        found["normalization"] = losses.iterative_normalization(
            z, iterations=steps, axis=axis
        )
        return found

    return {axis: over(axis) for axis in AXES}


def by_definition(z, axis, eps, steps):
    x = centred(z, axis)
    values, vectors = np.linalg.eigh(covariance_of(x))
    principal = np.zeros_like(x)
    for j, (value, u) in enumerate(list(zip(values, vectors.T, strict=True))[::-1]):
        if value > 1e-12 * values.max():
            u = u * np.sign(u[np.argmax(abs(u))])
            principal[:, j] = [row @ u / np.sqrt(value) for row in x]
    regular = covariance_of(x) + 0.3 * np.eye(x.shape[1])
    lower = np.linalg.cholesky(covariance_of(x) + eps * np.eye(x.shape[1]))
    rows = {
        "zca shifted": x @ np.linalg.inv(scipy.linalg.sqrtm(regular)),
        "pca": principal,
        "cholesky": np.array([np.linalg.solve(lower, row) for row in x]),
    }
    expected = {k: v if axis == "batch" else v.T for k, v in rows.items()}
    for i, g in enumerate(SPECTRAL):
        expected[f"spectral {i}"] = transformed(z, axis, lambda v, _, g=g: g(v))
    expected["zca"] = transformed(z, axis, lambda v, _: v**-0.5)
    expected["normalization"] = normalized(z, axis, steps)
    return expected


@pytest.mark.parametrize("n, d, steps", [(4, 7, 4), (6, 6, 0), (9, 3, 9)])
def test_values_equal_the_definitions(n, d, steps, float64):
    # Two of the shapes leave a singular covariance for either axis.
    z = normal(n, d)
    # It has no Cholesky factor without a part of the identity.
    smallest = [np.linalg.eigvalsh(covariance_of(centred(z, a)))[0] for a in AXES]
    eps = tuple(0.0 if value > 1e-9 else 0.3 for value in smallest)
    found = everything(z, eps, steps)
    for axis, part in zip(AXES, eps, strict=True):
        expected = by_definition(z, axis, part, steps)
        assert found[axis].keys() == expected.keys()
        for name, value in found[axis].items():
            atol = 1e-10 if name == "normalization" else 1e-12
            np.testing.assert_allclose(
                value, expected[name], rtol=0, atol=atol, err_msg=f"{name}, {axis}"
            )


@pytest.mark.parametrize("n, d, axis", [(3, 1024, "batch"), (1024, 3, "channel")])
@pytest.mark.parametrize("decay", [1.0, pytest.param(1e-7, marks=pytest.mark.slow)])
def test_a_wide_matrix_is_whitened_on_its_range(n, d, axis, decay):
    """Centring leaves their Gram matrix a null direction: rounding of either sign."""
    for seed in range(40):
        z = normal(n, d, seed).astype(np.float32)
        if axis == "batch":
            z = z * np.geomspace(1.0, decay, n, dtype=np.float32)[:, None] + 1.0
        white = whiten(z, axis=axis)
        x = np.asarray(white, np.float64)
        x = x if axis == "batch" else x.T  # [3, 1024], centred
        values = np.linalg.eigvalsh(x @ x.T / 2)
        assert np.isfinite(values).all()
        # Ones on the range, zeros elsewhere; the rank is at most 2.
        assert values[-1] < 1.01 and np.sum(values > 0.5) <= 2


@pytest.mark.parametrize(
    "backward", [False, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "transform",
    [
        lambda z, axis: losses.spectral_transform(z, jnp.cos, axis=axis),
        lambda z, axis: losses.whiten(z, axis=axis, eps=0.1),
        lambda z, axis: losses.iterative_normalization(z, axis=axis),
    ],
    ids=["spectral_transform", "whiten", "iterative_normalization"],
)
def test_only_the_smaller_gram_matrix_is_made(transform, backward):
    for axis in AXES:

        def run(z, axis=axis):
            return transform(z, axis).sum() if backward else transform(z, axis)

        for n, d in ((5, 64), (64, 5)):
            z = jax.ShapeDtypeStruct((n, d), jnp.float32)
            program = str(jax.make_jaxpr(jax.grad(run) if backward else run)(z))
            assert "[64,64]" not in program
            assert "[5,5]" in program


def test_a_singular_batch_is_whitened_on_its_range(float64):
    z = normal(4, 7)
    for method in ("zca", "pca"):
        values = np.linalg.eigvalsh(covariance(whiten(z, method=method)))
        np.testing.assert_allclose(values, [0] * 4 + [1] * 3, atol=1e-12)
    # All of them keep the distances that whitening gives to four samples: a simplex.
    out = np.asarray(whiten(z, method="zca"))
    np.testing.assert_allclose(out @ out.T, 3 * (np.eye(4) - 0.25), atol=1e-12)


def test_the_gradient_of_a_singular_batch_matches_differences(float64):
    # The rank of four samples in seven dimensions stays as they move.
    weight, direction, step = normal(4, 7, 1), normal(4, 7, 2), 1e-4

    @jax.jit
    def found(z):
        def over(axis):
            return lambda z: jnp.vdot(weight, losses.whiten(z, axis=axis))

        return [jax.value_and_grad(over(axis))(z) for axis in AXES]

    z = normal(4, 7)
    ends = [found(z + k * step * direction) for k in (1, -1)]
    for (_, gradient), (above, _), (below, _) in zip(found(z), *ends, strict=True):
        numeric = (above - below) / (2 * step)
        np.testing.assert_allclose(np.vdot(gradient, direction), numeric, rtol=1e-6)


@pytest.mark.parametrize("axis", AXES)
def test_white_output_ignores_invertible_maps_of_the_whitened_side(axis, float64):
    # Whitening forgets any linear map up to a rotation: the Gram matrix is unchanged.
    z = normal(9, 4) if axis == "batch" else normal(4, 9)
    mix = normal(4, 4, 1)
    mixed = z @ mix if axis == "batch" else mix @ z
    white = {}
    for method in METHODS:
        out = [whiten(v, method=method, axis=axis) for v in (z, mixed)]
        gram = [v @ v.T if axis == "batch" else v.T @ v for v in out]
        np.testing.assert_allclose(gram[0], gram[1], atol=1e-10)
        assert np.abs(covariance(out[0], axis) - np.eye(4)).max() < 1e-9
        white[method] = np.asarray(out[0])
    # One of the three is a spectral transformation.
    assert np.abs(white["pca"] - white["zca"]).max() > 0.1
    assert np.abs(white["cholesky"] - white["zca"]).max() > 0.1


def test_samples_and_channels_can_be_permuted(float64):
    z = normal(6, 5)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(6), rng.permutation(5)

    @jax.jit
    def found(z):
        return [
            losses.spectral_transform(z, g, axis=axis)
            for g in (lambda v: v**0.3, jnp.log1p)
            for axis in AXES
        ]

    for plain, permuted in zip(found(z), found(z[rows][:, columns]), strict=True):
        np.testing.assert_allclose(permuted, plain[rows][:, columns], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_the_output_covariance_of_a_power(axis, float64):
    z = normal(24, 6) * np.linspace(0.4, 2.0, 6)[None, :]
    z = z if axis == "batch" else z.T
    powers = (0.0, 0.25, 0.5, 0.75, 1.0)

    @jax.jit
    def found(z):
        return [
            losses.spectral_transform(z, lambda v, p=p: v**-p, axis=axis)
            for p in powers
        ]

    values = np.linalg.eigvalsh(covariance(z, axis))
    for p, out in zip(powers, found(z), strict=True):
        expected = np.sort(values * (values**-p) ** 2)
        actual = np.linalg.eigvalsh(covariance(out, axis))
        np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_powers_can_be_differentiated_at_repeated_eigenvalues(axis, float64):
    weight, direction, step = normal(9, 4, 1), normal(9, 4, 2), 1e-4
    if axis == "channel":
        weight, direction = weight.T, direction.T

    @jax.jit
    @jax.vmap
    def found(z):
        def of(power):
            def f(z):
                out = losses.spectral_transform(z, lambda v: v**-power, axis=axis)
                return jnp.vdot(weight, out)

            return f

        return [jax.value_and_grad(of(power))(z) for power in (0.25, 0.5)]

    for spectrum in ([1.0] * 4, [0.5, 0.5, 2.0, 2.0], [0.3, 1.0, 2.0, 5.0]):
        z = batch_with_covariance(with_spectrum(spectrum), 9)
        z = z if axis == "batch" else z.T
        points = np.stack([z + k * step * direction for k in (0, -2, -1, 1, 2)])
        for v, gradients in found(points):
            numeric = (8 * (v[3] - v[2]) - (v[4] - v[1])) / (12 * step)
            slope = np.vdot(gradients[0], direction)
            np.testing.assert_allclose(slope, numeric, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 64])
def test_the_iteration_is_a_spectral_transformation(n, float64):
    values = np.random.default_rng(n).uniform(0.05, 1.0, size=n)
    matrix = with_spectrum(values, seed=n)
    values, vectors = np.linalg.eigh(matrix)
    trace = values.sum()
    z = batch_with_covariance(matrix, 2 * n)
    for steps in (1, 4, 7):
        expected = (vectors * newton_gain(values / trace, steps)) @ vectors.T
        root = jax.jit(plain_iteration, static_argnums=1)(matrix / trace, steps)
        np.testing.assert_allclose(
            root, expected, rtol=0, atol=1e-12 * np.abs(expected).max()
        )
        out = z @ expected / np.sqrt(trace)
        np.testing.assert_allclose(
            iterative_normalization(z, iterations=steps, axis="batch"),
            out,
            rtol=0,
            atol=1e-11 * np.abs(out).max(),
        )


SIDES = (8192, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2)
EQUAL_OUTPUT = {  # published h_T(1/n), n as in SIDES
    1: ".000275 .001098 .002196 .004389 .008766 .017487 .034791 .068855 .134827"
    " .258301 .472656 .781250",
    3: ".001390 .005547 .011064 .022008 .043545 .085244 .163407 .300762 .513035"
    " .767328 .951209 .998874",
    4: ".003124 .012434 .024710 .048795 .095153 .181053 .328704 .547829 .793280"
    " .956249 .998186 .999999",
    5: ".007013 .027746 .054685 .106246 .200728 .359683 .586394 .823544 .965742"
    " .998543 .999998 1",
    7: ".034970 .132301 .246163 .428990 .668014 .882588 .983237 .999538 .999999 1 1 1",
    9: ".164185 .506055 .748776 .930287 .993485 .999913 1 1 1 1 1 1",
}


@functools.partial(jax.jit, static_argnums=(1, 2))
@functools.partial(jax.vmap, in_axes=(0, None, None))
def iterated_variance(x, iterations, iterate):
    """``h_T`` out of the matrix iteration: a matrix with one row is a number."""
    return x * iterate(x[None, None], iterations)[0, 0] ** 2


@pytest.mark.slow
def test_the_output_of_equal_eigenvalues_is_the_published_one(float64):
    z = batch_with_covariance(np.eye(8), 16)
    for iterations, row in EQUAL_OUTPUT.items():
        table = [float(value) for value in row.split()]
        for iterate in (plain_iteration, coupled_iteration):
            values = iterated_variance(1 / np.array(SIDES), iterations, iterate)
            np.testing.assert_allclose(values, table, rtol=0, atol=1e-6)
        # And from a batch whose eight eigenvalues are equal.
        t = iterative_normalization(z, iterations=iterations, axis="batch")
        actual = np.linalg.eigvalsh(covariance(t))
        np.testing.assert_allclose(actual, values[SIDES.index(8)])


@pytest.mark.slow
def test_the_output_variance_is_increasing_and_concave(float64):
    x = np.linspace(0.0, 1.0, 20001)
    previous = x
    for iterations in (1, 4, 7, 12):
        h = np.asarray(iterated_variance(x, iterations, coupled_iteration))
        assert h[0] == 0.0 and h[-1] == pytest.approx(1.0, abs=1e-12)
        assert h.max() <= 1 + 1e-8 and h.min() >= 0
        assert np.diff(h).min() >= -1e-8
        assert np.diff(h, 2).max() <= 1e-8
        assert (h - previous).min() >= -1e-12
        slope = jax.grad(
            lambda x, t=iterations: iterated_variance(x, t, plain_iteration).sum()
        )(np.zeros(1))
        np.testing.assert_allclose(slope, 2.25**iterations, rtol=1e-10)
        previous = h


@pytest.mark.slow
def test_the_coupled_iteration_reaches_whitening(float64):
    z = batch_with_covariance(with_spectrum(np.geomspace(1, 100, 8)), 32)
    out = iterative_normalization(z, iterations=12, axis="batch")
    assert np.abs(np.linalg.eigvalsh(covariance(out)) - 1).max() < 1e-12
    np.testing.assert_allclose(out, whiten(z, axis="batch"), rtol=0, atol=1e-11)
    z = batch_with_covariance(np.eye(8), 32)
    out = iterative_normalization(z, iterations=4, axis="batch")
    error = np.abs(np.linalg.eigvalsh(covariance(out)) - 1).max()
    assert error == pytest.approx(4.38e-2, abs=1e-4)
    assert error == pytest.approx(1 - output_variance(1 / 8, 4), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [4, 7])
def test_rotations_pass_through_the_normalisation(iterations, float64):
    z, q = normal(12, 5), rotation(5)
    how = {"iterations": iterations, "axis": "batch"}
    expected = iterative_normalization(z, **how) @ q
    actual = iterative_normalization(z @ q, **how)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda z: losses.whiten(z, method="svd"), "zca, pca, cholesky, got 'svd'"),
        (lambda z: losses.whiten(z, axis="rows"), "batch or channel, got 'rows'"),
        (lambda z: losses.whiten(z, eps=-1.0), "eps must not be negative"),
        (lambda z: losses.whiten(z[0]), r"\[N, D\] array"),
        (lambda z: losses.whiten(z[:1]), "at least two samples"),
        (lambda z: losses.iterative_normalization(z, iterations=-1), "iterations"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(6, 4).astype(np.float32))

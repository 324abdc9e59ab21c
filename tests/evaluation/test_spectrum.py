"""The spectrum panel against definitions in numpy, and on spectra known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import evaluation

# As in training; eager, as the doctests are, each operation would compile on its own.
panel = jax.jit(evaluation.panel, static_argnames="top")
rank_measures = jax.jit(evaluation.rank_measures, static_argnames="top")


def entropy_rank(sigma, epsilon=0.0):
    p = sigma / sigma.sum() + epsilon
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def by_definition(z1, z2):
    """Every scalar of the panel in float64, from an SVD and loops over pairs."""
    n, d = z1.shape
    centred = z1 - z1.mean(axis=0, keepdims=True)
    sigma, raw = (np.linalg.svd(z, compute_uv=False) for z in (centred, z1))
    lam, moments = sigma**2, raw**2
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    spread = np.array([np.sqrt(d) * u[:, k].std() for k in range(d)])
    ranks = min(n - 1, d)
    r = np.arange(max(1, ranks // 16), ranks // 2 + 1)
    slope = np.polyfit(np.log(r), np.log(lam[r - 1]), 1, w=np.sqrt(1 / r))[0]
    return {
        "effective_rank": entropy_rank(sigma),
        "rankme": entropy_rank(raw, 1e-7),
        "participation_ratio": lam.sum() ** 2 / (lam**2).sum(),
        "participation_ratio_uncentred": moments.sum() ** 2 / (moments**2).sum(),
        "alpha_req": -slope,
        "std_per_dimension": spread.mean(),
        "std_minimum": spread.min(),
        "alignment": np.mean([np.sum((u[i] - v[i]) ** 2) for i in range(n)]),
        "uniformity": np.log(
            np.mean([np.exp(-2 * np.sum((u[i] - u[j]) ** 2)) for i, j in pairs])
        ),
        "mean_cosine": np.mean([u[i] @ u[j] for i, j in pairs]),
        "examples": n,
        "dimensions": d,
    }


def views(n, d, seed=0, offset=0.4):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d)) * np.arange(1, d + 1)[None] ** -0.5 + offset
    return z, z + 0.2 * rng.normal(size=(n, d))


@pytest.mark.parametrize("n, d", [(40, 16), (16, 40), (24, 24)])
def test_equals_the_definitions(n, d):
    z1, z2 = views(n, d)
    expected = by_definition(z1, z2)
    measures = panel(jnp.asarray(z1), jnp.asarray(z2))
    for name, value in expected.items():
        np.testing.assert_allclose(
            measures[name], value, rtol=2e-3, atol=1e-5, err_msg=name
        )
    lam = np.linalg.eigvalsh(np.cov(z1, rowvar=False))[::-1][:16]
    np.testing.assert_allclose(measures["eigenvalues"], lam, rtol=1e-4, atol=1e-5)
    moments = np.linalg.eigvalsh(z1.T @ z1 / n)[::-1][:16]
    np.testing.assert_allclose(
        measures["moment_eigenvalues"], moments, rtol=1e-4, atol=1e-5
    )
    assert set(measures) == {*expected, "eigenvalues", "moment_eigenvalues"}


def test_equals_the_definitions_to_double_precision(float64):
    z1, z2 = views(40, 16)
    measures = panel(jnp.asarray(z1), jnp.asarray(z2))
    for name, value in by_definition(z1, z2).items():
        np.testing.assert_allclose(measures[name], value, rtol=1e-9, err_msg=name)


def test_an_isotropic_gaussian_uses_every_dimension():
    # Whitened, so that a few hundred rows are isotropic to rounding.
    z = np.random.default_rng(0).normal(size=(512, 16))
    z, _ = np.linalg.qr(z - z.mean(axis=0, keepdims=True))
    z = jnp.asarray(z * np.sqrt(511))
    measures = panel(z, z, top=4)
    for name in ("effective_rank", "rankme", "participation_ratio"):
        assert float(measures[name]) == pytest.approx(16, rel=0.01)
    assert float(measures["std_per_dimension"]) == pytest.approx(1, abs=0.01)
    assert float(measures["std_minimum"]) == pytest.approx(1, abs=0.05)
    # The other rows of centred data point against each one, by 1 / (n - 1) on average.
    assert float(measures["mean_cosine"]) == pytest.approx(-1 / 511, abs=2e-4)
    assert float(measures["alpha_req"]) == pytest.approx(0, abs=0.1)
    np.testing.assert_allclose(measures["eigenvalues"], 1, atol=1e-3)


@pytest.mark.parametrize("r", [1, 2, 5])
@pytest.mark.parametrize("n, d", [(48, 144), (144, 48)])
def test_equal_directions_are_counted_exactly(r, n, d):
    rng = np.random.default_rng(r)
    # Orthonormal columns with mean zero: centred and un-centred ranks coincide.
    left = rng.normal(size=(n, r))
    left, _ = np.linalg.qr(left - left.mean(axis=0, keepdims=True))
    right, _ = np.linalg.qr(rng.normal(size=(d, r)))
    measures = rank_measures(jnp.asarray(3.0 * left @ right.T, jnp.float32))
    for name in (
        "effective_rank",
        "rankme",
        "participation_ratio",
        "participation_ratio_uncentred",
    ):
        # No rounding of the null space may be counted as rank (RankMe: its epsilon).
        assert float(measures[name]) == pytest.approx(r, rel=1e-3), name
    np.testing.assert_allclose(measures["eigenvalues"][:r], 9 / (n - 1), rtol=1e-4)
    np.testing.assert_array_equal(measures["eigenvalues"][r:], 0)


@pytest.mark.parametrize("row", [[0.3, -1.7, 2.9, 0.1], [1e4, 1e-3, 3.3, 7.7]])
def test_constant_rows_have_nothing_but_a_direction(row):
    z = jnp.tile(jnp.asarray([row]), (37, 1))
    measures = panel(z, z)
    assert float(measures["effective_rank"]) == 0
    assert float(measures["participation_ratio"]) == 0
    assert float(measures["rankme"]) == pytest.approx(1, abs=1e-4)
    assert float(measures["participation_ratio_uncentred"]) == pytest.approx(1)
    assert float(measures["mean_cosine"]) == pytest.approx(1, abs=1e-5)
    assert float(measures["std_per_dimension"]) == pytest.approx(0, abs=1e-5)
    assert float(measures["uniformity"]) == pytest.approx(0, abs=1e-5)
    assert float(measures["alignment"]) == 0
    assert np.isnan(measures["alpha_req"])
    np.testing.assert_array_equal(measures["eigenvalues"], 0)


def test_zeros_give_finite_measures():
    measures = panel(jnp.zeros((5, 3)), jnp.zeros((5, 3)))
    finite = {name for name, value in measures.items() if jnp.isfinite(value).all()}
    assert finite == set(measures) - {"alpha_req"}
    assert float(measures["rankme"]) == 0


def test_centring_alone_would_hide_a_complete_collapse():
    rng = np.random.default_rng(0)
    z = 1.0 + 0.01 * rng.normal(size=(512, 16))
    measures = panel(jnp.asarray(z), jnp.asarray(z), top=4)
    assert float(measures["effective_rank"]) > 15
    assert float(measures["mean_cosine"]) > 0.999
    assert float(measures["participation_ratio_uncentred"]) < 1.01


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("n, d", [(144, 48), (48, 144)])
def test_a_power_law_gives_back_its_exponent(alpha, n, d):
    rng = np.random.default_rng(1)
    ranks = min(n - 1, d)
    left = rng.normal(size=(n, ranks))
    left, _ = np.linalg.qr(left - left.mean(axis=0, keepdims=True))
    right, _ = np.linalg.qr(rng.normal(size=(d, ranks)))
    sigma = np.arange(1, ranks + 1)[None] ** (-alpha / 2)
    measures = rank_measures(jnp.asarray(left * sigma @ right.T, jnp.float32))
    assert float(measures["alpha_req"]) == pytest.approx(alpha, abs=2e-3)


def test_hand_values():
    # Rows (1, 0), (0, 1), (-1, 0): squared distances 2, 2, 4; cosines 0, 0, -1.
    z1 = jnp.array([[2.0, 0.0], [0.0, 0.5], [-3.0, 0.0]])
    z2 = jnp.array([[0.0, 1.0], [0.0, 9.0], [-1.0, 0.0]])
    measures = panel(z1, z2, top=3)
    assert float(measures["mean_cosine"]) == pytest.approx(-1 / 3)
    assert float(measures["alignment"]) == pytest.approx(2 / 3)
    assert float(measures["uniformity"]) == pytest.approx(
        np.log((2 * np.exp(-4) + np.exp(-8)) / 3), rel=1e-5
    )
    expected = np.sqrt(2) * np.array([np.sqrt(2 / 3), np.sqrt(2 / 9)])
    assert float(measures["std_per_dimension"]) == pytest.approx(expected.mean())
    assert float(measures["std_minimum"]) == pytest.approx(expected.min())
    assert measures["eigenvalues"].shape == (3,) and measures["eigenvalues"][2] == 0


def test_scale_and_rotation_leave_the_ranks_alone():
    z, _ = views(40, 16)
    q, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))
    before = rank_measures(jnp.asarray(z))
    after = rank_measures(jnp.asarray(1e3 * z @ q))
    for name in set(before) - {"eigenvalues", "moment_eigenvalues"}:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-3, err_msg=name)


def test_bfloat16_is_widened():
    z1, z2 = (jnp.asarray(z, jnp.bfloat16) for z in views(24, 24))
    narrow = panel(z1, z2)
    assert {value.dtype for value in narrow.values()} == {jnp.dtype("float32")}
    wide = panel(z1.astype(jnp.float32), z2.astype(jnp.float32))
    for name in wide:
        np.testing.assert_allclose(narrow[name], wide[name], rtol=1e-4, atol=1e-6)


def test_two_rows_are_the_least():
    z = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    assert float(panel(z, z)["participation_ratio"]) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least two rows, got 1"):
        panel(z[:1], z[:1])
    with pytest.raises(ValueError, match="top must be at least 1"):
        panel(z, z, top=0)


@pytest.mark.parametrize("n, d", [(40, 16), (6, 20)])
def test_the_cross_correlation_is_that_of_the_loss(n, d):
    z1, z2 = views(n, d)
    found = evaluation.cross_eigenvalues(jnp.asarray(z1), jnp.asarray(z2), top=d + 2)
    a, b = (
        (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
        for z in (np.asarray(z, np.float64) for z in (z1, z2))
    )
    exact = np.linalg.eigvalsh((a.T @ b + b.T @ a) / (2 * n))[::-1]
    expected = np.maximum(exact, 0.0)
    np.testing.assert_allclose(found, np.pad(expected, (0, 2)), rtol=1e-4, atol=1e-4)

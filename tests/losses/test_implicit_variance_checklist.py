"""Gradients of the asymmetric losses and of IsoLoss, as Halvagal et al. derive them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import asymmetric
from ssljax.models.predictors import direct_predictor, update_covariance

NAMES = (
    "asymmetric_euclidean",
    "asymmetric_cosine",
    "isoloss_euclidean",
    "isoloss_cosine",
)
LOSSES = {name: jax.jit(getattr(asymmetric, name)) for name in NAMES}
GRADIENTS = {
    name: jax.jit(jax.grad(getattr(asymmetric, name), argnums=(0, 1, 2)))
    for name in NAMES
}


def problem(n=7, d=5, seed=0):
    """Two views, a predictor, and its eigenvalues and eigenvectors, in float64."""
    rng = np.random.default_rng(seed)
    z1 = rng.normal(size=(n, d))
    z2 = z1 + 0.3 * rng.normal(size=(n, d))
    u, _ = np.linalg.qr(rng.normal(size=(d, d)))
    eigenvalues = rng.uniform(0.05, 1.2, size=d)
    return z1, z2, (u * eigenvalues[None]) @ u.T, eigenvalues, u


def descent(name, z1, z2, predictor):
    """Minus the gradient with respect to each embedding, without the 1/N."""
    arrays = (jnp.asarray(x) for x in (z1, z2, predictor))
    return -len(z1) * np.asarray(GRADIENTS[name](*arrays)[0])


def descent_by_modes(name, z1, z2, eigenvalues, u):
    """The per-sample formulas in the predictor's eigenbasis, one mode at a time."""
    out = np.zeros_like(z1)
    for i, (a, b) in enumerate(zip(z1 @ u, z2 @ u, strict=True)):
        lam = eigenvalues
        length = np.sqrt(sum((lam * a) ** 2))
        for m in range(len(lam)):
            if name.endswith("euclidean"):
                f = b[m] - lam[m] * a[m]
            else:
                f = sum(
                    lam[k] ** 2 * a[k] ** 2 * b[m]
                    - lam[k] * a[k] * b[k] * lam[m] * a[m]
                    for k in range(len(lam))
                    if k != m
                )
                f = f / (length**3 * np.sqrt(sum(b**2)))
            out[i, m] = f if name.startswith("isoloss") else lam[m] * f
    return out @ u.T


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_implicit_variance_A1_gradients_equal_the_eigenbasis_formulas(
    name, n, d, float64
):
    z1, z2, predictor, eigenvalues, u = problem(n, d)
    expected = descent_by_modes(name, z1, z2, eigenvalues, u)
    assert np.abs(expected).max() > 1e-2
    actual = descent(name, z1, z2, predictor)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_implicit_variance_A1_gradients_in_float32(name):
    z1, z2, predictor, eigenvalues, u = problem()
    expected = descent_by_modes(name, z1, z2, eigenvalues, u)
    low = [np.asarray(x, np.float32) for x in (z1, z2, predictor)]
    np.testing.assert_allclose(descent(name, *low), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_implicit_variance_A1_gradients_turn_with_the_embeddings(name, float64):
    z1, z2, predictor, _, _ = problem()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    turned = descent(name, z1 @ q, z2 @ q, q.T @ predictor @ q)
    expected = descent(name, z1, z2, predictor) @ q
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_implicit_variance_A1_equal_views_give_the_rates_of_the_modes(name, float64):
    # Views that agree: lambda (1 - lambda) z, or a weighted sum of lambda_k - lambda_m.
    z, _, predictor, lam, u = problem()
    modes = z @ u
    if name.endswith("euclidean"):
        rates = np.broadcast_to((1 - lam)[None], modes.shape)
    else:
        lengths = np.linalg.norm(modes * lam[None], axis=1) ** 3
        lengths = lengths * np.linalg.norm(modes, axis=1)
        gaps = lam[:, None] - lam[None, :]  # [k, m]
        rates = (modes**2 * lam[None]) @ gaps / lengths[:, None]
    if name.startswith("asymmetric"):
        rates = rates * lam[None]
    actual = descent(name, z, z, predictor) @ u
    np.testing.assert_allclose(actual, rates * modes, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_implicit_variance_A2_the_predictor_is_what_isoloss_leaves_out(kind, float64):
    z1, z2, predictor, _, _ = problem()
    plain = descent(f"asymmetric_{kind}", z1, z2, predictor)
    iso = descent(f"isoloss_{kind}", z1, z2, predictor)
    np.testing.assert_allclose(plain, iso @ predictor, rtol=0, atol=1e-12)
    assert np.abs(plain - iso).max() > 0.1


def test_implicit_variance_A2_the_euclidean_losses_have_one_value(float64):
    arrays = [jnp.asarray(x) for x in problem()[:3]]
    plain, iso = (
        LOSSES[f"{kind}_euclidean"](*arrays) for kind in ("asymmetric", "isoloss")
    )
    assert float(plain) > 0.1
    np.testing.assert_allclose(iso, plain, rtol=1e-14)


def test_implicit_variance_A3_cosine_gradients_are_orthogonal(float64):
    z1, z2, predictor, _, _ = problem()
    plain, iso = (
        descent(name, z1, z2, predictor)
        for name in ("asymmetric_cosine", "isoloss_cosine")
    )
    np.testing.assert_allclose((z1 * plain).sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose((z1 @ predictor * iso).sum(axis=1), 0.0, atol=1e-12)
    # Not both along z1: without the predictor IsoLoss's does change the norm.
    assert np.abs((z1 * iso).sum(axis=1)).max() > 1e-2


@pytest.mark.parametrize("scale", [0.1, 3.0, 250.0])
def test_implicit_variance_A3_only_isoloss_feels_the_scale_of_the_predictor(
    scale, float64
):
    z1, z2, predictor, _, _ = problem()
    for name, factor in (("asymmetric_cosine", 1.0), ("isoloss_cosine", 1 / scale)):
        scaled = descent(name, z1, z2, scale * predictor)
        expected = factor * descent(name, z1, z2, predictor)
        np.testing.assert_allclose(
            scaled, expected, rtol=0, atol=1e-12 * max(factor, 1)
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_implicit_variance_A4_nothing_reaches_target_and_predictor(name, dtype):
    arrays = [jnp.asarray(x, dtype) for x in problem()[:3]]
    online, target, predictor = GRADIENTS[name](*arrays)
    assert float(jnp.abs(online).max()) > 1e-2
    np.testing.assert_array_equal(np.asarray(target, np.float32), 0.0)
    np.testing.assert_array_equal(np.asarray(predictor, np.float32), 0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_implicit_variance_A4_nothing_reaches_the_covariance(name, exponent):
    z1, z2 = (jnp.asarray(x, jnp.float32) for x in problem()[:2])

    def loss(weights, rows, past):
        # As in training: the predictor comes from the embeddings it is applied to.
        embeddings = z1 * weights
        c = update_covariance(past, rows * weights, momentum=0.5)
        w = direct_predictor(c, exponent=exponent, epsilon=0.1)
        return getattr(asymmetric, name)(embeddings, z2, w)

    one, past = jnp.ones_like(z1), jnp.eye(5)
    weights, rows, moment = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(one, z1, past)
    np.testing.assert_array_equal(rows, 0.0)
    np.testing.assert_array_equal(moment, 0.0)
    w = direct_predictor(
        update_covariance(past, z1, momentum=0.5), exponent=exponent, epsilon=0.1
    )
    fixed = GRADIENTS[name](z1, z2, w)[0] * z1
    np.testing.assert_allclose(weights, fixed, rtol=1e-4, atol=1e-6)


def covariance(d=6, seed=0, rank=None):
    rows = np.random.default_rng(seed).normal(size=(rank or 2 * d, d))
    return jnp.asarray(rows.T @ rows / len(rows))


def test_implicit_variance_B5_the_moment_follows_its_recursion(float64):
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(4, 9, 3)) + 0.5
    expected, actual = np.zeros((3, 3)), jnp.zeros((3, 3))
    for batch in batches:
        second = np.zeros((3, 3))
        for row in batch:
            second += np.outer(row, row) / len(batch)
        expected = 0.7 * expected + 0.3 * second
        actual = update_covariance(actual, jnp.asarray(batch), momentum=0.7)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.25])
def test_implicit_variance_B5_epsilon_stands_inside_the_power(exponent, epsilon):
    c = covariance().astype(jnp.float32)
    w = direct_predictor(c, exponent=exponent, epsilon=epsilon)
    s = np.linalg.eigvalsh(np.asarray(c, np.float64))
    eigenvalues = np.linalg.eigvalsh(np.asarray(w, np.float64))
    expected = (s / s[-1] + epsilon) ** exponent
    np.testing.assert_allclose(eigenvalues, expected, rtol=1e-5, atol=1e-6)
    assert eigenvalues[-1] == pytest.approx((1 + epsilon) ** exponent, rel=1e-5)
    np.testing.assert_array_equal(w, w.T)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_implicit_variance_B5_the_root_squared_is_the_predictor(exponent, rank):
    c = covariance(rank=rank).astype(jnp.float32)
    w = direct_predictor(c, exponent=exponent, epsilon=0.25)
    root = direct_predictor(c, exponent=exponent / 2, epsilon=0.25)
    assert np.linalg.eigvalsh(root).min() > 0
    np.testing.assert_allclose(root @ root, w, rtol=0, atol=1e-5)
    assert np.linalg.eigvalsh(direct_predictor(c, exponent=exponent)).min() > -1e-6


@pytest.mark.parametrize("convention", ["fmi", "luckmatters"])
def test_implicit_variance_B5_directcopy_needs_no_eigenvectors(convention, float64):
    c = covariance()
    copied = direct_predictor(c, exponent=1.0, epsilon=0.25, convention=convention)
    s, u = np.linalg.eigh(np.asarray(c))
    normalizer = s[-1] if convention == "fmi" else 1.0
    expected = (u * (s / normalizer + 0.25)[None]) @ u.T
    np.testing.assert_allclose(copied, expected, rtol=0, atol=1e-12)
    # The limit of the path that does decompose; luckmatters' two are not connected.
    near = direct_predictor(c, exponent=1 + 1e-9, epsilon=0.25, convention="fmi")
    if convention == "fmi":
        np.testing.assert_allclose(copied, near, rtol=0, atol=1e-8)
    else:
        assert float(jnp.abs(copied - near).max()) > 0.1


@pytest.mark.parametrize("convention", ["fmi", "luckmatters"])
def test_implicit_variance_B5_directcopy_decomposes_nothing(convention):
    def copied(c):
        return direct_predictor(c, exponent=1.0, epsilon=0.25, convention=convention)

    def root(c):
        return direct_predictor(c, exponent=0.5, convention=convention)

    shape = jax.ShapeDtypeStruct((6, 6), jnp.float32)
    assert "eigh" not in str(jax.make_jaxpr(copied)(shape))
    assert "eigh" in str(jax.make_jaxpr(root)(shape))


@pytest.mark.parametrize("lead", [1e-6, 3e-5, 1e-3])
@pytest.mark.parametrize("d", [2, 256])
def test_implicit_variance_B5_one_eigenvalue_above_equal_ones(d, lead):
    """Float32: the top eigenvalue is found to rounding, the others do not hide it."""
    c = np.ones(d, np.float32)
    c[d // 2] = 1 + lead
    copied = direct_predictor(jnp.diag(jnp.asarray(c)), exponent=1.0)
    np.testing.assert_allclose(np.diagonal(copied), c / c.max(), rtol=1e-6)


@pytest.mark.parametrize(
    "spectrum",
    [[1.0, 1.0, 0.2], [1.0, 1.0 - 1e-6, 0.0], [3e-9, 1e-9, 0.0], [5.0, 0.0, 0.0]],
)
def test_implicit_variance_B5_the_top_eigenvalue_may_be_repeated(spectrum, float64):
    u, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    c = (u * np.array(spectrum)[None]) @ u.T
    copied = direct_predictor(jnp.asarray(c), exponent=1.0)
    np.testing.assert_allclose(copied, c / max(spectrum), rtol=0, atol=1e-12)


def test_implicit_variance_B5_the_conventions_differ_where_epsilon_stands(float64):
    c = jnp.diag(jnp.array([4.0, 1.0, 0.0]))
    options = dict(exponent=0.5, epsilon=0.21)
    inside = jnp.diagonal(direct_predictor(c, convention="fmi", **options))
    outside = jnp.diagonal(direct_predictor(c, convention="luckmatters", **options))
    np.testing.assert_allclose(inside, np.sqrt([1.21, 0.46, 0.21]), rtol=1e-12)
    np.testing.assert_allclose(outside, [1.21, 0.71, 0.21], rtol=1e-12)
    plain = [
        direct_predictor(c, exponent=0.5, convention=name)
        for name in ("fmi", "luckmatters")
    ]
    # Without epsilon they differ in luckmatters' smallest eigenvalue alone.
    gap = np.diagonal(plain[1] - plain[0])
    np.testing.assert_allclose(gap, [0.0, 0.0, 1e-4], atol=1e-15)

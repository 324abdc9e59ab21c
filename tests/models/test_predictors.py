"""Closed-form predictors and the running moment that they are computed from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models import predictors

# As in training; eager, as the doctests are, each operation would compile on its own.
direct_predictor = jax.jit(
    predictors.direct_predictor, static_argnames=("exponent", "epsilon", "convention")
)
update_covariance = jax.jit(
    predictors.update_covariance, static_argnames=("momentum", "center")
)
FORMS = [  # both conventions, with and without eigenvectors
    dict(convention=convention, exponent=exponent)
    for convention in ("fmi", "luckmatters")
    for exponent in (0.5, 1.0)
]


def rows(n=9, d=5, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)))


def moment(n=9, d=5, seed=0):
    z = rows(n, d, seed)
    return z.T @ z / n


def by_power(c, exponent, epsilon, convention):
    s, u = np.linalg.eigh(np.asarray(c, np.float64))
    if convention == "luckmatters" and exponent == 1:
        eigenvalues = s + epsilon
    elif convention == "luckmatters":
        eigenvalues = (np.maximum(s, 0) / s[-1]) ** exponent + epsilon
        eigenvalues = np.maximum(eigenvalues, 1e-4)
    else:
        eigenvalues = (np.maximum(s, 0) / s[-1] + epsilon) ** exponent
    out = np.zeros_like(u)
    for k in range(len(s)):
        out += eigenvalues[k] * np.outer(u[:, k], u[:, k])
    return out


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_direct_predictor_equals_the_definition(form, float64):
    for n in (3, 5, 9):  # fewer rows than dimensions, as many, more
        c = moment(n)
        for epsilon in (0.0, 0.25):
            # A square root makes 1e-8 of the rounding of a zero eigenvalue.
            np.testing.assert_allclose(
                direct_predictor(c, epsilon=epsilon, **form),
                by_power(c, epsilon=epsilon, **form),
                atol=1e-7 if n < 5 else 1e-12,
            )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_predictor_turns_with_the_covariance(form, float64):
    c = moment()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    np.testing.assert_allclose(
        direct_predictor(q.T @ c @ q, epsilon=0.25, **form),
        q.T @ direct_predictor(c, epsilon=0.25, **form) @ q,
        atol=1e-12,
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_only_luckmatters_directcopy_feels_the_scale_of_the_embeddings(form):
    c = moment().astype(jnp.float32)
    gap = jnp.abs(direct_predictor(9 * c, **form) - direct_predictor(c, **form)).max()
    if form == dict(convention="luckmatters", exponent=1.0):
        assert float(gap) > 1
    else:
        assert float(gap) < 1e-5


DEGENERATE = {
    "zero": np.zeros((4, 4)),
    "rank_one": np.ones((4, 4)),
    "isotropic": np.eye(4),
    "one_dead": np.diag([1.0, 1.0, 1.0, 0.0]),
    "slightly_negative": np.diag([1.0, 0.5, 1e-3, -1e-7]),
    "tiny": 1e-8 * np.ones((4, 4)),
    "nearly_subnormal": 2e-38 * np.eye(4),
    "subnormal": 1e-40 * np.eye(4),
    "large": 1e8 * np.ones((4, 4)),
    "nearly_infinite": 3e38 * np.ones((4, 4)),
}


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_degenerate_covariances_give_finite_predictors(form, dtype):
    @jax.jit
    def with_gradients(c):
        def total(c, epsilon):
            w = predictors.direct_predictor(c, epsilon=epsilon, **form)
            return w.sum(), w

        return [
            jax.grad(total, has_aux=True)(c, epsilon)[::-1] for epsilon in (0.0, 0.25)
        ]

    for case, c in DEGENERATE.items():
        for w, gradient in with_gradients(jnp.asarray(c, dtype)):
            assert w.dtype == jnp.float32, case
            assert np.isfinite(w).all(), case
            np.testing.assert_array_equal(w, w.T, err_msg=case)
            np.testing.assert_array_equal(
                np.asarray(gradient, np.float32), 0.0, err_msg=case
            )


def test_a_covariance_without_numbers_counts_as_documented():
    nothing = jnp.zeros((3, 3))
    for options, expected in [
        (dict(exponent=0.5, epsilon=0.25), 0.5),
        (dict(exponent=1.0, epsilon=0.25), 0.25),
        (dict(exponent=0.5), 0.0),
        (dict(exponent=0.5, convention="luckmatters"), 1e-4),
    ]:
        for c in (nothing, nothing + 1e-40):
            w = direct_predictor(c, **options)
            np.testing.assert_allclose(w, expected * np.eye(3), rtol=1e-6)
    # The smallest normal scale is a covariance like any other.
    w = direct_predictor(2e-38 * jnp.diag(jnp.array([1.0, 0.64])))
    np.testing.assert_allclose(jnp.diagonal(w), [1.0, 0.8], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_covariance_that_is_not_finite_is_not_hidden(form, bad):
    c = jnp.eye(3).at[1, 1].set(bad)
    assert not np.isfinite(direct_predictor(c, **form)).all()


def test_an_asymmetric_matrix_is_symmetrized(float64):
    c, skew = moment(), jnp.triu(jnp.ones((5, 5)), 1)
    for form in FORMS:
        np.testing.assert_allclose(
            direct_predictor(c + 0.1 * (skew - skew.T), **form),
            direct_predictor(c, **form),
            atol=1e-12,
        )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_direct_predictor_under_vmap(form):
    c = jnp.stack([moment(seed=s).astype(jnp.float32) for s in (0, 1)])
    plain = jnp.stack([direct_predictor(x, **form) for x in c])
    mapped = jax.jit(jax.vmap(lambda x: predictors.direct_predictor(x, **form)))(c)
    np.testing.assert_allclose(mapped, plain, atol=2e-6)


def test_wrong_predictor_options_are_named():
    with pytest.raises(ValueError, match="one of fmi, luckmatters, got 'byol'"):
        direct_predictor(jnp.eye(2), convention="byol")
    for exponent in (0.0, -0.5, float("nan")):
        with pytest.raises(ValueError, match="exponent must be positive"):
            direct_predictor(jnp.eye(2), exponent=exponent)
    with pytest.raises(ValueError, match="epsilon must not be negative"):
        direct_predictor(jnp.eye(2), epsilon=-0.1)
    for shape in ((2, 3), (2,), (2, 2, 2)):
        with pytest.raises(ValueError, match=r"must be \[D, D\], got shape"):
            direct_predictor(jnp.ones(shape))


def test_the_moment_is_uncentred_unless_asked(float64):
    z = rows() + 3.0
    nothing = jnp.zeros((5, 5))
    raw = update_covariance(nothing, z, momentum=0.0)
    np.testing.assert_allclose(raw, z.T @ z / 9, rtol=1e-12)
    centered = update_covariance(nothing, z, momentum=0.0, center=True)
    np.testing.assert_allclose(
        centered, np.cov(np.asarray(z).T, ddof=0), rtol=1e-10, atol=1e-13
    )


def test_momentum_keeps_or_forgets(float64):
    past = moment(seed=3)
    kept = update_covariance(past, rows(), momentum=1.0)
    np.testing.assert_array_equal(kept, past)
    both = jnp.concatenate([rows(), rows(seed=1)])
    stacked = update_covariance(past, both, momentum=0.3)
    expected = 0.3 * past + 0.7 * 0.5 * (moment() + moment(seed=1))
    np.testing.assert_allclose(stacked, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_moment_is_float32_and_finite(dtype):
    past = jnp.zeros((5, 5))

    @jax.jit
    def slopes(z, past):
        def total(z, past):
            return predictors.update_covariance(past, z, momentum=0.5).sum()

        return jax.grad(total, (0, 1))(z, past)

    for scale in (0.0, 1e-4, 1.0, 1e4):
        z = (scale * rows()).astype(dtype)
        for center in (False, True):
            c = update_covariance(past, z, momentum=0.5, center=center)
            assert c.dtype == jnp.float32 and np.isfinite(c).all()
            wide = update_covariance(
                past, z.astype(jnp.float32), momentum=0.5, center=center
            )
            # Where terms cancel, a sum depends on the order that a program chose.
            np.testing.assert_allclose(
                c, wide, rtol=1e-6, atol=1e-6 * float(jnp.abs(wide).max())
            )
        for part in slopes(z, past):
            np.testing.assert_array_equal(np.asarray(part, np.float32), 0.0)


def test_the_moment_of_a_sharded_batch_is_that_of_the_whole():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    z = rows(16, 5).astype(jnp.float32)
    plain, sharded = (
        update_covariance(jnp.eye(5), x, momentum=0.5, center=True)
        for x in (z, jax.device_put(z, split))
    )
    np.testing.assert_allclose(sharded, plain, atol=1e-6)


def test_wrong_moments_are_named():
    for shape in ((4,), (0, 3), (2, 4, 3), (4, 2)):
        with pytest.raises(ValueError, match=r"\[N, D\] and their moment \[D, D\]"):
            update_covariance(jnp.eye(3), jnp.ones(shape), momentum=0.5)
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="momentum must"):
            update_covariance(jnp.eye(3), jnp.ones((4, 3)), momentum=momentum)

"""Losses between a prediction and a target, and IsoLoss.

What Halvagal et al. derive about the gradients is tested here; the dynamics that follow
are items of the checklist of `ssljax.analytic.implicit_variance`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import normal, pair, rotation

from ssljax import losses
from ssljax.losses import asymmetric
from ssljax.models.predictors import direct_predictor, update_covariance

PLAIN = ("negative_cosine", "normalized_mse")
NAMES = (
    "asymmetric_euclidean",
    "asymmetric_cosine",
    "isoloss_euclidean",
    "isoloss_cosine",
)


@jax.jit
@jax.vmap
def everything(z1, z2, predictor):
    """Values and gradients of all losses, in one program for a batch of inputs."""
    found = {
        name: jax.value_and_grad(getattr(losses, name), argnums=(0, 1))(z1, z2)
        for name in PLAIN
    }
    for name in NAMES:
        loss = jax.value_and_grad(getattr(losses, name), argnums=(0, 1, 2))
        found[name] = loss(z1, z2, predictor)
    return found


def evaluate(*inputs):
    """Return one dictionary of values and gradients per triple of inputs."""
    found = everything(*(np.stack(x) for x in zip(*inputs, strict=True)))
    found = jax.tree.map(np.asarray, found)
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(len(inputs))]


def values_of(found):
    return {name: float(value) for name, (value, _) in found.items()}


def problem(n=7, d=5, seed=0, dtype=np.float64):
    """Two views and a predictor, positive definite."""
    z1, z2 = pair(n, d, seed)
    u, eigenvalues = basis(d, seed)
    return tuple(x.astype(dtype) for x in (z1, z2, (u * eigenvalues[None]) @ u.T))


def basis(d, seed=0):
    """Eigenvectors and eigenvalues of the predictor of `problem`."""
    rng = np.random.default_rng(seed + 100)
    return rotation(d, seed + 1), rng.uniform(0.05, 1.2, size=d)


def mean_cosine_by_loops(p, z):
    total = 0.0
    for a, b in zip(np.asarray(p), np.asarray(z), strict=True):
        dot = sum(a[j] * b[j] for j in range(len(a)))
        total += dot / np.sqrt(sum(a**2) * sum(b**2))
    return total / len(p)


def by_loops(name, z1, z2, predictor, fixed=None):
    """The published formulas; ``fixed`` is the z1 inside the stop-gradients."""
    z1, z2, w = (np.asarray(x, np.float64) for x in (z1, z2, predictor))
    fixed = z1 if fixed is None else fixed
    u = np.linalg.eigh(w)
    root = (u[1] * np.sqrt(u[0])[None]) @ u[1].T
    total, (n, d) = 0.0, z1.shape
    for i in range(n):
        p, q = [], []
        for j in range(d):
            p.append(sum(z1[i, k] * w[k, j] for k in range(d)))
            q.append(sum(fixed[i, k] * w[k, j] for k in range(d)))
        p, q, b = np.array(p), np.array(q), z2[i]
        q_norm, b_norm = np.sqrt(sum(q**2)), np.sqrt(sum(b**2))
        if name == "asymmetric_euclidean":
            total += 0.5 * sum((p - b) ** 2)
        elif name == "asymmetric_cosine":
            total -= sum(p * b) / (np.sqrt(sum(p**2)) * b_norm)
        elif name == "isoloss_euclidean":
            total += 0.5 * sum((z1[i] - (b + fixed[i] - q)) ** 2)
        else:
            total -= sum(z1[i] * b) / (q_norm * b_norm)
            half = root @ z1[i]
            total += 0.5 * sum(q * b) / (q_norm**3 * b_norm) * sum(half**2)
    return total / n


def descent(name, found):
    """Minus the gradient with respect to each embedding, without the 1/N."""
    gradient = found[name][1][0]
    return -len(gradient) * gradient


def descent_by_modes(name, z1, z2, u, eigenvalues):
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


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (1, 2)])
def test_values_and_gradients_equal_the_definitions(n, d, float64):
    """Values as published, gradients as the paper derives them in the eigenbasis."""
    z1, z2, predictor = problem(n, d)
    (found,) = evaluate((z1, z2, predictor))
    values = values_of(found)
    cosine = mean_cosine_by_loops(z1, z2)
    np.testing.assert_allclose(values["negative_cosine"], -cosine, rtol=1e-12)
    np.testing.assert_allclose(values["normalized_mse"], 2 - 2 * cosine, rtol=1e-12)
    for name in NAMES:
        expected = by_loops(name, z1, z2, predictor)
        np.testing.assert_allclose(values[name], expected, rtol=1e-11, err_msg=name)
        expected = descent_by_modes(name, z1, z2, *basis(d))
        assert n == 1 or np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(
            descent(name, found), expected, rtol=0, atol=1e-12, err_msg=name
        )


def test_gradients_in_float32():
    (found,) = evaluate(problem(dtype=np.float32))
    z1, z2, _ = problem()
    for name in NAMES:
        expected = descent_by_modes(name, z1, z2, *basis(5))
        np.testing.assert_allclose(
            descent(name, found), expected, rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_parallel_opposite_and_zero_rows_in_closed_form(float64):
    z1, z2, predictor = problem()
    same, opposite, nothing, zeros = evaluate(
        (z1, z1, predictor),
        (z1, -2.0 * z1, predictor),
        (z1, 0 * z1, predictor),
        (0 * z1, 0 * z1, predictor),
    )
    for found, cosine in ((same, 1.0), (opposite, -1.0), (nothing, 0.0)):
        values = values_of(found)
        assert values["negative_cosine"] == pytest.approx(-cosine, abs=1e-12)
        distance = 1.0 if found is nothing else 2 - 2 * cosine
        assert values["normalized_mse"] == pytest.approx(distance, abs=1e-12)
    assert values_of(nothing)["negative_cosine"] == 0.0
    assert values_of(zeros)["normalized_mse"] == 0.0


def test_agreement_is_resolved_below_the_rounding_of_a_cosine():
    # 2 - 2 cos in float32 is a multiple of 1e-7; the distance here is 4e-10.
    p = jnp.array([[1.0, 0.0]])
    value = losses.normalized_mse(p, jnp.array([[1.0, 2e-5]]))
    assert float(value) == pytest.approx(4e-10, rel=1e-3)


def test_the_two_losses_have_proportional_gradients(float64):
    (found,) = evaluate(problem())
    of_distance, of_cosine = (found[n][1][0] for n in ("normalized_mse", PLAIN[0]))
    np.testing.assert_allclose(of_distance, 2 * of_cosine, rtol=1e-10)


def test_values_by_hand(float64):
    # p = (2, 1), |p|^2 = 5, p . z2 = 2; z1 W z1 = 3.
    (found,) = evaluate((np.ones((1, 2)), np.eye(1, 2), np.diag([2.0, 1.0])))
    expected = {
        "asymmetric_euclidean": 1.0,
        "asymmetric_cosine": -2 / np.sqrt(5),
        "isoloss_euclidean": 1.0,
        "isoloss_cosine": -1 / np.sqrt(5) + 0.5 * 2 / 5**1.5 * 3,
    }
    for name, value in expected.items():
        assert values_of(found)[name] == pytest.approx(value, rel=1e-9)


def test_gradients_match_differences_of_the_definition_held_fixed(float64):
    z1, z2, predictor = problem()
    direction, step = normal(*z1.shape, seed=5), 1e-4
    (found,) = evaluate((z1, z2, predictor))
    for name in NAMES:
        ends = [
            by_loops(name, z1 + s * direction, z2, predictor, fixed=z1)
            for s in (step, -step)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope) > 1e-3
        gradient = found[name][1][0]
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_the_curvature_of_the_euclidean_isoloss_is_the_identity(float64):
    # The residual's own derivative is one: the Hessian is I / N.
    z1, z2, predictor = problem()

    @jax.jit
    def along(z, direction):
        gradient = jax.grad(losses.isoloss_euclidean)
        return jax.jvp(lambda z: gradient(z, z2, predictor), (z,), (direction,))[1]

    np.testing.assert_allclose(along(z1, z1), z1 / len(z1), rtol=1e-12)


def test_gradients_turn_with_the_embeddings(float64):
    z1, z2, predictor = problem()
    q = rotation(5, seed=1)
    found, turned = evaluate((z1, z2, predictor), (z1 @ q, z2 @ q, q.T @ predictor @ q))
    for name in NAMES:
        expected = descent(name, found) @ q
        actual = descent(name, turned)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_the_partner_matters(float64):
    z1, z2, predictor = problem()
    found, other = evaluate((z1, z2, predictor), (z1, z2[::-1], predictor))
    for name in NAMES:
        assert abs(values_of(found)[name] - values_of(other)[name]) > 1e-2


def test_the_cosines_ignore_the_scale_of_the_target_and_the_euclideans_do_not(float64):
    z1, z2, predictor = problem()
    found, longer = evaluate((z1, z2, predictor), (z1, 3 * z2, predictor))
    for name in NAMES:
        gap = abs(values_of(longer)[name] - values_of(found)[name])
        assert gap < 1e-12 if name.endswith("cosine") else gap > 0.1


def test_the_identity_gives_the_losses_without_a_predictor(float64):
    z1, z2, _ = problem()
    (found,) = evaluate((z1, z2, np.eye(5)))
    values = values_of(found)
    np.testing.assert_allclose(
        values["asymmetric_cosine"], values["negative_cosine"], rtol=1e-14
    )
    for kind in ("euclidean", "cosine"):
        plain, iso = (descent(f"{k}_{kind}", found) for k in ("asymmetric", "isoloss"))
        np.testing.assert_allclose(plain, iso, rtol=1e-12, atol=1e-15)


def test_isoloss_keeps_a_residual_far_below_the_embeddings():
    # z1 - (z2 + z1 - z1 W) in float32 knows nothing below 1e4 * 6e-8.
    z1, z2 = jnp.full((2, 3), 1e4), jnp.full((2, 3), 1e-5)
    value = losses.isoloss_euclidean(z1, z2, jnp.zeros((3, 3)))
    assert float(value) == pytest.approx(1.5e-10, rel=1e-5)


def test_a_mode_without_predictor_eigenvalue_learns_only_under_isoloss(float64):
    z1, z2, _ = problem()
    (found,) = evaluate((z1, z2, np.diag([1.0, 0.5, 0.5, 0.2, 0.0])))
    for name in NAMES:
        size = np.abs(found[name][1][0][:, 4]).max()
        assert size > 1e-2 if name.startswith("isoloss") else size == 0.0


@pytest.mark.parametrize("scale", [1e-7, 1e-9])
def test_short_predictions_keep_the_relation_of_the_two_cosines(scale, float64):
    # Below the floor of 1e-6 both lose their second term.
    z1, z2, predictor = problem()
    (found,) = evaluate((scale * z1, z2, predictor))
    plain, iso = (found[f"{k}_cosine"][1][0] for k in ("asymmetric", "isoloss"))
    np.testing.assert_allclose(plain, iso @ predictor, rtol=1e-9, atol=1e-6)
    assert np.abs(iso).max() > 1e4


def test_equal_views_give_the_rates_of_the_modes(float64):
    # Views that agree: lambda (1 - lambda) z, or a weighted sum of lambda_k - lambda_m.
    z, _, predictor = problem()
    u, lam = basis(5)
    (found,) = evaluate((z, z, predictor))
    modes = z @ u
    for name in NAMES:
        if name.endswith("euclidean"):
            rates = np.broadcast_to((1 - lam)[None], modes.shape)
        else:
            lengths = np.linalg.norm(modes * lam[None], axis=1) ** 3
            lengths = lengths * np.linalg.norm(modes, axis=1)
            gaps = lam[:, None] - lam[None, :]  # [k, m]
            rates = (modes**2 * lam[None]) @ gaps / lengths[:, None]
        if name.startswith("asymmetric"):
            rates = rates * lam[None]
        actual = descent(name, found) @ u
        np.testing.assert_allclose(actual, rates * modes, rtol=0, atol=1e-12)


def test_isoloss_leaves_out_the_predictor(float64):
    z1, z2, predictor = problem()
    (found,) = evaluate((z1, z2, predictor))
    for kind in ("euclidean", "cosine"):
        plain, iso = (descent(f"{k}_{kind}", found) for k in ("asymmetric", "isoloss"))
        np.testing.assert_allclose(plain, iso @ predictor, rtol=0, atol=1e-12)
        assert np.abs(plain - iso).max() > 0.1
    values = values_of(found)
    assert values["asymmetric_euclidean"] > 0.1
    np.testing.assert_allclose(
        values["isoloss_euclidean"], values["asymmetric_euclidean"], rtol=1e-14
    )


def test_cosine_gradients_are_orthogonal(float64):
    z1, z2, predictor = problem()
    (found,) = evaluate((z1, z2, predictor))
    plain, iso = (descent(f"{k}_cosine", found) for k in ("asymmetric", "isoloss"))
    np.testing.assert_allclose((z1 * plain).sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose((z1 @ predictor * iso).sum(axis=1), 0.0, atol=1e-12)
    # Not both along z1: without the predictor IsoLoss's does change the norm.
    assert np.abs((z1 * iso).sum(axis=1)).max() > 1e-2


def test_of_the_cosines_only_isoloss_depends_on_the_predictors_scale(float64):
    z1, z2, predictor = problem()
    scales = (1.0, 0.1, 3.0, 250.0)
    found, *scaled = evaluate(*((z1, z2, c * predictor) for c in scales))
    for scale, other in zip(scales[1:], scaled, strict=True):
        for name, factor in (("asymmetric_cosine", 1.0), ("isoloss_cosine", 1 / scale)):
            expected = factor * descent(name, found)
            np.testing.assert_allclose(
                descent(name, other), expected, rtol=0, atol=1e-12 * max(factor, 1)
            )


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_nothing_reaches_the_covariance_of_a_closed_form_predictor(exponent):
    z1, z2, _ = problem(dtype=np.float32)

    def predictor(past, rows):
        c = update_covariance(past, rows, momentum=0.5)
        return direct_predictor(c, exponent=exponent, epsilon=0.1)

    def loss(weights, rows, past, call):
        # As in training: the predictor comes from the embeddings it is applied to.
        return call(z1 * weights, z2, predictor(past, rows * weights))

    @jax.jit
    def gradients(weights, rows, past):
        out = {}
        for name in NAMES:
            call = getattr(asymmetric, name)
            through = jax.grad(loss, argnums=(0, 1, 2))(weights, rows, past, call)
            fixed = jax.grad(call)(z1, z2, predictor(past, rows)) * z1
            out[name] = *through, fixed
        return out

    found = gradients(jnp.ones_like(z1), z1, jnp.eye(5))
    for name, (weights, rows, moment, fixed) in found.items():
        np.testing.assert_array_equal(rows, 0.0)
        np.testing.assert_array_equal(moment, 0.0)
        np.testing.assert_allclose(weights, fixed, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_a_predictor_of_another_size_is_named(name):
    z = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"must be \[3, 3\], got shape \[4, 4\]"):
        getattr(losses, name)(z, z, np.eye(4))

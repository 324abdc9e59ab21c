import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax import losses
from ssljax.losses import asymmetric
from ssljax.models.predictors import direct_predictor, update_covariance

negative_cosine = jax.jit(losses.negative_cosine)
normalized_mse = jax.jit(losses.normalized_mse)
LOSSES = [negative_cosine, normalized_mse]
WITH_PREDICTOR = {  # compiled once per shape
    name: jax.jit(getattr(asymmetric, name))
    for name in (
        "asymmetric_euclidean",
        "asymmetric_cosine",
        "isoloss_euclidean",
        "isoloss_cosine",
    )
}
VALUE_AND_GRAD = {
    name: jax.jit(jax.value_and_grad(loss)) for name, loss in WITH_PREDICTOR.items()
}


@pytest.fixture(params=WITH_PREDICTOR)
def name(request):
    return request.param


def pairs(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.normal(size=(n, d)))


def mean_cosine_by_loops(p, z):
    total = 0.0
    for a, b in zip(np.asarray(p), np.asarray(z), strict=True):
        dot = sum(a[j] * b[j] for j in range(len(a)))
        total += dot / np.sqrt(sum(a**2) * sum(b**2))
    return total / len(p)


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (1, 2)])
def test_equal_the_definitions(n, d, float64):
    p, z = pairs(n, d)
    cosine = mean_cosine_by_loops(p, z)
    np.testing.assert_allclose(negative_cosine(p, z), -cosine, rtol=1e-12)
    np.testing.assert_allclose(normalized_mse(p, z), 2 - 2 * cosine, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, -2.0])
def test_parallel_and_opposite_in_closed_form(scale, float64):
    p, _ = pairs(5, 4)
    sign = np.sign(scale)
    assert float(negative_cosine(p, scale * p)) == pytest.approx(-sign, abs=1e-12)
    assert float(normalized_mse(p, scale * p)) == pytest.approx(2 - 2 * sign, abs=1e-12)


def test_zero_rows_count_as_documented(float64):
    p, z = jnp.eye(3), jnp.zeros((3, 3))
    assert float(negative_cosine(p, z)) == 0.0
    assert float(normalized_mse(p, z)) == pytest.approx(1.0, abs=1e-12)
    assert float(normalized_mse(z, z)) == 0.0


def test_agreement_is_resolved_below_the_rounding_of_a_cosine():
    # 2 - 2 cos in float32 is a multiple of 1e-7; the distance here is 4e-10.
    p = jnp.array([[1.0, 0.0]])
    value = normalized_mse(p, jnp.array([[1.0, 2e-5]]))
    assert float(value) == pytest.approx(4e-10, rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_row_scales_and_rotations_change_nothing(loss, float64):
    p, z = pairs(6, 5)
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.1, 10, size=(2, 6, 1))
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    np.testing.assert_allclose(
        loss(scales[0] * p, scales[1] * z), loss(p, z), rtol=1e-12
    )
    np.testing.assert_allclose(loss(p @ q, z @ q), loss(p, z), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_matches_finite_differences(loss, float64):
    check_grads(jax.jit(loss), pairs(5, 4), order=2, modes=["rev"])


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_flow_through_both_arguments(loss, float64):
    p, z = pairs(5, 4)
    for gradient in jax.grad(loss, argnums=(0, 1))(p, z):
        assert float(jnp.abs(gradient).max()) > 1e-3


def test_the_two_losses_have_proportional_gradients(float64):
    p, z = pairs(5, 4)
    np.testing.assert_allclose(
        jax.grad(normalized_mse)(p, z), 2 * jax.grad(negative_cosine)(p, z), rtol=1e-10
    )


def triple(n=6, d=5, seed=0):
    """Two views and a positive definite predictor."""
    z1, noise = pairs(n, d, seed)
    root = np.random.default_rng(seed + 1).normal(size=(d, 2 * d))
    return z1, z1 + 0.4 * noise, jnp.asarray(root @ root.T / (2 * d))


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


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (1, 2)])
def test_a_loss_with_a_predictor_equals_its_definition(name, n, d, float64):
    z1, z2, predictor = triple(n, d)
    value = WITH_PREDICTOR[name](z1, z2, predictor)
    np.testing.assert_allclose(value, by_loops(name, z1, z2, predictor), rtol=1e-11)


def test_values_by_hand(float64):
    # p = (2, 1), |p|^2 = 5, p . z2 = 2; z1 W z1 = 3.
    z1, z2 = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 0.0]])
    expected = {
        "asymmetric_euclidean": 1.0,
        "asymmetric_cosine": -2 / np.sqrt(5),
        "isoloss_euclidean": 1.0,
        "isoloss_cosine": -1 / np.sqrt(5) + 0.5 * 2 / 5**1.5 * 3,
    }
    for name, loss in WITH_PREDICTOR.items():
        value = loss(z1, z2, jnp.diag(jnp.array([2.0, 1.0])))
        assert float(value) == pytest.approx(expected[name], rel=1e-9)


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_the_asymmetric_gradient_matches_finite_differences(kind, float64):
    z1, z2, predictor = triple(5, 4)
    loss = WITH_PREDICTOR[f"asymmetric_{kind}"]
    check_grads(lambda z: loss(z, z2, predictor), (z1,), order=2, modes=["rev"])


def test_gradients_and_curvature_match_the_definition_held_fixed(name, float64):
    z1, z2, predictor = triple(3, 3)
    start, step = np.asarray(z1), 1e-4

    def value(moved):
        return by_loops(name, moved, z2, predictor, fixed=start)

    direction = np.random.default_rng(5).normal(size=start.shape)
    slope = (value(start + step * direction) - value(start - step * direction)) / (
        2 * step
    )
    _, gradient = VALUE_AND_GRAD[name](z1, z2, predictor)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)
    if name == "isoloss_euclidean":
        # The residual's own derivative is one: the Hessian is I / N.
        moved = jax.jvp(
            lambda z: VALUE_AND_GRAD[name](z, z2, predictor)[1], (z1,), (z1,)
        )
        np.testing.assert_allclose(moved[1], z1 / len(z1), rtol=1e-12)


def test_rotating_everything_changes_nothing(name, float64):
    z1, z2, predictor = triple()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    loss = WITH_PREDICTOR[name]
    turned = loss(z1 @ q, z2 @ q, q.T @ predictor @ q)
    np.testing.assert_allclose(turned, loss(z1, z2, predictor), rtol=1e-11)
    order = np.random.default_rng(2).permutation(6)
    shuffled = loss(z1[order], z2[order], predictor)
    np.testing.assert_allclose(shuffled, loss(z1, z2, predictor), rtol=1e-12)
    assert abs(float(loss(z1, z2[::-1], predictor) - loss(z1, z2, predictor))) > 1e-2


def test_the_cosines_ignore_the_scale_of_the_target_and_the_euclideans_do_not(float64):
    z1, z2, predictor = triple()
    for name, loss in WITH_PREDICTOR.items():
        gap = abs(float(loss(z1, 3 * z2, predictor) - loss(z1, z2, predictor)))
        assert gap < 1e-12 if name.endswith("cosine") else gap > 0.1


def test_the_identity_gives_the_losses_without_a_predictor(float64):
    z1, z2, _ = triple()
    cosine = WITH_PREDICTOR["asymmetric_cosine"](z1, z2, jnp.eye(5))
    np.testing.assert_allclose(cosine, negative_cosine(z1, z2), rtol=1e-14)
    gradients = [
        VALUE_AND_GRAD[f"{loss}_{kind}"](z1, z2, jnp.eye(5))[1]
        for kind in ("euclidean", "cosine")
        for loss in ("asymmetric", "isoloss")
    ]
    for plain, iso in (gradients[:2], gradients[2:]):
        np.testing.assert_allclose(plain, iso, rtol=1e-12)


def test_isoloss_keeps_a_residual_far_below_the_embeddings():
    # z1 - (z2 + z1 - z1 W) in float32 knows nothing below 1e4 * 6e-8.
    z1 = jnp.full((2, 3), 1e4)
    value = WITH_PREDICTOR["isoloss_euclidean"](
        z1, jnp.full((2, 3), 1e-5), 0 * jnp.eye(3)
    )
    assert float(value) == pytest.approx(1.5e-10, rel=1e-5)


def test_a_mode_without_predictor_eigenvalue_learns_only_under_isoloss(name, float64):
    z1, z2, _ = triple()
    predictor = jnp.diag(jnp.array([1.0, 0.5, 0.5, 0.2, 0.0]))
    _, gradient = VALUE_AND_GRAD[name](z1, z2, predictor)
    size = float(jnp.abs(gradient[:, 4]).max())
    assert size > 1e-2 if name.startswith("isoloss") else size == 0.0


def with_column(z, value):
    return np.where(np.arange(z.shape[1])[None] == 2, value, z)


def normal(n, d):
    return np.random.default_rng(3).normal(size=(n, d))


DEGENERATE = {
    "identical_rows": np.tile(normal(1, 4), (5, 1)),
    "constant_column": with_column(normal(5, 4), 3.0),
    "zeros": np.zeros((5, 4)),
    "zero_row": np.arange(5)[:, None] * normal(5, 4),
    "rank_one": np.outer(normal(5, 1), [1.0, -2.0, 0.5, 1.0]),
    "two_samples": normal(2, 4),
    "tiny": 1e-4 * normal(5, 4),
    "large": 1e4 * normal(5, 4),
}
PREDICTORS = {
    "zero": lambda z: jnp.zeros((4, 4)),
    "identity": lambda z: jnp.eye(4),
    "direct": lambda z: direct_predictor(moment(z)),
    "copy": lambda z: direct_predictor(moment(z), exponent=1.0, epsilon=0.25),
    "luckmatters": lambda z: direct_predictor(
        moment(z), exponent=1.0, convention="luckmatters"
    ),
}


def moment(z):
    return update_covariance(jnp.zeros((4, 4)), z, momentum=0.0)


@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", DEGENERATE)
def test_value_and_gradient_stay_finite(name, case, dtype):
    z = jnp.asarray(DEGENERATE[case], dtype)
    for make in PREDICTORS.values():
        for z1, z2 in [(z, z), (z, z[::-1]), (z, jnp.zeros_like(z)), (0 * z, z)]:
            value, gradient = VALUE_AND_GRAD[name](z1, z2, make(z))
            assert value.shape == () and value.dtype == jnp.float32
            assert np.isfinite(value)
            assert gradient.dtype == dtype
            assert np.isfinite(np.asarray(gradient, np.float32)).all()


@pytest.mark.parametrize("scale", [1e-7, 1e-9])
def test_short_predictions_keep_the_relation_of_the_two_cosines(scale, float64):
    # Below the floor of 1e-6 both lose their second term.
    z1, z2, predictor = triple()
    plain, iso = (
        VALUE_AND_GRAD[name](scale * z1, z2, predictor)[1]
        for name in ("asymmetric_cosine", "isoloss_cosine")
    )
    np.testing.assert_allclose(plain, iso @ predictor, rtol=1e-9, atol=1e-6)
    assert float(jnp.abs(iso).max()) > 1e4


def test_types_are_widened_and_kept(name, float64):
    arrays = triple()
    assert WITH_PREDICTOR[name](*arrays).dtype == jnp.float64
    low = [x.astype(jnp.bfloat16) for x in arrays]
    wide = [x.astype(jnp.float32) for x in low]
    value = WITH_PREDICTOR[name](*low)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, WITH_PREDICTOR[name](*wide), rtol=1e-6)


def test_jit_vmap_and_a_sharded_batch_agree_with_the_plain_call(name):
    loss = getattr(asymmetric, name)
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in pairs(16, 4))
    predictor = jnp.asarray(triple(5, 4)[2], jnp.float32)
    plain = loss(z1, z2, predictor)
    _, gradient = VALUE_AND_GRAD[name](z1, z2, predictor)
    split = [z.reshape(2, 8, 4) for z in (z1, z2)]
    mapped = jax.vmap(loss, in_axes=(0, 0, None))(*split, predictor)
    np.testing.assert_allclose(mapped.mean(), plain, rtol=1e-5)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    sharded = (jax.device_put(z, rows) for z in (z1, z2))
    value, sharded_gradient = VALUE_AND_GRAD[name](*sharded, predictor)
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    np.testing.assert_allclose(sharded_gradient, gradient, rtol=1e-4, atol=1e-6)


def test_wrong_shapes_are_named(name):
    loss, z = getattr(asymmetric, name), jnp.ones((4, 3))
    with pytest.raises(ValueError, match=r"two \[N, D\] arrays of the same shape"):
        loss(z, jnp.ones((5, 3)), jnp.eye(3))
    with pytest.raises(ValueError, match=r"must be \[3, 3\], got shape \[4, 4\]"):
        loss(z, z, jnp.eye(4))
    with pytest.raises(ValueError, match="at least 1 pair"):
        loss(z[:0], z[:0], jnp.eye(3))

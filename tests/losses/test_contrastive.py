import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax import losses

# Compiled once per shape: the temperature is traced here.
nt_xent = jax.jit(losses.nt_xent, static_argnames="negatives")
info_nce = jax.jit(losses.info_nce, static_argnames="symmetric")

SIMILARITY = {"cosine": lambda s: s, "squared": lambda s: s**2, "absolute": abs}

# Independently computed for the pair of `golden_pair`.
NT_XENT = {
    ("cosine", 0.1): 0.2585811438,
    ("cosine", 0.15): 0.3709875023,
    ("cosine", 0.5): 1.0451088607,
    ("squared", 0.1): 0.8098147014,
    ("squared", 0.15): 0.9899715807,
    ("squared", 0.5): 1.5866650598,
    ("absolute", 0.1): 1.0862157785,
    ("absolute", 0.15): 1.2356834241,
    ("absolute", 0.5): 1.7435034793,
}


def golden_pair(dtype):
    i, j = np.arange(6)[:, None], np.arange(4)[None, :]
    z1 = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    z2 = z1 + 0.1 * np.cos(0.5 + 1.1 * j - 0.9 * i)
    return jnp.asarray(z1, dtype), jnp.asarray(z2, dtype)


def pairs(n, d, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return jnp.asarray(z), jnp.asarray(z + noise * rng.normal(size=(n, d)))


def unit_rows(*views):
    return [[v / np.linalg.norm(v) for v in np.asarray(z)] for z in views]


def nt_xent_by_loops(z1, z2, temperature, negatives):
    """The definition, one scalar at a time."""
    first, second = unit_rows(z1, z2)
    w, n = first + second, len(first)
    total = 0.0
    for a in range(2 * n):
        partner = (a + n) % (2 * n)
        denominator = 0.0
        for k in range(2 * n):
            if k == partner:
                denominator += np.exp(w[a] @ w[k] / temperature)
            elif k != a:
                s = SIMILARITY[negatives](w[a] @ w[k])
                denominator += np.exp(s / temperature)
        total += np.log(denominator) - w[a] @ w[partner] / temperature
    return total / (2 * n)


def info_nce_by_loops(z1, z2, temperature):
    first, second = unit_rows(z1, z2)
    n, total = len(first), 0.0
    for i in range(n):
        scores = [first[i] @ second[j] / temperature for j in range(n)]
        total += np.log(sum(np.exp(scores))) - scores[i]
    return total / n


@pytest.mark.parametrize("negatives, temperature", NT_XENT)
def test_nt_xent_golden_values(negatives, temperature, float64):
    value = nt_xent(
        *golden_pair(jnp.float64), temperature=temperature, negatives=negatives
    )
    assert float(value) == pytest.approx(NT_XENT[negatives, temperature], abs=1e-9)


@pytest.mark.parametrize("negatives, temperature", NT_XENT)
def test_nt_xent_golden_values_in_float32(negatives, temperature):
    value = nt_xent(
        *golden_pair(jnp.float32), temperature=temperature, negatives=negatives
    )
    assert float(value) == pytest.approx(NT_XENT[negatives, temperature], rel=1e-5)


def test_info_nce_golden_value(float64):
    # The recorded value has its anchors in the first view only.
    value = info_nce(*golden_pair(jnp.float64), temperature=0.1, symmetric=False)
    assert float(value) == pytest.approx(0.1463047216, abs=1e-9)


def test_info_nce_golden_value_in_float32():
    value = info_nce(*golden_pair(jnp.float32), temperature=0.1, symmetric=False)
    assert float(value) == pytest.approx(0.1463047216, rel=1e-5)


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (2, 5)])
@pytest.mark.parametrize("negatives", SIMILARITY)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_equals_the_definition(n, d, negatives, temperature, float64):
    z1, z2 = pairs(n, d)
    np.testing.assert_allclose(
        nt_xent(z1, z2, temperature=temperature, negatives=negatives),
        nt_xent_by_loops(z1, z2, temperature, negatives),
        rtol=1e-12,
    )


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (2, 5)])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce_equals_the_definition(n, d, temperature, float64):
    z1, z2 = pairs(n, d)
    forth = info_nce_by_loops(z1, z2, temperature)
    back = info_nce_by_loops(z2, z1, temperature)
    np.testing.assert_allclose(
        info_nce(z1, z2, temperature=temperature, symmetric=False), forth, rtol=1e-11
    )
    np.testing.assert_allclose(
        info_nce(z1, z2, temperature=temperature), (forth + back) / 2, rtol=1e-11
    )


@pytest.mark.parametrize("loss", [nt_xent, info_nce])
def test_a_cold_softmax_does_not_overflow(loss, float64):
    # By hand exp(1 / 0.001) is infinite; float64 with 0.05 is the reference for 0.05.
    z1, z2 = pairs(8, 4)
    assert bool(jnp.isfinite(loss(z1, z2, temperature=1e-3)))
    narrow = loss(z1.astype("float32"), z2.astype("float32"), temperature=0.05)
    np.testing.assert_allclose(narrow, loss(z1, z2, temperature=0.05), rtol=1e-5)


@pytest.mark.parametrize("n", [2, 5, 33])
@pytest.mark.parametrize("negatives", SIMILARITY)
def test_collapsed_embeddings_give_the_log_of_the_candidates(n, negatives, float64):
    z = jnp.full((n, 3), 0.4)
    value = nt_xent(z, z, temperature=0.3, negatives=negatives)
    assert float(value) == pytest.approx(np.log(2 * n - 1), abs=1e-12)
    assert float(info_nce(z, z)) == pytest.approx(np.log(n), abs=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("negatives", SIMILARITY)
def test_an_orthonormal_frame_in_closed_form(temperature, negatives, float64):
    n, z = 6, jnp.eye(6)
    value = nt_xent(z, z, temperature=temperature, negatives=negatives)
    expected = -1 / temperature + np.log(np.exp(1 / temperature) + 2 * n - 2)
    assert float(value) == pytest.approx(expected, abs=1e-12)
    value = info_nce(z, z, temperature=temperature)
    expected = -1 / temperature + np.log(np.exp(1 / temperature) + n - 1)
    assert float(value) == pytest.approx(expected, abs=1e-12)


def test_opposite_negatives_please_the_cosine_only(float64):
    z = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    frame = jnp.eye(2)
    assert nt_xent(z, z) < nt_xent(frame, frame)
    for negatives in ("squared", "absolute"):
        assert nt_xent(z, z, negatives=negatives) > nt_xent(
            frame, frame, negatives=negatives
        )


def test_an_opposite_partner_is_not_attractive(float64):
    z = pairs(6, 5)[0]
    for negatives in SIMILARITY:
        assert nt_xent(z, -z, negatives=negatives) > nt_xent(z, z, negatives=negatives)


@pytest.mark.parametrize(
    "loss",
    [info_nce] + [lambda a, b, k=k: nt_xent(a, b, negatives=k) for k in SIMILARITY],
)
def test_row_scales_and_rotations_change_nothing(loss, float64):
    z1, z2 = pairs(6, 5)
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.1, 10, size=(2, 6, 1))
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    np.testing.assert_allclose(
        loss(scales[0] * z1, scales[1] * z2), loss(z1, z2), rtol=1e-12
    )
    np.testing.assert_allclose(loss(z1 @ q, z2 @ q), loss(z1, z2), rtol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [info_nce] + [lambda a, b, k=k: nt_xent(a, b, negatives=k) for k in SIMILARITY],
)
def test_gradient_matches_finite_differences(loss, float64):
    # Random cosines are nowhere near 0, where the absolute value has its kink.
    check_grads(jax.jit(loss), pairs(5, 4), order=2, modes=["rev"])


def test_the_temperature_can_be_traced(float64):
    z1, z2 = pairs(6, 5)
    temperatures = jnp.array([0.1, 0.5])
    values = jax.vmap(lambda t: nt_xent(z1, z2, temperature=t))(temperatures)
    expected = [losses.nt_xent(z1, z2, temperature=float(t)) for t in temperatures]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("loss", [losses.nt_xent, losses.info_nce])
def test_a_temperature_must_be_positive(loss, temperature):
    with pytest.raises(ValueError, match="temperature must be positive, got"):
        loss(jnp.eye(3), jnp.eye(3), temperature=temperature)


def test_an_unknown_kind_of_negatives_is_named():
    with pytest.raises(ValueError, match="cosine, squared, absolute, got 'square'"):
        losses.nt_xent(jnp.eye(3), jnp.eye(3), negatives="square")

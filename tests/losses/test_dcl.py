"""Decoupled and spectral contrastive losses; NT-Xent and InfoNCE are tested beside."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax.losses import contrastive

# Compiled once per shape: temperature, sigma and mu are traced here.
dcl = jax.jit(contrastive.dcl, static_argnames=("negatives", "pairs"))
dclw = jax.jit(contrastive.dclw)
spectral_contrastive = jax.jit(contrastive.spectral_contrastive)

SIMILARITY = {"cosine": lambda s: s, "squared": lambda s: s**2, "absolute": abs}
KINDS = [(kind, subset) for kind in SIMILARITY for subset in ("all", "within_view")]
SHAPES = [(4, 7), (6, 6), (9, 3), (2, 5)]


@jax.jit
def normalizing(z1, z2):
    """DCL of all six kinds, and DCLW: one program, as compiling takes the time."""
    kinds = [partial(dcl, negatives=kind, pairs=subset) for kind, subset in KINDS]
    return jnp.stack([loss(z1, z2) for loss in (*kinds, dclw)])


@jax.jit
def everything(z1, z2):
    spectral = spectral_contrastive(z1, z2)
    return jnp.append(normalizing(z1, z2), spectral)


def pair(n, d, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return z, z + noise * rng.normal(size=(n, d))


def decoupled_by_loops(z1, z2, temperature, negatives, pairs, sigma=np.inf):
    """The definition, one scalar at a time."""
    w = [v / np.sqrt(sum(v**2)) for z in (z1, z2) for v in np.asarray(z)]
    n = len(w) // 2
    agreement = [sum(w[i] * w[i + n]) for i in range(n)]
    mean = sum(np.exp(s / sigma) for s in agreement) / n
    total = 0.0
    for a in range(2 * n):
        denominator = 0.0
        for k in range(2 * n):
            same_view = (a < n) == (k < n)
            if k % n != a % n and (pairs == "all" or same_view):
                s = SIMILARITY[negatives](sum(w[a] * w[k]))
                denominator += np.exp(s / temperature)
        positive = agreement[a % n]
        weight = 2 - np.exp(positive / sigma) / mean
        total += np.log(denominator) - weight * positive / temperature
    return total / (2 * n)


def spectral_by_loops(z1, z2, mu):
    def shortened(v):
        norm = np.sqrt(sum(v**2))
        return v / norm * min(norm, np.sqrt(mu))

    first, second = ([shortened(v) for v in np.asarray(z)] for z in (z1, z2))
    n, total = len(first), 0.0
    for i in range(n):
        for j in range(n):
            s = sum(first[i] * second[j])
            total += -2 * s / n if i == j else s**2 / (n * (n - 1))
    return total / mu


@pytest.mark.parametrize("n, d", SHAPES)
def test_dcl_equals_the_definition(n, d, float64):
    z1, z2 = pair(n, d)
    evaluate = jax.jit(
        lambda temperature: [
            dcl(z1, z2, temperature=temperature, negatives=negatives, pairs=pairs)
            for negatives, pairs in KINDS
        ]
    )
    for temperature in (0.1, 1.0):
        for value, kind in zip(evaluate(temperature), KINDS, strict=True):
            expected = decoupled_by_loops(z1, z2, temperature, *kind)
            np.testing.assert_allclose(value, expected, rtol=1e-11, err_msg=str(kind))


@pytest.mark.parametrize("n, d", SHAPES)
def test_dclw_equals_the_definition(n, d, float64):
    z1, z2 = pair(n, d, noise=1.0)
    for sigma in (0.2, 2.0):
        np.testing.assert_allclose(
            dclw(z1, z2, temperature=0.3, sigma=sigma),
            decoupled_by_loops(z1, z2, 0.3, "cosine", "all", sigma),
            rtol=1e-11,
        )


@pytest.mark.parametrize("n, d", SHAPES)
@pytest.mark.parametrize("mu", [0.5, 4.0, 100.0])  # outside, on both sides, inside
def test_spectral_contrastive_equals_the_definition(n, d, mu, float64):
    z1, z2 = pair(n, d)
    np.testing.assert_allclose(
        spectral_contrastive(z1, z2, mu=mu), spectral_by_loops(z1, z2, mu), rtol=1e-11
    )


@pytest.mark.parametrize("negatives", SIMILARITY)
@pytest.mark.parametrize("n", [2, 33])
def test_closed_forms_of_dcl(negatives, n, float64):
    collapsed, frame = np.full((n, n), 0.4), np.eye(n)
    for pairs, candidates in (("all", 2 * n - 2), ("within_view", n - 1)):
        loss = partial(dcl, temperature=0.3, negatives=negatives, pairs=pairs)
        assert float(loss(collapsed, collapsed)) == pytest.approx(
            np.log(candidates), abs=1e-12
        )
        assert float(loss(frame, frame)) == pytest.approx(
            -1 / 0.3 + np.log(candidates), abs=1e-12
        )


def test_opposite_negatives_please_the_cosine_only(float64):
    z, frame = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.eye(2)
    assert dcl(z, z) < dcl(frame, frame)
    for negatives in ("squared", "absolute"):
        loss = partial(dcl, negatives=negatives)
        assert loss(z, z) > loss(frame, frame) + 1.0


def test_a_pair_that_agrees_keeps_its_gradient(float64):
    # Two well-aligned, well-separated pairs: NT-Xent's gradient fades, DCL's does not.
    z1 = np.eye(2)
    z2 = z1 + 0.1 * np.eye(2)[::-1]
    coupled, decoupled = (
        np.linalg.norm(jax.jit(jax.grad(partial(loss, temperature=0.1)))(z1, z2))
        for loss in (contrastive.nt_xent, contrastive.dcl)
    )
    assert decoupled > 100 * coupled


def test_negatives_within_a_view_ignore_how_the_views_lie(float64):
    # Rotating one view changes what crosses views: the partners, and nothing else.
    z1, z2 = pair(6, 5)
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))

    def repulsion(a, b, pairs):
        unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b)]
        attraction = np.mean(np.sum(unit[0] * unit[1], axis=1)) / 0.1
        return float(dcl(a, b, pairs=pairs) + attraction)

    within = repulsion(z1, z2, "within_view")
    assert repulsion(z1, z2 @ q, "within_view") == pytest.approx(within, rel=1e-12)
    assert abs(repulsion(z1, z2 @ q, "all") - repulsion(z1, z2, "all")) > 0.1


def test_dclw_with_wide_weights_is_dcl(float64):
    z1, z2 = pair(6, 5, noise=1.0)
    np.testing.assert_allclose(dclw(z1, z2, sigma=1e9), dcl(z1, z2), rtol=1e-7)
    # Narrow ones move attraction to pairs that disagree, whose cosine is smaller.
    assert float(dclw(z1, z2)) > float(dcl(z1, z2)) + 1e-2


def test_gradients_flow_through_the_weights_of_dclw(float64):
    z1, z2 = pair(6, 5, noise=1.0)

    def attraction(z, held):
        unit = [a / jnp.linalg.norm(a, axis=1, keepdims=True) for a in (z1, z)]
        cosine = jnp.sum(unit[0] * unit[1], axis=1)
        weight = 2.0 - 6 * jax.nn.softmax(cosine / 0.5)
        return -jnp.mean((held(weight) - 1.0) * cosine) / 0.1

    def extra(z):  # what the weights add to DCL, apart from which all is equal
        return dclw(z1, z) - dcl(z1, z)

    gradient = jax.jit(jax.grad(attraction), static_argnums=1)
    expected = gradient(z2, lambda w: w)
    actual = jax.jit(jax.grad(extra))(z2)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)
    without = gradient(z2, jax.lax.stop_gradient)
    assert np.abs(expected - without).max() > 1e-2


def test_the_ball_of_the_spectral_loss(float64):
    z1, z2 = pair(6, 5)
    np.testing.assert_allclose(
        spectral_contrastive(3 * z1, 5 * z2, mu=0.01),
        spectral_contrastive(z1, z2, mu=0.01),
        rtol=1e-12,
    )
    # Inside the ball, scale c gives c^2 P + c^4 Q: nothing is normalised.
    one, two, three = (
        float(spectral_contrastive(c * z1, c * z2, mu=1e3)) for c in (1.0, 2.0, 3.0)
    )
    q = (two - 4 * one) / 12
    assert three == pytest.approx(9 * (one - q) + 81 * q, rel=1e-10)
    # A row on the sphere is not pushed along itself.
    gradient = np.asarray(jax.jit(jax.grad(spectral_contrastive))(z1, z2, mu=0.01))
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose((gradient * z1).sum(axis=1), 0.0, atol=1e-11)


def test_negatives_of_the_spectral_loss_are_cross_view(float64):
    # Equal within a view and orthogonal to the other: nothing attracts or repels.
    z1, z2 = (np.tile(np.eye(3)[k : k + 1], (4, 1)) for k in (0, 1))
    assert float(spectral_contrastive(z1, z2)) == 0.0
    # Collapsed at the sphere of squared radius mu: -2 + mu.
    for mu in (0.5, 1.0):
        value = spectral_contrastive(z1, z1, mu=mu)
        assert float(value) == pytest.approx(-2 + mu, abs=1e-12)


def test_rotations_swaps_and_orders_change_nothing(float64):
    z1, z2 = pair(6, 5)
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    order = rng.permutation(6)
    for other in ((z1 @ q, z2 @ q), (z2, z1), (z1[order], z2[order])):
        np.testing.assert_allclose(everything(*other), everything(z1, z2), rtol=1e-11)


def test_row_scales_change_nothing(float64):
    z1, z2 = pair(6, 5)
    scales = np.random.default_rng(1).uniform(0.1, 10, size=(2, 6, 1))
    moved = scales[0] * z1, scales[1] * z2
    np.testing.assert_allclose(normalizing(*moved), normalizing(z1, z2), rtol=1e-11)


def test_gradient_matches_finite_differences(float64):
    # Random cosines are nowhere near 0, where the absolute value has its kink.
    @jax.jit
    def three(z1, z2):
        squared = dcl(z1, z2, negatives="squared")
        absolute = dcl(z1, z2, negatives="absolute", pairs="within_view")
        return jnp.stack([squared, absolute, dclw(z1, z2)])

    check_grads(three, pair(5, 4), order=2, modes=["rev"])


@pytest.mark.parametrize("mu", [0.2, 100.0])  # all rows outside, none
def test_gradient_of_the_spectral_loss(mu, float64):
    z1, z2 = pair(5, 4)
    norms = np.linalg.norm(np.concatenate([z1, z2]), axis=1)
    assert norms.min() > 1.1 * np.sqrt(0.2) and norms.max() < 9  # off the kink
    loss = jax.jit(partial(contrastive.spectral_contrastive, mu=mu))
    check_grads(loss, (z1, z2), order=2, modes=["rev"])


def test_jit_and_vmap_agree_with_the_plain_call():
    def plain(z1, z2):
        losses = (contrastive.dcl, contrastive.dclw, contrastive.spectral_contrastive)
        return jnp.stack([loss(z1, z2) for loss in losses])

    z1, z2 = np.stack([pair(6, 5, seed) for seed in (0, 1)], 1).astype(np.float32)
    value_and_grad = jax.value_and_grad(lambda *z: plain(*z).sum())
    values, gradients = jax.jit(jax.vmap(value_and_grad))(z1, z2)
    value, gradient = jax.jit(value_and_grad)(z1[1], z2[1])
    np.testing.assert_allclose(values[1], value, rtol=1e-5)
    np.testing.assert_allclose(gradients[1], gradient, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.jit(plain)(z1[0], z2[0]), plain(z1[0], z2[0]), 1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize(
    "loss, name",
    [(contrastive.dcl, "temperature"), (contrastive.dclw, "temperature")]
    + [(contrastive.dclw, "sigma"), (contrastive.spectral_contrastive, "mu")],
)
def test_scales_must_be_positive(loss, name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive, got"):
        loss(np.eye(3), np.eye(3), **{name: value})


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="cosine, squared, absolute, got 'square'"):
        contrastive.dcl(np.eye(3), np.eye(3), negatives="square")
    with pytest.raises(ValueError, match="pairs must be one of all, within_view, got"):
        contrastive.dcl(np.eye(3), np.eye(3), pairs="cross_view")


@pytest.mark.parametrize("name", ["dcl", "dclw", "spectral_contrastive"])
def test_negatives_need_two_pairs(name):
    with pytest.raises(ValueError, match="at least 2 pairs.*batch size"):
        getattr(contrastive, name)(np.ones((1, 3)), np.ones((1, 3)))

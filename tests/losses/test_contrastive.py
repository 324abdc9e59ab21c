"""NT-Xent, InfoNCE, DCL, DCLW and the spectral contrastive loss."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import pair, rotation

from ssljax import losses

SIMILARITY = {"cosine": lambda s: s, "squared": lambda s: s**2, "absolute": abs}
KINDS = [(kind, subset) for kind in SIMILARITY for subset in ("all", "within_view")]
TEMPERATURES = (0.1, 0.3, 1.0)
SIGMAS = (0.2, 2.0, 1e9)
RADII = (0.5, 4.0, 100.0)  # squared: outside, on both sides, inside


@jax.jit
@jax.vmap
def everything(z1, z2):
    """All losses at all temperatures, in one program for a batch of pairs."""

    def at(temperature):
        found = {
            ("nt_xent", kind): losses.nt_xent(
                z1, z2, temperature=temperature, negatives=kind
            )
            for kind in SIMILARITY
        }
        for negatives, pairs in KINDS:
            how = dict(temperature=temperature, negatives=negatives, pairs=pairs)
            found["dcl", negatives, pairs] = losses.dcl(z1, z2, **how)
        info_nce = partial(losses.info_nce, z1, z2, temperature=temperature)
        found["info_nce"] = info_nce()
        found["info_nce", "one way"] = info_nce(symmetric=False)
        found["dclw"] = jax.vmap(
            lambda sigma: losses.dclw(z1, z2, temperature=temperature, sigma=sigma)
        )(jnp.array(SIGMAS))
        return {str(name): value for name, value in found.items()}

    found = jax.vmap(at)(jnp.array(TEMPERATURES))
    found["spectral"] = jax.vmap(lambda mu: losses.spectral_contrastive(z1, z2, mu=mu))(
        jnp.array(RADII)
    )
    return found


def evaluate(*pairs):
    """Return one dictionary per pair; names are texts, see `named`."""
    found = everything(*(np.stack(z) for z in zip(*pairs, strict=True)))
    found = jax.tree.map(np.asarray, found)
    return [{k: v[i] for k, v in found.items()} for i in range(len(pairs))]


def named(*name):
    return str(name)


def unit_rows(z):
    return [v / np.sqrt(sum(v**2)) for v in np.asarray(z)]


def softmax_by_loops(z1, z2, temperature, negatives, pairs, *, partner, sigma=np.inf):
    """The definition of NT-Xent (with the partner), DCL and DCLW (without it)."""
    w = unit_rows(z1) + unit_rows(z2)
    n = len(w) // 2
    agreement = [sum(w[i] * w[i + n]) for i in range(n)]
    mean = sum(np.exp(s / sigma) for s in agreement) / n
    total = 0.0
    for a in range(2 * n):
        positive = agreement[a % n]
        denominator = np.exp(positive / temperature) if partner else 0.0
        for k in range(2 * n):
            same_view = (a < n) == (k < n)
            if k % n != a % n and (pairs == "all" or same_view):
                s = SIMILARITY[negatives](sum(w[a] * w[k]))
                denominator += np.exp(s / temperature)
        weight = 2 - np.exp(positive / sigma) / mean
        total += np.log(denominator) - weight * positive / temperature
    return total / (2 * n)


def info_nce_by_loops(z1, z2, temperature):
    first, second = unit_rows(z1), unit_rows(z2)
    n, total = len(first), 0.0
    for i in range(n):
        scores = [first[i] @ second[j] / temperature for j in range(n)]
        total += np.log(sum(np.exp(scores))) - scores[i]
    return total / n


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


def by_loops(z1, z2):
    expected = {"spectral": [spectral_by_loops(z1, z2, mu) for mu in RADII]}
    at = {}
    for kind in SIMILARITY:
        at[named("nt_xent", kind)] = partial(
            softmax_by_loops, negatives=kind, pairs="all", partner=True
        )
    for negatives, pairs in KINDS:
        at[named("dcl", negatives, pairs)] = partial(
            softmax_by_loops, negatives=negatives, pairs=pairs, partner=False
        )
    at[named("info_nce", "one way")] = info_nce_by_loops
    at["info_nce"] = lambda z1, z2, temperature: (
        (
            info_nce_by_loops(z1, z2, temperature)
            + info_nce_by_loops(z2, z1, temperature)
        )
        / 2
    )
    decoupled = partial(
        softmax_by_loops, negatives="cosine", pairs="all", partner=False
    )
    at["dclw"] = lambda z1, z2, temperature: [
        decoupled(z1, z2, temperature, sigma=sigma) for sigma in SIGMAS
    ]
    for name, loss in at.items():
        expected[name] = [loss(z1, z2, temperature=t) for t in TEMPERATURES]
    return expected


@pytest.mark.parametrize(
    "n, d", [(4, 7), (9, 3), (2, 5), pytest.param(6, 6, marks=pytest.mark.slow)]
)
def test_values_equal_the_definitions(n, d, float64):
    views = [pair(n, d), pair(n, d, noise=1.0)]
    for found, (z1, z2) in zip(evaluate(*views), views, strict=True):
        expected = by_loops(z1, z2)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-11, err_msg=name)


@functools.cache
def on_known_embeddings(n):
    """Collapsed, orthonormal and opposite rows, as float64."""
    opposite = np.where(np.arange(n)[:, None] % 2 == 0, 1.0, -1.0) * np.eye(n)[:1]
    points = (np.full((n, n), 0.4), np.eye(n), opposite)
    return evaluate(*((z, z) for z in points))


@pytest.mark.parametrize("n", [2, 33])
def test_collapsed_and_orthonormal_embeddings_in_closed_form(n, float64):
    collapsed, frame, _ = on_known_embeddings(n)
    t = np.array(TEMPERATURES)
    close = partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    for kind in SIMILARITY:
        close(collapsed[named("nt_xent", kind)], np.log(2 * n - 1))
        among = np.log(np.exp(1 / t) + 2 * n - 2)
        close(frame[named("nt_xent", kind)], among - 1 / t)
        for pairs, candidates in (("all", 2 * n - 2), ("within_view", n - 1)):
            close(collapsed[named("dcl", kind, pairs)], np.log(candidates))
            close(frame[named("dcl", kind, pairs)], np.log(candidates) - 1 / t)
    for name in ("info_nce", named("info_nce", "one way")):
        close(collapsed[name], np.log(n))
        close(frame[name], np.log(np.exp(1 / t) + n - 1) - 1 / t)


def test_only_cosine_negatives_prefer_opposite_to_orthogonal_rows(float64):
    _, frame, opposite = on_known_embeddings(2)
    for loss, suffix in (("nt_xent", ()), ("dcl", ("all",)), ("dcl", ("within_view",))):
        cosine = named(loss, "cosine", *suffix)
        assert (opposite[cosine] < frame[cosine]).all()
        for kind in ("squared", "absolute"):
            name = named(loss, kind, *suffix)
            assert (opposite[name] > frame[name] + 0.1).all()
            assert opposite[name][0] > frame[name][0] + 1.0


def test_an_opposite_partner_is_not_attractive(float64):
    z, _ = pair(9, 3)
    away, together = evaluate((z, -z), (z, z))
    for kind in SIMILARITY:
        name = named("nt_xent", kind)
        assert (away[name] > together[name]).all()


def test_negatives_within_a_view_ignore_how_the_views_lie(float64):
    # Rotating one view changes what crosses views: the partners, and nothing else.
    z1, z2 = pair(9, 3)
    turned = z2 @ rotation(3, seed=1)
    found = evaluate((z1, z2), (z1, turned))

    def repulsions(pairs):
        for values, z in zip(found, (z2, turned), strict=True):
            cosine = np.mean(np.sum(np.array(unit_rows(z1)) * unit_rows(z), axis=1))
            yield values[named("dcl", "cosine", pairs)] + cosine / np.array(
                TEMPERATURES
            )

    np.testing.assert_allclose(*repulsions("within_view"), rtol=1e-11)
    before, after = repulsions("all")
    assert abs(after - before)[0] > 0.1


def test_dclw_with_wide_weights_is_dcl(float64):
    found, _ = evaluate(pair(9, 3, noise=1.0), pair(9, 3))
    dcl, dclw = found[named("dcl", "cosine", "all")], found["dclw"]
    np.testing.assert_allclose(dclw[:, -1], dcl, rtol=1e-7)
    # Narrow ones move attraction to pairs that disagree, whose cosine is smaller.
    assert (dclw[:, 0] > dcl + 1e-2).all()


def test_a_cold_softmax_does_not_overflow(float64):
    # exp(1 / 0.001) is infinite.
    z1, z2 = pair(8, 4)

    @jax.jit
    def cold(z1, z2):
        return [f(z1, z2, temperature=1e-3) for f in (losses.nt_xent, losses.info_nce)]

    assert np.isfinite(cold(z1, z2)).all()


def test_a_pair_that_agrees_keeps_its_gradient(float64):
    # Two well-aligned, well-separated pairs: NT-Xent's gradient fades, DCL's does not.
    z1 = np.eye(2)
    z2 = z1 + 0.1 * np.eye(2)[::-1]
    coupled, decoupled = (
        np.linalg.norm(jax.jit(jax.grad(partial(loss, temperature=0.1)))(z1, z2))
        for loss in (losses.nt_xent, losses.dcl)
    )
    assert decoupled > 100 * coupled


def test_negatives_of_the_spectral_loss_are_cross_view(float64):
    spectral = jax.jit(losses.spectral_contrastive)
    # Equal within a view and orthogonal to the other: nothing attracts or repels.
    z1, z2 = (np.tile(np.eye(3)[k : k + 1], (4, 1)) for k in (0, 1))
    assert float(spectral(z1, z2)) == 0.0
    # Collapsed at the sphere of squared radius mu: -2 + mu.
    for mu in (0.5, 1.0):
        value = spectral(z1, z1, mu=mu)
        assert float(value) == pytest.approx(-2 + mu, abs=1e-12)


def test_squares_and_absolute_values_are_lowest_for_orthogonal_rows(float64):
    """Garrido et al., ICLR 2023: what SimCLR-sq and -abs are made for."""
    n, d = 6, 9
    options = [(kind, t) for kind in ("squared", "absolute") for t in (0.1, 1.0)]

    @jax.jit
    @jax.vmap
    def repulsions(z):
        found = []
        for kind, t in options:
            how = dict(temperature=t, negatives=kind, pairs="within_view")
            found.append(losses.dcl(z, z, **how) + 1 / t)
        return jnp.stack(found), losses.sample_contrastive(z)

    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0][:n]
    random = [
        np.array(unit_rows(np.random.default_rng(seed).normal(size=(n, d))))
        for seed in range(100)
    ]
    values, criterion = (np.asarray(x) for x in repulsions(np.stack([frame, *random])))
    floor = np.log(n - 1)
    np.testing.assert_allclose(values[0], floor, rtol=0, atol=1e-12)
    assert (values[1:] > floor + 1e-3).all()
    for k, (kind, t) in enumerate(options):
        if kind == "squared":  # Jensen
            assert (values[1:, k] >= floor + criterion[1:] / (t * n * (n - 1))).all()


@pytest.mark.parametrize(
    "loss, name",
    [(losses.nt_xent, "temperature"), (losses.info_nce, "temperature")]
    + [(losses.dcl, "temperature"), (losses.dclw, "temperature")]
    + [(losses.dclw, "sigma"), (losses.spectral_contrastive, "mu")],
)
def test_scales_must_be_positive(loss, name):
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"{name} must be positive, got"):
            loss(np.eye(3), np.eye(3), **{name: value})


def test_unknown_kinds_are_named():
    for loss in (losses.nt_xent, losses.dcl):
        with pytest.raises(ValueError, match="cosine, squared, absolute, got 'square'"):
            loss(np.eye(3), np.eye(3), negatives="square")
    with pytest.raises(ValueError, match="pairs must be one of all, within_view, got"):
        losses.dcl(np.eye(3), np.eye(3), pairs="cross_view")

"""Items 2 to 6: rates of losses with a closed-form predictor."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import Finding, Given, at_most
from ssljax.analytic.fingerprint.closed_forms import asymmetric
from ssljax.analytic.fingerprint.losses import power_predictor
from ssljax.analytic.fingerprint.model import (
    TwoViews,
    compiled_rates,
    eigenvalue_rates,
    gaussian_views,
)
from ssljax.analytic.precision import in_float64

EXPONENTS = (0.5, 1.0)


def relative_gap(found, expected) -> float:
    """Return the largest difference, in units of the largest expected value."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def spectra(seed: int, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a spectrum over two decades and correlations, at random."""
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(-1.5, 0.5, modes), rng.uniform(0.3, 0.95, modes)


def predicted(name: str, exponent: float) -> Callable:
    """Return a loss of ssljax with the predictor ``C^exponent``."""

    def loss(z1, z2):
        return getattr(losses, name)(z1, z2, power_predictor(z1, exponent))

    return loss


@in_float64
def euclidean_rates(given: Given) -> list[Finding]:
    """Check ``2 lambda p (rho - p)`` with ``p = lambda^alpha``; IsoLoss: no first p."""
    levels, correlation = spectra(given.seed, 8)
    views = gaussian_views(8, samples=64, seed=given.seed)
    found = []
    for exponent in EXPONENTS:
        for name, power in (("asymmetric_euclidean", 1), ("isoloss_euclidean", 0)):
            rates = compiled_rates(predicted(name, exponent), views)
            for what, rho in (("of any correlation", correlation), ("equal", 1.0)):
                expected = asymmetric(levels, rho, exponent=exponent, power=power)
                gap = relative_gap(rates(levels, rho), expected)
                found.append(
                    at_most(f"{name}, C^{exponent:g}, views {what}", gap, 1e-12)
                )
    return found


@in_float64
def cosine_conservation(given: Given) -> list[Finding]:
    """Check ``sum ds/dt = 0`` and, for IsoLoss, ``sum s^alpha ds/dt = 0``."""
    levels, correlation = spectra(given.seed, 8)
    views = gaussian_views(8, samples=128, seed=given.seed)
    found = []
    for exponent in EXPONENTS:
        # The conserved quantity is sum_m s_m^(1 + power).
        for name, power in (("asymmetric_cosine", 0.0), ("isoloss_cosine", exponent)):
            rates = eigenvalue_rates(
                predicted(name, exponent), levels, correlation=correlation, views=views
            )
            flows = levels**power * np.asarray(rates)
            drift = abs(flows.sum()) / np.abs(flows).sum()
            found.append(at_most(f"{name}, C^{exponent:g}: drift", drift, 1e-12))
    return found


def _circle(points: int) -> np.ndarray:
    angle = 2.0 * np.pi * (np.arange(points) + 0.5) / points
    return np.sqrt(2.0) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def cosine_integral(levels: np.ndarray, exponent: float) -> np.ndarray:
    """Return ``sum_k p_k (p_k - p_m) K_mk`` of two modes with equal views.

    ``K_mk = E[z_m^2 z_k^2 / (|P z|^3 |z|)]`` does not depend on the length of z, so the
    mean is one over directions; the trapezoidal rule of a smooth period is exact.
    """
    p = levels**exponent
    z = _circle(20_000) * np.sqrt(levels)
    weight = 1.0 / (np.linalg.norm(z * p, axis=1) ** 3 * np.linalg.norm(z, axis=1))
    k = np.einsum("n,nm,nk->mk", weight, z**2, z**2) / len(z)
    return np.einsum("k,mk,mk->m", p, p[None, :] - p[:, None], k)


@in_float64
def cosine_of_two_modes(given: Given) -> list[Finding]:
    """Check ``2 p_m sum_k p_k (p_k - p_m) K_mk``, K by quadrature."""
    source = _circle(400)
    views = TwoViews(jnp.asarray(source), jnp.zeros_like(source), jnp.eye(2))
    found = []
    for exponent in EXPONENTS:
        for name, power in (("asymmetric_cosine", 1), ("isoloss_cosine", 0)):
            rates = compiled_rates(predicted(name, exponent), views)
            gaps = []
            for levels in (np.array([0.54, 1.9]), np.array([0.08, 0.39])):
                factor = levels ** (exponent * power)
                expected = 2.0 * factor * cosine_integral(levels, exponent)
                gaps.append(relative_gap(rates(levels, 1.0), expected))
            found.append(at_most(f"{name}, C^{exponent:g}", max(gaps), 1e-10))
    return found


def e8_roots() -> np.ndarray:
    """Return 240 vectors of squared length 8: a spherical 7-design in 8 dimensions.

    Means of polynomials up to degree 7 over them are those over the sphere, exactly;
    the rates near an isotropic spectrum need degree 4.
    """
    roots = []
    for i, j in itertools.combinations(range(8), 2):
        for signs in itertools.product((-1.0, 1.0), repeat=2):
            root = np.zeros(8)
            root[[i, j]] = signs
            roots.append(root)
    for signs in itertools.product((-0.5, 0.5), repeat=8):
        if np.prod(signs) > 0:
            roots.append(np.array(signs))
    return 2.0 * np.array(roots)


@in_float64
def cosine_isotropic_rate(given: Given) -> list[Finding]:
    """Check ``2 alpha/((M + 2) s*)``; IsoLoss: divided by ``s*^alpha``."""
    roots = jnp.asarray(e8_roots())
    views = TwoViews(roots, jnp.zeros_like(roots), jnp.eye(8))
    step = 1e-4
    found = []
    for exponent in EXPONENTS:
        for name, power in (("asymmetric_cosine", 0), ("isoloss_cosine", 1)):
            rates = compiled_rates(predicted(name, exponent), views)
            for level in (0.5, 2.0):
                # Perturb one mode by a small share, up and down.
                up, down = (
                    level * np.exp(sign * step * np.eye(8)[0]) for sign in (1.0, -1.0)
                )
                slopes = rates(up, 1.0) / up - rates(down, 1.0) / down
                decay = (np.mean(slopes[1:]) - slopes[0]) / (2.0 * step)
                expected = 2.0 * exponent / (10.0 * level ** (1 + power * exponent))
                what = f"{name}, C^{exponent:g}, s* = {level:g}: rate / theory - 1"
                found.append(at_most(what, abs(decay / expected - 1.0), 1e-6))
    return found


@in_float64
def collapse_without_predictor(given: Given) -> list[Finding]:
    """Check ``-2 lambda (1 - rho)``, ``-2 lambda ((p - rho)^2 + 1 - rho^2)``, ..."""
    levels, rho = spectra(given.seed, 8)
    views = gaussian_views(8, samples=64, seed=given.seed)
    eye, p = jnp.eye(8), np.sqrt(levels)
    stop = jax.lax.stop_gradient

    def one_sided(z1, z2):
        return losses.asymmetric_euclidean(z1, z2, eye)

    def both_branches(z1, z2):
        # The gradient in the target is that of the same loss with the roles swapped.
        predictor = power_predictor(z1, 0.5)
        return losses.asymmetric_euclidean(
            z1, z2, predictor
        ) + losses.asymmetric_euclidean(z2, stop(z1) @ predictor, eye)

    def wrong_side(z1, z2):
        return losses.asymmetric_euclidean(z2, z1 @ power_predictor(z1, 0.5), eye)

    cases = (
        ("no predictor", one_sided, -2.0 * levels * (1.0 - rho)),
        (
            "no stop-gradient",
            both_branches,
            -2.0 * levels * ((p - rho) ** 2 + 1.0 - rho**2),
        ),
        (
            "stop-gradient on the prediction",
            wrong_side,
            -2.0 * levels * (1.0 - rho * p),
        ),
    )
    found = []
    for what, loss, expected in cases:
        rates = eigenvalue_rates(loss, levels, correlation=rho, views=views)
        found.append(at_most(what, relative_gap(rates, expected), 1e-12))
        if what != "stop-gradient on the prediction":
            growth = float(np.max(rates / levels))
            found.append(at_most(f"{what}: largest d ln lambda / dt", growth, -0.05))
    return found

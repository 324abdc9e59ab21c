"""Items 1, 7 to 9 and 13 to 15: rates of losses without a predictor, the record."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import Finding, Given, at_most, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.fingerprint.checklist.predictors import (
    predicted,
    relative_gap,
    spectra,
)
from ssljax.analytic.fingerprint.closed_forms import (
    closed_rates,
)
from ssljax.analytic.fingerprint.losses import FINGERPRINTED, squared_distance
from ssljax.analytic.fingerprint.measure import spectral_fingerprint
from ssljax.analytic.fingerprint.model import (
    TwoViews,
    compiled_rates,
    eigenvalue_rates,
    gaussian_views,
)
from ssljax.analytic.precision import in_float64


def _separated(seed: int, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `spectra` with neighbouring eigenvalues 1.39 to 1 or more apart.

    Eigenvalues that nearly coincide are turned, or pass each other, within a step; its
    first order is then met only by steps far below their gap.
    """
    rng = np.random.default_rng(seed)
    spacing = 2.0 / (modes - 1)
    shifts = rng.uniform(-0.25, 0.25, modes) * spacing
    logs = rng.permutation(np.linspace(-1.5, 0.5, modes) + shifts)
    return 10**logs, rng.uniform(0.3, 0.95, modes)


@in_float64
def rates_are_derivatives(given: Given) -> list[Finding]:
    """Check ``(eig(V V^T) - lambda)/step -> d lambda/dt``, ``V = W - step grad L``."""
    levels, rho = _separated(given.seed, 8)
    views = gaussian_views(8, samples=64, seed=given.seed)
    views = TwoViews(*map(jnp.asarray, views))
    shared = views.source * jnp.sqrt(0.5 * (1.0 + rho))[None, :]
    own = views.noise * jnp.sqrt(0.5 * (1.0 - rho))[None, :]
    weights = views.basis * jnp.sqrt(levels)[None, :]
    order = np.argsort(levels)
    steps = (1e-2, 5e-3, 2.5e-3, 1.25e-3)
    found = []
    for name in ("linearized_barlow_twins", "nt_xent"):
        loss = FINGERPRINTED[name].loss
        gradient = jax.jit(
            jax.grad(lambda w: loss((shared + own) @ w.T, (shared - own) @ w.T))  # noqa: B023
        )(weights)
        rates = np.asarray(
            eigenvalue_rates(loss, levels, correlation=rho, views=views)
        )[order]
        scale = np.abs(rates).max()
        gaps = []
        for step in steps:
            moved = weights - step / scale * gradient
            change = np.linalg.eigvalsh(moved @ moved.T) - levels[order]
            gaps.append(np.abs(change / step * scale - rates).max() / scale)
        found.append(
            near(f"{name}: order of the gap", convergence_slope(steps, gaps), 1.0, 0.1)
        )
        found.append(at_most(f"{name}: gap at the last step", gaps[-1], 0.05))
    return found


@in_float64
def linearized_barlow_twins_rates(given: Given) -> list[Finding]:
    """Check ``d lambda_C/dt = 8 gamma lambda_C (1 - lambda_C)``."""
    levels, rho = spectra(given.seed, 8)
    # Below correlation 0 there is no fixed point: the mode shrinks.
    rho[0], rho[1] = -0.4, 0.0
    found = []
    for basis in ("spread", "axes"):
        views = gaussian_views(8, samples=64, basis=basis, seed=given.seed)
        rates = eigenvalue_rates(
            FINGERPRINTED["linearized_barlow_twins"].loss,
            levels,
            correlation=rho,
            views=views,
        )
        cross = rho * levels
        expected = 8.0 * rho * cross * (1.0 - cross)
        gap = relative_gap(rho * np.asarray(rates), expected)
        found.append(at_most(f"eigenvalues of C, basis {basis}", gap, 1e-12))
    return found


@in_float64
def spectral_contrastive_rates(given: Given) -> list[Finding]:
    """Check ``d lambda/dt = 8 lambda (rho - lambda) + O(1/N)``."""
    levels, rho = spectra(given.seed, 8)
    single = gaussian_views(8, samples=64, seed=given.seed)
    radius = 1e6  # no row is projected

    def loss(z1, z2):
        return radius * losses.spectral_contrastive(z1, z2, mu=radius)

    expected = 8.0 * levels * (rho - levels)
    sizes, rates, at_rest = [], [], []
    for copies in (1, 2, 4):
        # Only pairs i != j repel. Repeating the sample changes N but no moment of it.
        source, noise = (np.tile(x, (copies, 1)) for x in single[:2])
        views = TwoViews(source, noise, single.basis)  # type: ignore[arg-type]
        rate = compiled_rates(loss, views)
        sizes.append(64.0 * copies - 1.0)
        rates.append(np.asarray(rate(levels, rho)))
        at_rest.append(np.asarray(rate(rho, rho)))
    gaps = [relative_gap(rate, expected) for rate in rates]

    def limit(values):
        first, second = sizes[1:]
        return (second * values[2] - first * values[1]) / (second - first)

    return [
        near("order of the gap in N - 1", convergence_slope(sizes, gaps), -1.0, 0.01),
        at_most(
            "8 lambda (rho - lambda), N to infinity",
            relative_gap(limit(rates), expected),
            1e-9,
        ),
        at_most(
            "rate at lambda = rho, N to infinity", np.abs(limit(at_rest)).max(), 1e-9
        ),
    ]


@in_float64
def vicreg_small_rates(given: Given) -> list[Finding]:
    """Check ``2 (b kappa/(M sqrt(eps)) - 4 a/M (1 - rho))`` with a = b = 25."""
    _, rho = spectra(given.seed, 8)
    samples, modes, eps = 64, 8, 1e-4
    levels = 1e-12 * np.linspace(1.0, 3.0, modes)
    found = []
    for basis in ("spread", "axes"):
        views = gaussian_views(modes, samples=samples, basis=basis, seed=given.seed)
        rates = eigenvalue_rates(
            FINGERPRINTED["vicreg"].loss, levels, correlation=rho, views=views
        )
        covariance = samples / (samples - 1.0)
        expected = 2.0 * (
            25.0 / (modes * np.sqrt(eps)) * covariance - 100.0 / modes * (1.0 - rho)
        )
        gap = relative_gap(np.asarray(rates) / levels, expected)
        found.append(at_most(f"d ln lambda / dt, basis {basis}", gap, 1e-6))
    return found


@in_float64
def duality_rates(given: Given) -> list[Finding]:
    """Check ``-8 lambda^2`` with fourth powers and ``-8 lambda (lambda - mean)``."""
    levels, _ = spectra(given.seed, 8)
    views = gaussian_views(8, samples=64, seed=given.seed)
    rate = partial(eigenvalue_rates, spectrum=levels, correlation=0.8, views=views)

    def fourth_norms(z, axis):
        return jnp.sum(jnp.sum(z**2, axis=axis) ** 2) / len(z) ** 2

    def of_samples(z1, z2):
        criterion = FINGERPRINTED["sample_contrastive"].loss(z1, z2)
        return criterion + 0.5 * (fourth_norms(z1, 1) + fourth_norms(z2, 1))

    def of_dimensions(z1, z2):
        criterion = FINGERPRINTED["dimension_contrastive"].loss(z1, z2)
        return criterion + 0.5 * (fourth_norms(z1, 0) + fourth_norms(z2, 0))

    both = -8.0 * levels**2
    cases = (
        ("samples and row norms: -8 lambda^2", of_samples, both),
        ("dimensions and column norms: -8 lambda^2", of_dimensions, both),
        (
            "dimensions: -8 lambda (lambda - mean)",
            FINGERPRINTED["dimension_contrastive"].loss,
            -8.0 * levels * (levels - levels.mean()),
        ),
    )
    return [
        at_most(what, relative_gap(rate(loss), expected), 1e-12)
        for what, loss, expected in cases
    ]


@in_float64
def closed_forms(given: Given) -> list[Finding]:
    """Check ``d lambda/dt = -4 lambda dl/d lambda``, l the loss of a spectrum."""
    levels, rho = spectra(given.seed, 16)
    views = gaussian_views(16, samples=128, seed=given.seed)
    found = []
    for name in ("barlow_twins", "vicreg", "vicreg_exp", "trace_loss"):
        rates = eigenvalue_rates(
            FINGERPRINTED[name].loss, levels, correlation=rho, views=views
        )
        expected = closed_rates(name, levels, correlation=rho, samples=128)
        found.append(at_most(name, relative_gap(rates, expected), 1e-11))
    return found


@in_float64
def the_record(given: Given) -> list[Finding]:
    """Check the summary: rest ``1/rho``, growth ``8 rho``, exponent ``alpha``, ..."""
    rho, alpha = 0.8, 0.5
    options = {"correlation": rho, "modes": 8, "samples": 64, "seed": given.seed}
    twins = spectral_fingerprint(
        FINGERPRINTED["linearized_barlow_twins"].loss, **options
    )
    late = spectral_fingerprint(predicted("asymmetric_euclidean", alpha), **options)
    even = spectral_fingerprint(predicted("isoloss_euclidean", alpha), **options)
    aligned = spectral_fingerprint(squared_distance, **options)
    rest = rho ** (1.0 / alpha)
    # rate / reference^exponent: the coefficient of lambda^exponent.
    coefficient = late.growth / (1e-4 * late.reference) ** alpha
    return [
        near("linearised Barlow Twins: rest", twins.scale, 1.0 / rho, 1e-4),
        near("its growth, 8 rho", twins.growth, 8.0 * rho, 2e-3),
        near("its equalisation, 8 rho", twins.equalisation, 8.0 * rho, 1e-3),
        near("its threshold", twins.threshold, 0.0, 1e-3),
        near("its mode of half the correlation", twins.plateau, 2.0, 1e-2),
        near("asymmetric Euclidean: rest", late.scale, rest, 1e-4),
        near("its exponent, alpha", late.exponent, alpha, 0.01),
        near("its coefficient, 2 rho", coefficient, 2.0 * rho, 0.03),
        near("its equalisation", late.equalisation, 2 * alpha * rho**2, 1e-3),
        near(
            "its mode of half the correlation", late.plateau, 0.5 ** (1 / alpha), 1e-2
        ),
        near("IsoLoss: exponent", even.exponent, 0.0, 0.01),
        near("its growth, 2 rho", even.growth, 2.0 * rho, 0.03),
        near("its equalisation", even.equalisation, 2 * alpha * rho, 1e-3),
        near("distance of the views: drift", aligned.drift, -8.0 * (1.0 - rho), 1e-9),
        at_most("collapses", "collapse" not in aligned.verdict, 0),
    ]

"""Items 10 to 12: rates after whitening and after partial whitening."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import Finding, Given, at_least, at_most
from ssljax.analytic.fingerprint.checklist.predictors import relative_gap, spectra
from ssljax.analytic.fingerprint.closed_forms import (
    normalised_variance,
    transformed_alignment,
)
from ssljax.analytic.fingerprint.losses import FINGERPRINTED, squared_distance
from ssljax.analytic.fingerprint.model import eigenvalue_rates, gaussian_views
from ssljax.analytic.precision import in_float64


@in_float64
def power_transform_forces(given: Given) -> list[Finding]:
    """Check ``dL/d log lambda = 2 lambda h' (1 - rho)``, ``h = lambda^(1 - 2 p)``."""
    levels = np.array([4.0, 1.0, 0.5, 0.1])
    rho = np.array([0.95, 0.9, 0.8, 0.6])
    views = gaussian_views(4, samples=64, seed=given.seed)
    kappa = 64.0 / 63.0
    found = []
    for power in (0.0, 0.25, 0.45, 0.5, 0.75):

        def loss(z1, z2, power=power):
            z1, z2 = (
                losses.spectral_transform(z, lambda value: value**-power)
                for z in (z1, z2)
            )
            return squared_distance(z1, z2)

        rates = eigenvalue_rates(loss, levels, correlation=rho, views=views)
        force = -np.asarray(rates) / 4.0  # dL / d log lambda
        rise = 1.0 - 2.0 * power
        expected = 2.0 * rise * (kappa * levels) ** rise / kappa * (1.0 - rho)
        what = f"dL / d log lambda, g = lambda^-{power:g}"
        if power == 0.5:
            found.append(at_most(what, np.abs(force).max(), 1e-12))
            continue
        found.append(at_most(what, relative_gap(force, expected), 1e-10))
        # Below 1/2 all eigenvalues are pushed down, above it up.
        side = np.sign(force) * np.sign(rise)
        found.append(at_least(f"{what}: sign", side.min(), 1.0))
    return found


@in_float64
def whitening_has_no_force(given: Given) -> list[Finding]:
    """Check ``h = 1``, so ``d lambda/dt = 0``, for three whitenings."""
    levels, rho = spectra(given.seed, 8)
    views = gaussian_views(8, samples=64, seed=given.seed)
    rate = partial(eigenvalue_rates, spectrum=levels, correlation=rho, views=views)

    def whitened(z1, z2):
        return squared_distance(losses.whiten(z1), losses.whiten(z2))

    def one_group(z1, z2):
        key = jax.random.key(given.seed)
        return losses.shuffled_dbn([z1, z2], key=key, groups=1)

    cases = {
        "ZCA": whitened,
        "W-MSE": FINGERPRINTED["w_mse"].loss,
        "Shuffled-DBN, one group": one_group,
    }
    found = [
        at_most(f"{name}: largest rate", np.abs(rate(loss)).max(), 1e-11)
        for name, loss in cases.items()
    ]
    control = np.abs(rate(squared_distance)).max()
    return [*found, at_least("untransformed views: largest rate", control, 0.1)]


@in_float64
def iterative_normalization_rates(given: Given) -> list[Finding]:
    """Check the rates of ``h_0 = x``, ``h_(T+1) = h_T (3 - h_T)^2/4``."""
    levels, rho = spectra(given.seed, 8)
    views = gaussian_views(8, samples=64, seed=given.seed)
    found = []
    for iterations in (1, 4):

        def loss(z1, z2, steps=iterations):
            z1, z2 = (
                losses.iterative_normalization(z, iterations=steps, axis="batch")
                for z in (z1, z2)
            )
            return squared_distance(z1, z2)

        def reduced(value, steps=iterations):
            return transformed_alignment(
                value, rho, lambda v: normalised_variance(v / jnp.sum(v), steps)
            )

        rates = eigenvalue_rates(loss, levels, correlation=rho, views=views)
        expected = -4.0 * levels * np.asarray(jax.grad(reduced)(jnp.asarray(levels)))
        gap = relative_gap(rates, expected * 63.0 / 64.0)
        found.append(at_most(f"T = {iterations}", gap, 1e-10))
        drift = abs(np.sum(rates)) / np.abs(rates).sum()
        # A loss that ignores scale conserves the trace.
        found.append(at_most(f"T = {iterations}: drift of the trace", drift, 1e-11))
    return found

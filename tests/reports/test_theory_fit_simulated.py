"""Linear networks under the losses that train, written as runs, and their fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fitted_run import STEPS, config_of, times_of, write_fitted_run

from ssljax import losses
from ssljax.analytic import gradient_flow
from ssljax.analytic.fingerprint import gaussian_views
from ssljax.models.predictors import direct_predictor
from ssljax.reports.theory_fit import fit_run
from ssljax.runs.folder import RunFolder

pytestmark = pytest.mark.slow


def rotation(seed, modes=4):
    draw = np.random.default_rng(seed).normal(size=(modes, modes))
    return np.linalg.qr(draw)[0]


def fit_simulation(folder, config, loss, start, correlation, metric, moment):
    """Follow the gradient flow of ``loss(z1, z2)`` and fit what a run would log.

    ``moment`` is that of the inputs: the logged eigenvalues are of ``W moment W^T``.
    """
    steps = np.arange(0, STEPS[-1] + 1, 3)
    with jax.enable_x64(True):
        views = gaussian_views(4, samples=32, basis="axes")
        x1, x2 = views.embeddings(jnp.ones(4), jnp.asarray(correlation))
        path = gradient_flow(
            lambda w: loss(x1 @ w.T, x2 @ w.T),
            jnp.asarray(start),
            jnp.asarray(times_of(config, steps)),
            record=lambda w: jnp.linalg.eigvalsh(w @ jnp.diag(moment) @ w.T)[::-1],
            estimate_error=False,
        )
    values = np.asarray(path.values)
    run = write_fitted_run(folder / "run", config, values, steps=steps, metric=metric)
    return fit_run(RunFolder(run))


def test_barlow_twins_of_a_linear_network_from_a_small_random_start(tmp_path):
    gamma = np.array([0.9, 0.7, 0.5, 0.4])
    found = fit_simulation(
        tmp_path,
        config_of(rate=0.02),
        losses.linearized_barlow_twins,
        1e-4 * np.random.default_rng(0).normal(size=(4, 4)),
        gamma,
        "cross_eigenvalues",
        gamma,
    )
    assert [f.verdict for f in found.fits] == ["follows"] * 4
    rates = np.array([f.rate for f in found.fits]) / found.factor
    # The modes are not aligned at the start, which bends the early part.
    np.testing.assert_allclose(rates, gamma, rtol=0.01)
    np.testing.assert_allclose([f.plateau for f in found.fits], 1.0, rtol=1e-3)


@pytest.mark.parametrize("method", ["isoloss_euclidean", "directpred_euclidean"])
def test_closed_form_predictors_of_a_linear_network(method, tmp_path):
    def loss(z1, z2):
        name = method.replace("directpred", "asymmetric")
        one = getattr(losses, name)
        moment = jax.lax.stop_gradient(z1.T @ z1 / len(z1))
        predictor = direct_predictor(moment, exponent=0.5)
        return one(z1, z2, predictor) + one(z2, z1, predictor)

    start = rotation(1) @ np.diag(np.sqrt([1.0, 0.04, 0.02, 0.01])) @ rotation(2)
    found = fit_simulation(
        tmp_path,
        config_of(method, rate=0.02),
        loss,
        start,
        np.ones(4),
        "moment_eigenvalues",
        np.ones(4),
    )
    # Inputs of variance 1, and views that agree: all modes end as the largest.
    assert [f.verdict for f in found.fits] == ["follows"] * 3
    rates = np.array([f.rate for f in found.fits]) / found.factor
    np.testing.assert_allclose(rates, 1.0, rtol=1e-5)
    np.testing.assert_allclose([f.plateau for f in found.fits], 1.0, rtol=1e-5)
    predicted, measured = (
        np.array([getattr(f, name) for f in found.fits])
        for name in ("predicted", "measured")
    )
    np.testing.assert_allclose(predicted, measured, rtol=2e-3)

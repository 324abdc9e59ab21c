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


def spectrum_of(weights):
    """Eigenvalues of the covariance of ``x W^T`` of white x, the largest first."""
    return jnp.linalg.eigvalsh(weights @ weights.T)[::-1]


def fit_simulation(folder, config, loss, start, correlation, metric):
    """Follow the gradient flow of ``loss(z1, z2)`` and fit what a run would log."""
    with jax.enable_x64(True):
        views = gaussian_views(4, samples=32, basis="axes")
        x1, x2 = views.embeddings(jnp.ones(4), jnp.asarray(correlation))
        path = gradient_flow(
            lambda w: loss(x1 @ w.T, x2 @ w.T),
            jnp.asarray(start),
            jnp.asarray(times_of(config)),
            record=spectrum_of,
            estimate_error=False,
        )
    values = np.asarray(path.values)
    run = write_fitted_run(folder / "run", config, values, metric=metric)
    return fit_run(RunFolder(run))


def test_barlow_twins_of_a_linear_network_from_a_small_random_start(tmp_path):
    gamma = np.array([0.9, 0.5, 0.3, 0.15])
    found = fit_simulation(
        tmp_path,
        config_of(rate=0.02),
        losses.linearized_barlow_twins,
        1e-3 * np.random.default_rng(0).normal(size=(4, 4)),
        gamma,
        "eigenvalues",
    )
    # The last two modes are not learned by then; sorted by size, the first ends as
    # the largest, 1 / gamma, only until the second is learned.
    rates = np.array([f.rate for f in found.fits]) / found.factor
    print(found.text())
    assert rates is not None


@pytest.mark.parametrize("method", ["isoloss_euclidean", "directpred_euclidean"])
def test_closed_form_predictors_of_a_linear_network(method, tmp_path):
    def loss(z1, z2):
        name = method.replace("directpred", "asymmetric")
        one = getattr(losses, name)
        moment = jax.lax.stop_gradient(z1.T @ z1 / len(z1))
        predictor = direct_predictor(moment, exponent=0.5)
        return one(z1, z2, predictor) + one(z2, z1, predictor)

    start = rotation(1) @ np.diag(np.sqrt([1.0, 0.04, 0.01, 0.004])) @ rotation(2)
    found = fit_simulation(
        tmp_path,
        config_of(method, rate=0.02),
        loss,
        start,
        np.full(4, 1.0),
        "moment_eigenvalues",
    )
    print(found.text())

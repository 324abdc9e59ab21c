"""Items 1 to 4: the Euclidean losses against their closed forms."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Finding, Given, at_most, near
from ssljax.analytic.comparison import compare, crossing_times
from ssljax.analytic.implicit_variance import predictor_eigenvalues, recruitment_time
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent

RATES = (0.01, 0.005, 0.0025)
ALPHAS = (1.0, 0.5, 0.25)


@in_float64
def closed_forms(given: Given) -> Sequence[Finding]:
    """Compare ``d lambda/dt = 2 alpha lambda^2 (1 - lambda)``; IsoLoss: ``lambda``.

    Item C6 of earlier versions.
    """
    w0 = toy.start()
    x, _, noise = toy.exact_views(15, given.seed)
    views = (x, x + 0.1 * noise)

    def descend(alpha, rate):
        def loss(params):
            return toy.loss_of_all(params, views, alpha=alpha)

        return gradient_descent(
            loss,
            {k: w0 for k in toy.EUCLIDEAN},
            1500,
            rate,
            record=toy.spectra,
            every=5,
        )

    both = jax.vmap(jax.vmap(descend, (None, 0)), (0, None))
    found = both(jnp.array(ALPHAS), jnp.array(RATES))
    findings = []
    s0 = toy.variances(w0)
    for loss in toy.EUCLIDEAN:
        for i, alpha in enumerate(ALPHAS):
            values = found.values[loss][i] ** alpha

            def solution(t, loss=loss, alpha=alpha):
                return predictor_eigenvalues(s0**alpha, t, loss=loss, alpha=alpha)

            times = found.times[i]
            gap = compare(solution, values[0], times=times[0], tolerance=0.05)
            slope = toy.slope_of(solution, times, values, RATES, 3.75)
            name = f"{loss}, alpha {alpha:g}"
            findings += [
                at_most(f"{name}: largest error", gap.max_error, 0.05),
                at_most(f"{name}: rms error", gap.rms_error, 0.003),
                near(f"{name}: order of convergence", slope, 1.0, 0.1),
            ]
    return findings


@in_float64
def smallest_mode(given: Given) -> Sequence[Finding]:
    """Compare ``lambda = 1/(1 + W(y exp(y - 2 alpha t)))``, ``y = 1/lambda(0) - 1``.

    Item C7 of earlier versions.
    """
    found = _recruited(given, steps=1500, every=300)
    euclidean, isoloss = (found.values[k][:, 0] for k in toy.EUCLIDEAN)
    mode = jnp.array([0.02])
    at = jnp.array([3.0, 15.0])
    exact = predictor_eigenvalues(mode, at)[1, 0]
    fast = predictor_eigenvalues(mode, at, loss="isoloss_euclidean")[0, 0]
    return [
        near("euclidean, simulated at 1500 steps", euclidean[5], 0.0478, 0.001),
        near("euclidean, theory at time 15", exact, 0.0478, 0.0001),
        near("IsoLoss, simulated at 300 steps", isoloss[1], 0.892, 0.002),
        near("IsoLoss, theory at time 3", fast, 0.892, 0.001),
    ]


@in_float64
def gradient_identities(given: Given) -> Sequence[Finding]:
    """Check ``dW/dt = -W_P (W_P - I) W``; IsoLoss: ``-(W_P - I) W``.

    Item C8 of earlier versions.
    """
    x, _, noise = toy.exact_views(15, given.seed)
    views = (x, x + 0.1 * noise)
    rng = np.random.default_rng(given.seed)
    w = jnp.asarray(rng.normal(size=(4, 10, 15)) / 4.0)

    def whitening(w):
        return jnp.sum((w @ w.T - jnp.eye(10)) ** 2) / 4.0

    def traces(w):
        c = w @ w.T
        return jnp.trace(c @ c @ c) / 6.0 - jnp.trace(c @ c) / 4.0

    findings = []
    for loss, explicit in (("isoloss_euclidean", whitening), ("euclidean", traces)):
        implicit = jax.vmap(jax.grad(lambda w, k=loss: toy.loss_of(w, views, k)))(w)
        gap = jnp.max(jnp.abs(implicit - jax.vmap(jax.grad(explicit))(w)))
        findings.append(at_most(f"{loss}: gradients differ by", gap, 1e-10))
    return findings


@in_float64
def recruitment(given: Given) -> Sequence[Finding]:
    """Time ``ln(l/(1 - l)) - 1/l = 2 alpha t + c``, l = lambda; IsoLoss: no 1/l.

    Item E of earlier versions.
    """
    found = _recruited(given, steps=3000, every=5)
    findings = []
    times = {}
    for loss, expected in zip(toy.EUCLIDEAN, (27.5, 3.04), strict=True):
        crossed = crossing_times(found.times, found.values[loss], 0.9)[0]
        exact = float(recruitment_time(jnp.array([0.02]), loss=loss)[0])
        times[loss] = crossed, exact
        findings += [
            near(f"{loss}: time from .02 to .9, theory", exact, expected, 0.05),
            near(
                f"{loss}: the same over theory, simulated", crossed / exact, 1.0, 0.01
            ),
        ]
    slow, fast = (times[loss][0] for loss in toy.EUCLIDEAN)
    return [*findings, near("ratio of the two, simulated", slow / fast, 9.0, 0.1)]


def _recruited(given: Given, *, steps: int, every: int):
    """Descend under both losses from the paper's variances, the smallest .02."""
    w0 = toy.with_variances(toy.FIGURE_2, 15, given.seed)
    x, _, noise = toy.exact_views(15, given.seed)
    views = (x, x + 0.1 * noise)
    return gradient_descent(
        lambda params: toy.loss_of_all(params, views),
        {k: w0 for k in toy.EUCLIDEAN},
        steps,
        0.01,
        record=toy.spectra,
        every=every,
    )

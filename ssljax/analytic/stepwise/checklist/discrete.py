"""Item 23: the flow that descent with steps of finite size follows."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import stepwise as theory
from ssljax.analytic.checklist import Finding, Given, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent

GAMMA, START = np.array([1.0, 0.7, 0.4]), np.array([0.1, 0.2, 0.15])


@in_float64
def modified_flow(given: Given) -> Sequence[Finding]:
    """Check ``ds/dt = f / (1 - m) - h (1 + m) / (2 (1 - m)^3) f' f``: order h^2."""
    rng = np.random.default_rng(given.seed)
    left, right = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    x1, x2 = theory.pairs_with_moments(GAMMA, basis=right)
    w0 = jnp.asarray((left * START[None, :]) @ right.T)
    rates, findings = (0.01, 0.005, 0.0025), []
    times = np.linspace(0.0, 1.0, 11)

    @jax.jit
    def descend(rate: jax.Array, momentum: jax.Array) -> jax.Array:
        return gradient_descent(
            lambda w: losses.linearized_barlow_twins(x1 @ w.T, x2 @ w.T),
            w0,
            400,
            rate,
            momentum,
            record=lambda w: jnp.einsum("ij,ik,kj->j", left, w, right),
            every=10,
        ).values

    for momentum in (0.0, 0.5):
        corrected, plain = [], []
        for i, rate in enumerate(rates):
            found = np.asarray(descend(rate, momentum))[:: 2**i][:11]
            exact = theory.solve_descent(
                START, gamma=GAMMA, learning_rate=rate, momentum=momentum
            )(times)
            flow = theory.aligned_singular_values(
                START, GAMMA, times / (1.0 - momentum)
            )
            # From where the momentum has built up: 2^-20 of it is missing there.
            corrected.append(np.abs(exact - found)[2:].max())
            plain.append(np.abs(flow - found)[2:].max())
        what = f"momentum {momentum:g}: order of the gap to the"
        findings += [
            near(f"{what} plain flow", convergence_slope(rates, plain), 1.0, 0.1),
            near(
                f"{what} modified flow", convergence_slope(rates, corrected), 2.0, 0.2
            ),
        ]
    return findings

"""Items 21 and 22: preconditioners and power laws."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic import stepwise
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.comparison import (
    convergence_slope,
    crossing_times,
    subspace_overlap,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent, gradient_flow
from ssljax.analytic.stepwise.checklist.network import (
    SPECTRUM,
    Values,
    aligned_eigenvalues,
    aligned_start,
    barlow_twins,
    critical_times,
    cross_moment,
    descent_slope,
    largest,
    normal,
    relative,
    rotated_pairs,
    spectrum,
)


def preconditioner(
    moment: Values, left: float | jax.Array, eps: float, right: Values
) -> Callable:
    """Return ``(C + eps I)^-1 gradient right`` at left = 1, without C at 0."""

    def transform(w: jax.Array, gradient: jax.Array) -> jax.Array:
        d = w.shape[0]
        c = left * (w @ moment @ w.T) + (left * eps + 1.0 - left) * jnp.eye(d)
        return jnp.linalg.solve(c, gradient @ right)

    return transform


def continuous(seed: int) -> list[Finding]:
    """Compare plain, left and right preconditioned flow from one small start."""
    d, scale, eps = 3, 1e-6, 0.01
    x1, x2, basis = rotated_pairs(seed, SPECTRUM[:6])
    moment, loss = np.asarray(cross_moment(x1, x2)), barlow_twins(x1, x2)
    w0 = normal(seed + 1, d, 6)
    start = aligned_start(w0, moment, scale)
    slow = float(critical_times(start.singular_values, start.gamma)[-1])
    times: Values = np.append(0.0, np.geomspace(0.02, 1.5 * slow, 500))
    inverse = np.linalg.inv(moment)

    def flow(left: Values, right: Values) -> jax.Array:
        return gradient_flow(
            loss,
            scale * w0,
            times,
            transform=preconditioner(moment, left, eps, right),
            rtol=1e-11,
            atol=1e-15,
            estimate_error=False,
        ).values

    plain, quick, newton = np.asarray(
        jax.vmap(flow)(
            np.array([0.0, 1.0, 0.0]), np.stack([np.eye(6), np.eye(6), inverse])
        )
    )
    half = [
        crossing_times(times, np.linalg.eigvalsh(w @ moment @ w.mT)[:, ::-1], 0.5)
        for w in (plain, quick)
    ]
    expected = np.asarray(
        stepwise.left_preconditioned_times(start.singular_values, start.gamma, eps=eps)
    )
    found = [subspace_overlap(path[-1].T, basis[:, :d])[0] for path in (plain, quick)]
    closed = np.asarray(stepwise.solve_right_preconditioned(scale * w0, moment)(times))
    rows = np.linalg.qr(w0.T)[0]
    return [
        at_least("left: third half time, plain / left", half[0][2] / half[1][2], 20),
        at_most("left: overlap lost", found[0] - found[1], 1e-4),
        at_most(
            "left: |half time / formula - 1|",
            largest(half[1] / expected - 1),
            0.03,
        ),
        at_most("right: W against the closed form", largest(newton - closed), 1e-8),
        at_most(
            "right: W outside its first row space",
            largest(newton - newton @ rows @ rows.T),
            1e-8,
        ),
    ]


def orders(seed: int) -> list[Finding]:
    """Check that preconditioned descent meets both closed forms at first order."""
    gamma, s0, eps = np.array([1.0, 0.6, 0.35]), np.full(3, 0.1), 0.5
    x1, x2, basis = rotated_pairs(seed, gamma)
    moment, loss = np.asarray(cross_moment(x1, x2)), barlow_twins(x1, x2)
    aligned = np.diag(s0) @ basis.T
    generic = 0.2 * normal(seed + 1, 2, 3)
    left = descent_slope(
        loss,
        aligned,
        lambda t: stepwise.left_preconditioned_eigenvalues(s0, gamma, t, eps=eps),
        rates=(0.01, 0.005, 0.0025),
        total_time=2.0,
        record=spectrum(moment),
        transform=preconditioner(moment, 1.0, eps, np.eye(3)),
    )
    right = descent_slope(
        loss,
        generic,
        stepwise.solve_right_preconditioned(generic, moment),
        rates=(0.01, 0.005, 0.0025),
        total_time=2.0,
        transform=preconditioner(moment, 0.0, eps, np.linalg.inv(moment)),
    )
    return [
        near("left: order of descent", left, 1.0, 0.1),
        near("right: order of descent", right, 1.0, 0.1),
    ]


def discrete(seed: int) -> list[Finding]:
    """Count the steps until ten modes of a power law are learned."""
    d, m = 10, 40
    gamma = np.arange(1.0, m + 1) ** -1.5
    x1, x2, basis = rotated_pairs(seed, gamma)
    moment, loss = cross_moment(x1, x2), barlow_twins(x1, x2)
    w0 = 1e-6 * normal(seed + 1, d, m)

    def path(left: Values) -> tuple[jax.Array, jax.Array]:
        found = gradient_descent(
            loss,
            w0,
            1600,
            0.2 / gamma[0],
            record=spectrum(moment),
            transform=preconditioner(moment, left, 0.1, np.eye(m)),
        )
        return found.values[:, -1], found.params

    least, weights = map(np.asarray, jax.vmap(path)(np.array([0.0, 1.0])))
    plain, left = crossing_times(np.arange(1601), least.T, 0.5)
    kept = [subspace_overlap(w.T, basis[:, :d])[0] for w in weights]
    return [
        at_least("left, discrete: steps, plain / left", plain / left, 5),
        at_most("left, discrete: overlap lost", kept[0] - kept[1], 0.01),
    ]


@in_float64
def preconditioned(given: Given) -> Sequence[Finding]:
    """Check ``d lambda/dt = 8 gamma lambda (1 - lambda)/(lambda + eps)``, ..."""
    return [*continuous(given.seed), *orders(given.seed), *discrete(given.seed)]


@in_float64
def power_law(given: Given) -> Sequence[Finding]:
    """Check ``j(t) = (8 t/log(j^a/scale^2))^(1/a)`` for ``gamma_j = j^-a``."""
    exponent, scale = 1.5, 1e-8
    gamma, s0 = np.arange(1.0, 401.0) ** -exponent, np.full(400, scale)
    # From the fifth to the two hundredth critical time.
    tau = np.asarray(critical_times(s0, gamma))
    times = np.geomspace(tau[4], tau[199], 60)
    learned = np.asarray(aligned_eigenvalues(s0, gamma, times)).sum(1)
    counted = stepwise.power_law_modes(times, exponent=exponent, scale=scale)
    slope = convergence_slope(times.tolist(), learned.tolist())

    # The same of a network that learns thirty modes at once.
    d = 30
    x1, x2, _ = rotated_pairs(given.seed, gamma[:40])
    moment = cross_moment(x1, x2)
    w0 = normal(given.seed + 1, d, 40)
    path = gradient_descent(
        barlow_twins(x1, x2),
        scale * w0,
        6000,
        0.1,
        record=lambda w: jnp.trace(w @ moment @ w.T),
        every=20,
    )
    start = aligned_start(w0, moment, scale)
    curves = aligned_eigenvalues(start.singular_values, start.gamma, path.times)
    count, expected = np.asarray(path.values), np.asarray(curves).sum(1)
    span, later = (expected > 3.0) & (expected < 15.0), np.asarray(path.times)
    found, wanted = (
        convergence_slope(later[span].tolist(), number[span].tolist())
        for number in (count, expected)
    )
    return [
        near("400 modes: slope of their number in time", slope, 1 / exponent, 0.03),
        at_most(
            # The mode whose time has come is half learned.
            "400 modes: |(number + 1/2) / formula - 1|",
            largest((learned + 0.5) / np.asarray(counted) - 1),
            0.09,
        ),
        near("trained network: slope against the prediction's", found, wanted, 0.03),
        at_most(
            "trained network: relative distance of the number of modes",
            relative(count, expected),
            0.05,
        ),
    ]

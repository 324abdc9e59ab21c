"""The modified flow against descent in NumPy and the growth of a small mode."""

import numpy as np
import pytest

from ssljax.analytic import stepwise as theory

GAMMA, START = np.array([1.0, 0.5, -0.4]), np.array([0.2, 0.6, 0.5])


def descend(rate, momentum, steps):
    """Independent of the package: heavy-ball momentum on ``(1 - gamma s^2)^2``."""
    s, v = START.copy(), np.zeros(3)
    for _ in range(steps):
        v = momentum * v - 4 * GAMMA * s * (1 - GAMMA * s**2)
        s = s - rate * v
    return s


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_gap_falls_as_the_square_of_the_step(momentum):
    gaps = []
    for rate in (0.004, 0.002):
        numbers = {"learning_rate": rate, "momentum": momentum}
        exact = theory.solve_descent(START, gamma=GAMMA, **numbers)(0.4)
        gaps.append(np.abs(exact - descend(rate, momentum, round(0.4 / rate))).max())
    assert 3.5 < gaps[0] / gaps[1] < 4.5
    # A wrong sign of the correction leaves a gap of first order, fifty times as large.
    assert gaps[1] < 2e-4


def test_a_small_mode_grows_as_by_the_exact_root():
    """`critical_steps` has the exact growth per step; the flow expands it."""
    gamma, rate, momentum = np.array([1.0]), 1e-3, 0.5
    middle = 1 + momentum + 4 * rate
    root = (middle + np.sqrt(middle**2 - 4 * momentum)) / 2
    small = np.array([1e-6])
    found = theory.descent_velocity(
        small, gamma=gamma, learning_rate=rate, momentum=momentum
    )
    exact = np.log(root) / rate * small
    plain = 4 / (1 - momentum) * small
    assert abs(found - exact) < 0.05 * abs(plain - exact)

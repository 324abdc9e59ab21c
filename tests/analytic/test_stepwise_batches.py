"""Small batches against sampling in NumPy and against the forms that they extend."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import stepwise as theory

GAMMA, SIGMA = np.array([1.0, 0.7, 0.4]), np.array([1.2, 0.8, 0.7])
S, SIZE = np.array([0.9, 0.8, 0.5]), 6
NUMBERS = {"gamma": GAMMA, "sigma": SIGMA, "batch_size": SIZE}


def slopes(draws=100_000):
    """Independent of the package: ``-d |C - I|^2 / ds_j``, ``[draws, 3]``."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(draws, SIZE, 3)) * np.sqrt((SIGMA + GAMMA) / 2)
    b = rng.normal(size=(draws, SIZE, 3)) * np.sqrt((SIGMA - GAMMA) / 2)
    x1, x2 = a + b, a - b
    moment = np.einsum("nbi,nbj->nij", x1, x2) / SIZE
    moment = (moment + moment.swapaxes(1, 2)) / 2
    c = S[:, None] * moment * S[None, :] - np.eye(3)
    return -4 * np.einsum("njl,l,nlj->nj", c, S, moment)


def test_mean_and_variance_of_a_step_are_those_of_sampled_batches():
    found = slopes()
    error = found.std(0) / np.sqrt(len(found))
    mean = theory.batch_velocity(S, **NUMBERS)
    assert np.abs((found.mean(0) - mean) / error).max() < 4.5
    # Far from what the loss of the mean gives.
    alone = theory.batch_velocity(S, **NUMBERS | {"batch_size": 1e9})
    assert np.abs((found.mean(0) - alone) / error).min() > 30
    rate, time = 1e-3, 1e-6
    variance = theory.solve_batches(S, learning_rate=rate, of="variance", **NUMBERS)
    squares = (found - found.mean(0)) ** 2
    doubt = squares.std(0) / np.sqrt(len(found))
    gap = variance(time) / (rate * time) - squares.mean(0)
    assert np.abs(gap / doubt).max() < 4.5


def test_equal_views_rest_at_the_plateau():
    numbers = {"gamma": GAMMA, "sigma": GAMMA, "batch_size": 64}
    plateau = float(theory.batch_plateau(3, 64))
    velocity = theory.batch_velocity(np.sqrt(plateau / GAMMA), **numbers)
    np.testing.assert_allclose(velocity, 0.0, atol=1e-12)


@pytest.mark.slow
def test_large_batches_are_descent_without_noise():
    numbers = {"gamma": GAMMA, "learning_rate": 1e-3}
    found = theory.solve_batches(0.2 * S, sigma=SIGMA, batch_size=1e12, **numbers)(1.0)
    exact = theory.solve_descent(0.2 * S, **numbers)(1.0)
    np.testing.assert_allclose(found, exact, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [400, 800])
def test_half_times_are_those_of_the_solution(size):
    """By the solution's own mean and variance at the time that it gives."""
    start, rate = np.array([0.03]), 1e-3
    one = {"gamma": [1.0], "sigma": [1.3], "batch_size": size}
    found = theory.batch_half_times(start, [1.0], sigma=[1.3], batch_size=size)
    flow = theory.solve_batches(start, learning_rate=1e-12, **one)
    assert abs(flow(found.mean[0])[0] ** 2 - 0.5) < 40.0 / size**2
    with_steps = theory.batch_half_times(
        start, [1.0], sigma=[1.3], batch_size=size, learning_rate=rate
    )
    mean, variance = (
        float(theory.solve_batches(start, learning_rate=rate, of=of, **one)(t)[0])
        for of, t in (("mean", found.mean[0]), ("variance", found.mean[0]))
    )
    # A path that is low by d crosses later by d over its speed, which is sqrt(2).
    late = (float(flow(found.mean[0])[0]) - mean) / np.sqrt(2) - 2.0 * variance / 4.0
    assert abs((with_steps.mean[0] - found.mean[0]) / late - 1) < 20 / size
    assert abs(with_steps.deviation[0] / np.sqrt(variance / 2) - 1) < 20 / size


def test_modes_that_are_learned_delay_the_next():
    start, sigma = 1e-3 * jnp.ones(2), jnp.array([1.0, 0.3])
    alone = theory.batch_half_times(start[1:], [0.3], sigma=[0.3], batch_size=32)
    both = theory.batch_half_times(start, [1.0, 0.3], sigma=sigma, batch_size=32)
    wait = float(both.mean[1] - alone.mean[0])
    since = float(alone.mean[0] - theory.half_times(start[:1], [1.0])[0])
    # The rate of a mode falls by 1 / B for each that is learned.
    assert abs(wait / (since / 32) - 1) < 0.1

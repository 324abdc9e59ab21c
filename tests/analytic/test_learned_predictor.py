"""A learned predictor against independent integration, roots and known values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixed_steps import runge_kutta

from ssljax.analytic import learned_predictor as theory
from ssljax.analytic.checklist import Given, load
from ssljax.analytic.learned_predictor.checklist import network
from ssljax.analytic.simulate import gradient_flow

START = np.array([0.05, 0.3, 0.9])


@pytest.mark.parametrize("decay", [0.0, 0.08])
def test_balanced_modes_solve_their_equation(decay):
    signal, noise, ratio = 1.2, 0.6, 0.9
    solution = theory.solve_balanced_predictor(
        START, weight_decay=decay, signal=signal, noise=noise, target_ratio=ratio
    )
    expected = runge_kutta(
        lambda p: p**2 * (signal * ratio - (signal + noise**2) * p) - decay * p,
        START,
        6.0,
    )
    np.testing.assert_allclose(solution(6.0), expected, rtol=1e-7)
    np.testing.assert_allclose(solution(0.0), START, rtol=1e-12)


def test_a_tiny_decay_meets_the_closed_form():
    t = np.array([3.0, 9.0])
    closed = theory.solve_balanced_predictor(START)(t)
    decaying = theory.solve_balanced_predictor(START, weight_decay=1e-11)(t)
    np.testing.assert_allclose(closed, decaying, rtol=1e-7)


@pytest.mark.parametrize(
    "start, level, decay",
    [
        (0.2, 0.8, 0.05),
        (0.2, 0.8, 0.0),
        (0.2, 0.8, 1e-12),
        (2.0, 1.1, 0.1),  # from above
        (0.1, 0.01, 0.1),  # below the threshold
        (0.8, 0.1, 0.3),  # no fixed point left
        (0.8, 0.52, 0.25),  # the double root
    ],
)
def test_times_to_a_level_are_reached(start, level, decay):
    time = float(theory.balanced_time([start], level, weight_decay=decay)[0])
    solution = theory.solve_balanced_predictor([start], weight_decay=decay)
    np.testing.assert_allclose(solution(time), [level], rtol=1e-6)


def test_levels_out_of_reach_take_for_ever():
    start, levels = np.array([0.2, 0.2, 0.05]), np.array([0.9, 0.15, 0.06])
    found = theory.balanced_time(start, levels, weight_decay=0.1)
    assert np.isinf(found).all()
    assert theory.balanced_time([0.4], 0.4, weight_decay=0.1)[0] == 0.0


@pytest.mark.usefixtures("float64")
def test_limits_are_roots_and_meet_at_the_largest_decay():
    numbers = {"signal": 1.3, "noise": 0.7, "target_ratio": 0.9}
    most = theory.largest_weight_decay(**numbers)
    low, high = theory.predictor_limits(0.4 * most, **numbers)
    for p in (low, high):
        left = p * (1.3 * 0.9 - (1.3 + 0.49) * p) - 0.4 * most
        assert abs(left) < 1e-12
    low, high = theory.predictor_limits(most * (1 - 1e-10), **numbers)
    np.testing.assert_allclose(low, high, rtol=1e-4)
    low, high = theory.predictor_limits(most * 1.001, **numbers)
    assert np.isinf(low) and high == 0.0


def test_modes_solve_their_equations_with_a_moving_target():
    numbers = {
        "signal": np.array([1.0, 0.7, 1.4]),
        "noise": 0.5,
        "weight_decay": 0.04,
        "predictor_rate": 3.0,
        "target_rate": 0.6,
    }
    predictor, target = np.array([0.4, 0.2, 0.7]), np.array([0.1, 0.5, 0.6])

    def velocity(state):
        p, w, a = state
        left = numbers["signal"] * a - (numbers["signal"] + 0.25) * p * w
        return np.stack([3.0 * w * left - 0.04 * p, p * left - 0.04 * w, 0.6 * (w - a)])

    expected = runge_kutta(velocity, np.stack([predictor, START, target]), 5.0)
    for row, of in zip(expected, ("predictor", "online", "target"), strict=True):
        solution = theory.solve_learned_predictor(
            START, predictor=predictor, target=target, of=of, **numbers
        )
        np.testing.assert_allclose(solution(5.0), row, rtol=1e-7)


def test_no_moving_target_is_a_fast_one():
    p = np.array([0.3, 0.4, 0.5])
    fast = theory.solve_learned_predictor(START, predictor=p, target_rate=300.0)
    none = theory.solve_learned_predictor(START, predictor=p)
    np.testing.assert_allclose(fast(4.0), none(4.0), atol=5e-3)


def test_the_end_without_decay_is_that_of_the_flow():
    start, predictor = np.full(6, 0.3), np.array([0.1, 0.7, 1.5, 2.5, -0.2, -0.8])
    solution = theory.solve_learned_predictor(
        start, predictor=predictor, noise=0.5, predictor_rate=2.0
    )
    found, _ = theory.undecayed_limits(
        start, predictor=predictor, noise=0.5, predictor_rate=2.0
    )
    np.testing.assert_allclose(solution(500.0), found, atol=1e-5)


def test_cosine_modes_solve_their_equations_under_decay():
    s, p, decay = np.array([0.2, 0.9]), np.array([0.7, 0.4]), 0.3

    def velocity(state):
        rates = theory.cosine_predictor_velocity(
            state[0], state[1], weight_decay=decay, predictor_rate=2.0
        )
        return np.stack([np.asarray(x) for x in rates])

    # Two modes only, and few steps: each evaluates the averages over the circle.
    expected = runge_kutta(velocity, np.stack([p, s]), 2.0, steps=40)
    for row, of in zip(expected, ("predictor", "variance"), strict=True):
        solution = theory.solve_cosine_predictor(
            s, predictor=p, weight_decay=decay, predictor_rate=2.0, of=of
        )
        np.testing.assert_allclose(solution(2.0), row, rtol=1e-5)


def test_the_clock_solves_its_equation():
    for decay in (0.0, 1e-9, 1e-3, 0.7):
        expected = runge_kutta(
            lambda x, decay=decay: np.array([1.0, np.exp(2 * decay * x[0])]),
            np.zeros(2),
            3.0,
        )[1]
        np.testing.assert_allclose(theory.decay_clock(3.0, decay), expected, rtol=1e-8)


def test_held_norms_have_the_roots_of_their_polynomial():
    norms, noise, decay = (1.1, 0.8, 0.9), 0.5, 0.07
    total = 1 + noise**2
    polynomial = np.zeros(6)
    polynomial[[0, 3, 4, 5]] = (
        2.0,
        norms[2],
        -(norms[0] ** 2) / total,
        decay * norms[0] ** 3 * norms[1] / total,
    )
    roots = np.roots(polynomial)
    positive = np.sort(roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real)
    found = theory.sixth_order_limits(decay, norms=norms, noise=noise)
    np.testing.assert_allclose(found, positive, rtol=1e-6)
    assert np.isinf(theory.sixth_order_limits(1.0, norms=norms, noise=noise)[0])


@pytest.mark.usefixtures("float64")
def test_a_wrong_predictor_rate_would_be_noticed():
    """The item's tolerance is far below what a wrong equation gives."""
    start, predictor = np.array([0.3, 0.8]), np.array([0.6, 0.4])
    params, left, right = network.aligned(start, predictor, 0)
    loss = network.loss_of(network.exact_views(right, 0, noise=0.4))
    times = np.array([0.0, 3.0])
    flow = gradient_flow(
        loss,
        params,
        times,
        transform=network.rule(predictor_rate=jnp.array(2.0)),
        estimate_error=False,
    )
    found = network.along(flow.values, left, right)["predictor"][-1]
    gaps = [
        np.abs(
            theory.solve_learned_predictor(
                start, predictor=predictor, noise=noise, predictor_rate=rate
            )(3.0)
            - found
        ).max()
        for rate, noise in ((2.0, 0.4), (1.9, 0.4), (2.0, 0.38))
    ]
    assert gaps[0] < 1e-6 < 1e-3 < min(gaps[1:])


def test_solutions_are_fitted_and_mapped_over():
    with jax.enable_x64(True):
        starts = jnp.array([[0.2, 0.4], [0.3, 0.6]])
        found = jax.vmap(lambda s: theory.solve_balanced_predictor(s)(2.0))(starts)
        one = theory.solve_balanced_predictor(starts[1])(2.0)
    np.testing.assert_allclose(found[1], one, rtol=1e-12)


def test_the_checklist_has_its_items():
    items = load("learned-predictor").items
    assert [item.number for item in items] == [str(i + 1) for i in range(9)]
    assert all(f.passed for f in items[5].run(Given(seed=3)))

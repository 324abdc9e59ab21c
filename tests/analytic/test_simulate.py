"""Gradient flow and gradient descent: exact where known, differentiable, mappable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import (
    convergence_slope,
    gradient_descent,
    gradient_flow,
    implicit_variance,
    integrate,
)
from ssljax.analytic.fingerprint.model import gaussian_views

pytestmark = pytest.mark.slow

RATES = np.array([1.0, 0.5])
TIMES = np.array([0.0, 0.5, 2.0])


def quadratic(w):
    return 0.5 * jnp.sum(RATES * w**2)


def shrink(w):
    return -RATES * w


def double_well(w, height=1.0):
    return jnp.sum(height * (w**2 - 1) ** 2 + 0.3 * w)


def of_descent(start, rate, momentum, height):
    return jnp.sum(
        gradient_descent(
            lambda w: double_well(w, height), start, 20, rate, momentum
        ).values
        ** 2
    )


def numeric(function, arguments, which, step=1e-5):
    """Central difference, in each entry of one argument."""
    value = np.asarray(arguments[which], float)
    slopes = np.zeros(value.size)
    for i in range(value.size):
        ends = []
        for sign in (1, -1):
            moved = value.copy()
            moved.flat[i] += sign * step
            given = [*arguments[:which], jnp.asarray(moved), *arguments[which + 1 :]]
            ends.append(float(function(*given)))
        slopes[i] = (ends[0] - ends[1]) / (2 * step)
    return slopes.reshape(value.shape)


def test_flow_of_a_quadratic_decays_exponentially():
    start = np.array([2.0, -1.0], np.float32)
    flow = gradient_flow(quadratic, start, TIMES)
    exact = start * np.exp(-TIMES[:, None] * RATES)
    np.testing.assert_allclose(flow.values, exact, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(flow.times, TIMES)
    np.testing.assert_allclose(flow.params, flow.values[-1], rtol=1e-12)
    assert flow.values.dtype == flow.times.dtype == np.float64
    # The estimate is of the size of the error and does not fall short of it.
    assert np.abs(flow.values - exact).max() <= flow.error < 1e-5


@pytest.mark.parametrize("stiff", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_tolerances_are_met_and_the_error_is_reported(stiff):
    times = np.linspace(0.0, 8.0, 81)
    errors = []
    for rtol in (1e-6, 1e-9):
        flow = integrate(shrink, np.ones(2), times, rtol=rtol, atol=rtol, stiff=stiff)
        gap = np.abs(flow.values - np.exp(-times[:, None] * RATES)).max()
        assert gap <= flow.error
        errors.append(flow.error)
    assert 0 < errors[1] < 0.05 * errors[0] < 1e-4


def test_without_an_estimate_the_error_is_not_a_number():
    flow = gradient_flow(quadratic, np.ones(2), TIMES, estimate_error=False)
    assert np.isnan(flow.error)


def test_flow_records_what_it_is_told_to_and_transforms_the_gradient():
    start = {"w": 2.0 * jnp.eye(2), "b": jnp.ones(())}

    def loss(params):
        return 0.5 * jnp.sum(params["w"] ** 2) + 0.5 * params["b"] ** 2

    flow = gradient_flow(
        loss,
        start,
        TIMES,
        record=lambda p: (jnp.linalg.eigvalsh(p["w"] @ p["w"].T), p["b"]),
        transform=lambda p, g: {"w": g["w"], "b": 3.0 * g["b"]},
        estimate_error=False,
    )
    spectra, b = flow.values
    expected = 4.0 * np.exp(-2.0 * TIMES)[:, None] * np.ones(2)
    np.testing.assert_allclose(spectra, expected, atol=1e-6)
    np.testing.assert_allclose(b, np.exp(-3.0 * TIMES), atol=1e-6)
    assert flow.params["w"].shape == (2, 2)


def test_descent_of_a_quadratic_is_a_power():
    path = gradient_descent(quadratic, np.array([2.0, -1.0], np.float32), 6, 0.1)
    steps = np.arange(7)[:, None]
    np.testing.assert_allclose(path.values, [2.0, -1.0] * (1 - 0.1 * RATES) ** steps)
    np.testing.assert_allclose(path.times, 0.1 * np.arange(7))
    assert path.values.dtype == np.float64 and path.error == 0.0


def test_descent_is_the_map_that_its_docstring_writes():
    w, velocity, key = np.ones(2), np.zeros(2), jax.random.key(0)
    rate, momentum, seen = 0.1, 0.8, [np.array([1.0, 1.0, 2.0])]

    def loss(w, key):
        return quadratic(w - jax.random.normal(key, w.shape))

    path = gradient_descent(
        loss,
        w,
        6,
        rate,
        momentum,
        record=lambda w: jnp.append(w, w.sum()),
        every=2,
        transform=lambda w, gradient: 2.0 * gradient,
        key=key,
    )
    with jax.enable_x64(True):
        for number in range(6):
            drawn = jax.random.fold_in(key, number)
            velocity = momentum * velocity + 2.0 * jax.grad(loss)(jnp.array(w), drawn)
            w = np.asarray(w - rate * velocity)
            if number % 2:
                seen.append(np.append(w, w.sum()))
    np.testing.assert_allclose(path.values, seen, rtol=1e-12)
    np.testing.assert_allclose(path.params, w, rtol=1e-12)
    np.testing.assert_allclose(path.times, [0.0, 0.2, 0.4, 0.6])


@pytest.mark.parametrize("steps, every", [(5, 2), (3, 4)])
def test_records_must_divide_the_steps(steps, every):
    with pytest.raises(ValueError, match="positive multiple of every"):
        gradient_descent(quadratic, np.ones(2), steps, 0.1, every=every)


def test_descent_converges_to_the_flow_at_first_order():
    start = np.array([0.3, -0.2])
    limit = gradient_flow(double_well, start, np.array([1.0])).values[0]
    counts = np.array([40, 80, 160, 320])
    gaps = [
        np.abs(gradient_descent(double_well, start, n, 1.0 / n).params - limit).max()
        for n in counts
    ]
    assert convergence_slope(1.0 / counts, gaps) == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow
def test_flow_can_be_differentiated_in_the_start_and_in_the_loss(float64):
    def end(start, height):
        flow = gradient_flow(
            lambda w: double_well(w, height),
            start,
            TIMES,
            rtol=1e-11,
            atol=1e-13,
            estimate_error=False,
        )
        return jnp.sum(flow.values**2)

    given = (jnp.array([0.3, -0.2]), jnp.array(0.5))
    compiled = jax.jit(jax.value_and_grad(end, argnums=(0, 1)))
    _, found = compiled(*given)
    for which in range(2):
        expected = numeric(lambda *x: compiled(*x)[0], given, which)
        np.testing.assert_allclose(found[which], expected, rtol=1e-5)


def test_descent_can_be_differentiated_in_all_that_it_is_given(float64):
    given = (jnp.array([0.3, -0.2]), *map(jnp.array, (0.03, 0.7, 0.9)))
    found = jax.grad(of_descent, argnums=(0, 1, 2, 3))(*given)
    compiled = jax.jit(of_descent)
    for which in range(4):
        np.testing.assert_allclose(
            found[which], numeric(compiled, given, which), rtol=1e-5
        )


def test_a_spectrum_under_a_loss_that_trains_can_be_differentiated(float64):
    views = gaussian_views(4, samples=32)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)))

    def end(scale, temperature):
        def loss(w):
            z1, z2 = views.embeddings(jnp.ones(4), jnp.full(4, 0.7))
            return losses.nt_xent(z1 @ w, z2 @ w, temperature=temperature)

        path = gradient_descent(
            loss, scale * weights, 4, 0.5, record=lambda w: jnp.linalg.eigvalsh(w @ w.T)
        )
        return jnp.sum(path.values[-1] ** 2)

    given = (jnp.array(1.0), jnp.array(0.4))
    compiled = jax.jit(end)
    found = jax.jit(jax.grad(end, argnums=(0, 1)))(*given)
    for which in range(2):
        expected = numeric(compiled, given, which)
        np.testing.assert_allclose(found[which], expected, rtol=1e-5)


@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_seeds_can_be_mapped_over(wide):
    def simulated(key):
        start = 0.5 * jax.random.normal(key, (2,))
        flow = integrate(shrink, start, TIMES, estimate_error=False)
        return flow.values, gradient_descent(double_well, start, 5, 0.05).values

    with jax.enable_x64(wide):
        keys = jax.random.split(jax.random.key(0), 3)
        mapped = jax.vmap(simulated)(keys)
        looped = [simulated(key) for key in keys]
    for one, many in enumerate(mapped):
        expected = np.stack([values[one] for values in looped])
        # What is mapped in float32 is handed back in it, after float64 inside.
        atol = 1e-8 if wide else 1e-7
        np.testing.assert_allclose(many, expected, rtol=0, atol=atol)


def flow_of(scale):
    return gradient_flow(quadratic, scale * jnp.ones(2), TIMES).values.sum()


def flow_of_a_closure(scale):
    return gradient_flow(lambda w: scale * quadratic(w), np.ones(2), TIMES).values.sum()


def descent_of(scale):
    return gradient_descent(quadratic, scale * jnp.ones(2), 4, 0.1).values.sum()


def theory_of(scale):
    return implicit_variance.solve_cosine(scale * jnp.ones(2))(TIMES).sum()


SIMULATED = [flow_of, flow_of_a_closure, descent_of, theory_of]


@pytest.mark.parametrize("of", SIMULATED)
def test_derivatives_outside_of_float64_are_those_inside(of):
    at = jnp.array(1.25)
    found = {
        "grad": jax.grad(of)(at),
        "jvp": jax.jvp(of, (at,), (jnp.ones(()),))[1],
        "mapped": jax.vmap(jax.grad(of))(at[None])[0],
    }
    with jax.enable_x64(True):
        expected = jax.grad(of)(jnp.asarray(at, jnp.float64))
    for name, value in found.items():
        assert value.dtype == jnp.float32, name
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("of", SIMULATED)
def test_loops_are_compiled_in_float64_where_the_caller_is_not(of):
    at = jnp.array(1.25)
    value, slope = jax.jit(jax.value_and_grad(of))(at)
    with jax.enable_x64(True):
        expected = jax.value_and_grad(of)(jnp.asarray(at, jnp.float64))
    assert value.dtype == slope.dtype == jnp.float32
    np.testing.assert_allclose([value, slope], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "times, message",
    [
        ([1.0, 0.5], "ascending and >= 0"),
        ([-1.0, 0.5], "ascending and >= 0"),
        ([0.0, np.nan], "ascending and >= 0"),
        (1.0, r"times must be \[times\]"),
        ([], r"times must be \[times\]"),
    ],
)
def test_times_that_cannot_be_integrated_through(times, message):
    with pytest.raises(ValueError, match=message) as caught:
        gradient_flow(quadratic, np.ones(2), times)
    assert "\n" not in str(caught.value)

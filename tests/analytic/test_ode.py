"""Flows as functions: compiled once, never stale, differentiable in every mode."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import gradient_descent, gradient_flow, implicit_variance, ode
from ssljax.analytic.ode import integrate

RATES = np.array([1.0, 0.5])
TIMES = np.array([0.0, 0.5, 2.0])


@pytest.fixture
def solved(monkeypatch):
    """Count programs: each solves the equation once while it is traced."""
    calls = []
    original = diffrax.diffeqsolve

    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    ode._compiled.cache_clear()
    monkeypatch.setattr(diffrax, "diffeqsolve", counted)
    yield calls
    ode._compiled.cache_clear()


class Decay:
    """A field with a bound method, whose rate can be changed."""

    def __init__(self, rate):
        self.rate = jnp.asarray(rate)

    def velocity(self, x):
        return -self.rate * x


def test_an_object_that_changed_is_not_found_stale(solved):
    decay = Decay(1.0)
    first = integrate(decay.velocity, 1.0, TIMES, estimate_error=False)
    decay.rate = jnp.asarray(3.0)
    second = integrate(decay.velocity, 1.0, TIMES, estimate_error=False)
    np.testing.assert_allclose(first.values, np.exp(-TIMES), atol=1e-6)
    np.testing.assert_allclose(second.values, np.exp(-3.0 * TIMES), atol=1e-6)
    assert len(solved) == 1  # the rate is an argument of the program


def test_fresh_functions_of_one_structure_share_a_program(solved):
    def flow(scale):
        # A new lambda and a new loss at every call.
        return gradient_flow(
            lambda w: scale * jnp.sum(jnp.asarray(RATES) * w**2) / 2,
            np.ones(2),
            TIMES,
            estimate_error=False,
        ).values

    for scale in (jnp.array(1.0), jnp.array(2.0)):
        expected = np.exp(-float(scale) * TIMES[:, None] * RATES)
        np.testing.assert_allclose(flow(scale), expected, atol=1e-6)
    assert len(solved) == 1
    # A number of Python is a part of the program; so is another function.
    np.testing.assert_allclose(flow(3.0)[1], np.exp(-1.5 * RATES), atol=1e-6)
    assert len(solved) == 2


@pytest.mark.slow
def test_theories_of_one_structure_share_a_program(solved):
    first = implicit_variance.solve_cosine(np.array([0.3, 1.5]))
    values = first(TIMES)
    later = implicit_variance.solve_cosine(np.array([0.2, 1.0]), alpha=0.5)
    assert np.abs(later(TIMES) - values).max() > 0.1
    first(np.linspace(0.0, 1.0, 7))  # another number of times, up to eight
    first(1.0)
    assert len(solved) == 1


@pytest.mark.slow
@pytest.mark.parametrize("record", [jnp.sum, jnp.exp])
def test_another_record_is_another_program(record, solved):
    for start in (np.ones(2), np.array([2.0, 1.0])):
        found = integrate(
            lambda w: -RATES * w, start, TIMES, record=record, estimate_error=False
        )
        exact = start * np.exp(-TIMES[:, None] * RATES)
        expected = exact.sum(axis=1) if record is jnp.sum else np.exp(exact)
        np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert len(solved) == 1


def semi(x, rate):
    """A loss whose gradient is a half of its derivative: -x (1 - rate x)."""
    target = jax.lax.stop_gradient(rate * x**2 / 2.0 - x)
    return jnp.sum(x * target)


def end(start, rate, adjoint="auto"):
    """The logistic curve that minus the semi-gradient makes, at time 2."""
    flow = gradient_flow(
        lambda x: semi(x, 2.0 * rate),
        start,
        TIMES,
        estimate_error=False,
        adjoint=adjoint,
    )
    return flow.values[-1]


def logistic(start, rate):
    """The same in closed form: ``dx/dt = x (1 - rate x)``."""
    grown = np.exp(TIMES[-1])
    return start * grown / (1.0 + rate * start * (grown - 1.0))


MODES = {
    "reverse": lambda f: jax.grad(f, (0, 1)),
    "forward": lambda f: jax.jacfwd(f, (0, 1)),
    "jit": lambda f: jax.jit(jax.grad(f, (0, 1))),
    "mapped": lambda f: (
        lambda a, b: jax.tree.map(
            lambda x: x[0], jax.vmap(jax.grad(f, (0, 1)))(a[None], b[None])
        )
    ),
}
TWICE = {
    "hessian": jax.hessian,
    "forward twice": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "reverse twice": lambda f: jax.grad(jax.grad(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_flow_with_a_stop_gradient_is_differentiated_in_full(mode):
    with jax.enable_x64(True):
        start, rate = jnp.array(0.3), jnp.array(1.3)
        assert abs(end(start, rate) - logistic(start, rate)) < 1e-7
        expected = jax.grad(lambda a, b: logistic(a, b), (0, 1))(start, rate)
        found = MODES[mode](end)(start, rate)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", TWICE)
def test_second_derivatives_of_a_flow(mode):
    with jax.enable_x64(True):
        start, rate = jnp.array(0.3), jnp.array(1.3)
        expected = jax.grad(jax.grad(lambda a: logistic(a, rate)))(start)
        found = TWICE[mode](lambda a: end(a, rate))(start)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_inside_of_a_compiled_function_the_adjoint_is_named():
    with jax.enable_x64(True):
        start, rate = jnp.array(0.3), jnp.array(1.3)
        expected = jax.grad(lambda a: logistic(a, rate))(start)
        for adjoint in ("forward", "both"):
            compiled = jax.jit(lambda a, adjoint=adjoint: end(a, rate, adjoint))
            found = jax.jvp(compiled, (start,), (jnp.ones(()),))[1]
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=adjoint)


def test_descent_with_a_stop_gradient_is_differentiated_in_full():
    def last(start, rate):
        path = gradient_descent(lambda x: semi(x, 2.0 * rate), start, 5, 0.1)
        return path.values[-1]

    def by_hand(start, rate):
        x = start
        for _ in range(5):
            x = x + 0.1 * x * (1.0 - rate * x)
        return x

    with jax.enable_x64(True):
        at = jnp.array(0.3), jnp.array(1.3)
        for transform in (jax.grad, jax.jacfwd, jax.hessian):
            found, expected = (transform(f, (0, 1))(*at) for f in (last, by_hand))
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
def test_the_hessian_of_a_cosine_solution_is_that_of_differences():
    with jax.enable_x64(True):

        def late(start):
            return implicit_variance.solve_cosine(start)(1.5)[0]

        start, step = jnp.array([0.3, 1.5]), 1e-4
        found = jax.hessian(late)(start)
        slopes = [
            [jax.grad(late)(start + sign * step * axis) for sign in (1, -1)]
            for axis in jnp.eye(2)
        ]
        expected = np.stack([(up - down) / (2 * step) for up, down in slopes])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_a_closed_form_and_its_simulation_have_one_jacobian():
    """DirectPred by hand: the loss stops its target's gradient, the flow does not."""
    with jax.enable_x64(True):
        times = jnp.array([0.0, 2.0])

        def simulated(s):
            def loss(w):
                z = jnp.sqrt(3.0) * jnp.eye(3) @ w.T
                p = jax.lax.stop_gradient(w @ w.T)
                return losses.asymmetric_euclidean(z, z, p)

            flow = gradient_flow(
                loss,
                jnp.diag(jnp.sqrt(s)),
                times,
                record=lambda w: jnp.diagonal(w) ** 2,
                estimate_error=False,
            )
            return flow.values[-1]

        def theory(s):
            return implicit_variance.predictor_eigenvalues(s, times)[-1]

        start = jnp.array([0.1, 0.3, 0.8])
        np.testing.assert_allclose(simulated(start), theory(start), atol=1e-7)
        found, expected = jax.jacrev(simulated)(start), jax.jacrev(theory)(start)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("traced", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_blow_up_is_one_line(traced):
    times = np.array([0.0, 0.5, 2.0])  # x = 1 / (1 - t)
    if traced:
        with jax.enable_x64(True):
            found = jax.jit(
                lambda x: integrate(lambda x: x**2, x, times, max_steps=200).values
            )(1.0)
        np.testing.assert_allclose(found[:2], [1.0, 2.0], rtol=1e-6)
        assert np.isnan(found[2])
        return
    with pytest.raises(ValueError, match="cannot be followed to time 2") as caught:
        integrate(lambda x: x**2, 1.0, times, max_steps=200)
    assert "after time 0.5, where the largest record is 2;" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"adjoint": "backwards"}, "adjoint must be one of auto, reverse"),
        ({"max_steps": 0}, "max_steps must be a whole number >= 1, got 0"),
        ({"rtol": 0.0}, "rtol must be > 0, got 0"),
        ({"atol": -1.0}, "atol must be > 0, got -1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        integrate(lambda x: -x, 1.0, TIMES, **options)


@pytest.mark.parametrize(
    "rate, momentum, message",
    [
        (0.0, 0.0, "learning_rate must be > 0, got 0"),
        (np.nan, 0.0, "learning_rate must be > 0, got nan"),
        (0.1, 1.5, r"momentum must lie in \[0, 1\), got 1.5"),
    ],
)
def test_rates_of_a_descent_are_checked(rate, momentum, message):
    with pytest.raises(ValueError, match=message):
        gradient_descent(lambda x: x**2, 1.0, 2, rate, momentum)


def test_the_text_form_of_a_simulation_is_one_line():
    found = integrate(lambda x: -x, np.ones(3), TIMES, estimate_error=False)
    assert repr(found) == "Simulation(values [3, 3] at 3 times from 0 to 2)"

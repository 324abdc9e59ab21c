"""Second derivatives of what is in float64, wherever a caller in float32 puts it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import integrate, stepwise
from ssljax.analytic.derivable import call
from ssljax.analytic.precision import in_float64

PLACES = {
    "plain": lambda f: f,
    "compiled": jax.jit,
    "checkpoint": jax.checkpoint,
    "map": lambda f: lambda x: jax.lax.map(f, x[None])[0],
    "scan": lambda f: (
        lambda x: jax.lax.scan(lambda c, _: (c + f(x), None), 0.0, jnp.arange(2))[0] / 2
    ),
    "branch": lambda f: lambda x: jax.lax.cond(x[0] > 0, f, lambda x: 0.0 * f(x), x),
    "vmap": lambda f: lambda x: jax.vmap(f, (0, None))(x[None], x)[0],
}
TWICE = {
    "hessian": jax.hessian,
    "forward twice": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "reverse twice": lambda f: jax.jacrev(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
}
AT = np.array([0.9, 0.5], np.float32)


def times(gamma, other=None):
    """Sum critical times, which are log(1 / 0.01) / (8 gamma) here, times a number."""
    found = stepwise.critical_times(gamma, jnp.full(2, 0.1))
    weight = 1.0 if other is None else gamma[0] * other[1] / (AT[0] * AT[1])
    return jnp.sum(jnp.asarray(found, jnp.float32)) * weight


ALL = [(place, twice) for place in PLACES for twice in TWICE]
QUICK = [("compiled", "hessian"), ("map", "hessian"), ("scan", "reverse twice")]


@pytest.mark.parametrize(
    "place, twice",
    [
        *QUICK,
        *(pytest.param(*c, marks=pytest.mark.slow) for c in ALL if c not in QUICK),
    ],
)
def test_second_derivatives_are_those_inside_of_float64(place, twice):
    found = jax.jit(TWICE[twice](PLACES[place](times)))(AT)
    with jax.enable_x64(True):
        same = PLACES["vmap"] if place == "vmap" else PLACES["plain"]
        expected = np.asarray(jax.hessian(same(times))(jnp.asarray(AT, float)))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_third_order_and_mapped_cotangents():
    @in_float64
    def product(x, y):
        return x**3 * y, jnp.stack([y, y**2]), jnp.round(x).astype(int)

    def total(x, y):
        first, second, _ = product(x, y)
        return first * second[1]  # x^3 y^3

    def third(x, y):
        return jax.grad(jax.grad(jax.grad(total), 1))(x, y)  # 18 x y^2

    x, y = jnp.array([1.0, 2.0]), jnp.float32(3.0)
    mapped = jax.vmap(third, (0, None))(x, y)
    np.testing.assert_allclose(mapped, 18.0 * x * y**2, rtol=1e-6)
    # A cotangent of what all share is the sum over the map.
    shared = jax.jit(jax.grad(lambda y: jax.vmap(total, (0, None))(x, y).sum()))(y)
    np.testing.assert_allclose(shared, np.sum(x**3) * 3 * y**2, rtol=1e-6)


def test_what_is_closed_over_is_differentiated():
    @in_float64
    def applied(function, x):
        return function(x)

    def outer(scale):
        return jax.grad(lambda x: applied(lambda y: scale * y**2, x))(jnp.float32(3.0))

    assert float(jax.jit(jax.grad(outer))(jnp.float32(1.0))) == 6.0
    assert float(jax.hessian(lambda s: outer(s) ** 2)(jnp.float32(1.0))) == 72.0


class Square:
    """Says in which modes it is built."""

    compiled = False

    def __init__(self):
        self.modes = []

    def build(self, modes):
        self.modes.append(modes)
        return lambda x: [x**2]


@pytest.mark.parametrize(
    "transform, modes",
    [
        (lambda f: f, ()),
        (jax.grad, ("vjp",)),
        (jax.jacfwd, ("jvp",)),
        (jax.hessian, ("vjp", "jvp")),
        (lambda f: jax.jit(jax.grad(jax.jit(jax.grad(f)))), ("vjp", "vjp")),
    ],
)
def test_a_function_is_built_for_the_derivatives_that_are_asked_for(transform, modes):
    square = Square()
    transform(lambda x: call(square, (((), jnp.float32),), x)[0])(jnp.float32(2.0))
    assert square.modes[-1] == modes


@pytest.mark.slow
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("twice", ["hessian", "reverse twice"])
def test_flows_inside_of_a_jit_have_second_derivatives(twice, wide):
    def end(start):
        flow = integrate(
            lambda x: x * (1.0 - x), start, np.array([0.0, 2.0]), estimate_error=False
        )
        return flow.values[-1, 0]

    with jax.enable_x64(True):
        start = jnp.array([0.3])
        expected = jax.hessian(lambda x: 1 / (1 + (1 / x[0] - 1) * jnp.exp(-2.0)))
        expected = np.asarray(expected(start))
    with jax.enable_x64(wide):
        found = jax.jit(TWICE[twice](end))(jnp.array([0.3]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name, other", [("reverse", "forward"), ("forward", "reverse")]
)
def test_a_named_adjoint_without_these_derivatives_is_one_line(name, other):
    def end(x):
        return integrate(lambda x: -x, x, np.array([0.0, 1.0]), adjoint=name).values[-1]

    transform = jax.jacfwd if name == "reverse" else jax.grad
    with jax.enable_x64(True):
        with pytest.raises(ValueError, match=f'use adjoint="{other}" or "auto"') as e:
            transform(jax.jit(end))(1.0)
    assert "\n" not in str(e.value)

"""A rule of one's own holds under every transformation and every mix of modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses.custom_rule import CustomRule


@CustomRule
def exponential(x):
    # Without its rule it is a constant, so that a lost rule shows.
    return jnp.exp(jax.lax.stop_gradient(x))


@exponential.defjvp
def _exponential_jvp(primals, tangents):
    # A rule that uses the function's own value: the one that JAX's scan loses.
    value = exponential(*primals)
    return value, value * tangents[0]


def in_scan(f):
    return lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=1)[0]


WRAPPERS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "scan": in_scan,
    "map": lambda f: lambda x: jax.lax.map(f, x[None])[0],
    "cond": lambda f: lambda x: jax.lax.cond(x > 0, f, f, x),
    "two vmaps": lambda f: lambda x: jax.vmap(jax.vmap(f))(x[None, None])[0, 0],
}
MODES = (jax.jacfwd, jax.jacrev)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_three_orders_in_every_mix_of_modes(wrapper, float64):
    f, x = WRAPPERS[wrapper](exponential), jnp.asarray(0.7)
    firsts = [d(f)(x) for d in MODES]
    seconds = [o(i(f))(x) for o in MODES for i in MODES]
    third = jax.jit(jax.jacrev(jax.jacfwd(jax.jacrev(f))))(x)
    np.testing.assert_allclose([*firsts, *seconds, third], np.exp(0.7), rtol=1e-14)


def test_a_shared_argument_gets_the_sum_of_its_cotangents(float64):
    @CustomRule
    def product(x, y):
        return {"p": jax.lax.stop_gradient(x * y)}

    @product.defjvp
    def _(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return product(x, y), {"p": x * dy + y * dx}

    x, y = jnp.arange(1.0, 4.0), jnp.asarray(2.0)

    def total(x, y):
        return jnp.sum(jax.vmap(product, (0, None))(x, y)["p"] ** 2)

    gx, gy = jax.grad(total, (0, 1))(x, y)
    np.testing.assert_allclose(gx, 2 * x * y**2)
    np.testing.assert_allclose(gy, 2 * y * jnp.sum(x**2))


def test_arguments_that_are_no_arrays():
    f = CustomRule(lambda power, x: x**power, static=(0,))
    f.defjvp(lambda power, p, t: (f(power, *p), power * f(power - 1, *p) * t[0]))
    assert float(jax.grad(lambda x: f(3, x))(2.0)) == 12.0
    assert float(jax.grad(jax.grad(lambda x: f(3, x)))(2.0)) == 12.0


def test_float64_inside_of_a_caller_in_float32():
    @CustomRule
    def place_of_largest(x):
        return jnp.argmax(x), jnp.sum(x)  # an integer of 64 bits inside

    @place_of_largest.defjvp
    def _(primals, tangents):
        place, total = place_of_largest(*primals)
        return (place, total), (jnp.zeros_like(place), jnp.sum(tangents[0]))

    def wide(x):
        with jax.enable_x64(True):
            found = jax.vmap(place_of_largest)(x.astype(jnp.float64))[1]
            return found.astype(jnp.float32)

    # Compiled after the block has ended, where float64 is off.
    found = jax.jit(wide)(jnp.arange(6.0).reshape(2, 3))
    assert found.dtype == jnp.float32 and found.tolist() == [3.0, 12.0]

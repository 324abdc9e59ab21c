"""Stop-gradients are opened wherever they can be, and refused where they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.program import open_stop_gradients, trace


def semi(x, a):
    """Return half of the derivative of a product: ``a x^2``."""
    return jax.grad(lambda x: jnp.sum(x * jax.lax.stop_gradient(a * x**2)))(x)


def inside_of(wrapped):
    """Put the stop-gradient into a loop, a branch or a compiled part."""
    return lambda x, a: wrapped(lambda x: semi(x, a), x)


def looped(f, x):
    return jax.lax.scan(lambda carry, _: (f(carry), None), x, None, length=1)[0]


def while_looped(f, x):
    return jax.lax.while_loop(
        lambda state: state[0] < 1, lambda state: (state[0] + 1, f(state[1])), (0, x)
    )[1]


def branched(f, x):
    return jax.lax.cond(jnp.sum(x) > -1.0, f, lambda x: x, x)


PLACES = {
    "plain": semi,
    "jit": inside_of(lambda f, x: jax.jit(f)(x)),
    "scan": inside_of(looped),
    "cond": inside_of(branched),
    "map": inside_of(lambda f, x: jax.lax.map(f, x)),
    "vmap": inside_of(lambda f, x: jax.vmap(f)(x)),
    "checkpoint": inside_of(lambda f, x: jax.checkpoint(f)(x)),
}


@pytest.mark.parametrize("place", PLACES)
def test_values_stay_and_derivatives_are_full(place):
    function = PLACES[place]
    x, a = jnp.array([1.0, 2.0]), jnp.array(3.0)
    opened = open_stop_gradients(function)
    np.testing.assert_array_equal(opened(x, a), function(x, a))
    found = jax.grad(lambda x, a: jnp.sum(opened(x, a)), (0, 1))(x, a)
    np.testing.assert_allclose(found[0], 2.0 * 3.0 * x, rtol=1e-6)
    np.testing.assert_allclose(found[1], jnp.sum(x**2), rtol=1e-6)
    forward = jax.jacfwd(opened)(x, a)
    np.testing.assert_allclose(forward, jnp.diag(6.0 * x), rtol=1e-6)


def test_a_loop_of_unknown_length_is_opened_in_forward_mode():
    x, a = jnp.array([1.0, 2.0]), jnp.array(3.0)
    opened = open_stop_gradients(inside_of(while_looped))
    np.testing.assert_allclose(jax.jacfwd(opened)(x, a), jnp.diag(6.0 * x), rtol=1e-6)


@jax.custom_jvp
def hidden(x):
    return jax.lax.stop_gradient(x) * x


hidden.defjvp(lambda primals, tangents: (hidden(*primals), tangents[0] * primals[0]))


def test_a_stop_gradient_under_a_rule_of_its_own_is_refused():
    with pytest.raises(ValueError, match="its own derivative rule") as caught:
        open_stop_gradients(hidden)(2.0)
    assert "\n" not in str(caught.value)
    # Where only its value would need it, which nothing uses, it is not in the way.
    inner = open_stop_gradients(jax.grad(lambda x: hidden(x) + x**2))
    assert jax.grad(inner)(2.0) == 3.0


def test_structures_are_equal_where_programs_are():
    def field(scale, power):
        array = jnp.array([scale, 1.0])
        return trace(lambda x: array * x**power, jnp.ones(2)).structure

    assert field(1.0, 2) == field(5.0, 2) and hash(field(1.0, 2)) == hash(field(5.0, 2))
    assert field(1.0, 2) != field(1.0, 3)
    plain, flipped = (
        trace(f, jnp.ones(2)).structure for f in (lambda x: x - 1.0, lambda x: 1.0 - x)
    )
    assert plain != flipped
    numbers = [trace(lambda x, c=c: x + c, jnp.ones(2)).structure for c in (1.0, 2.0)]
    assert numbers[0] != numbers[1]
    trees = [
        trace(f, jnp.ones(2)).structure for f in (lambda x: (x, x), lambda x: [x, x])
    ]
    assert trees[0] != trees[1]

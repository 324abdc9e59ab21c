"""Steps of an optimizer, and the same by hand in plain NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

WD, ETA, MOMENTUM = 0.01, 0.05, 0.9
RATES = [0.5, 0.2, 1.0]  # it changes, because that is where the LARS variants differ


def rates(step):
    return jnp.asarray(RATES, jnp.float32)[step]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    params = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    gradients = [
        {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)} for _ in RATES
    ]
    return params, gradients


def run(optimizer, params, gradients, steps=3) -> tuple[Any, Any]:
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients[:steps]:
        gradient = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradient)
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def by_hand(params, gradients, steps, direction, *, nesterov=False, rate_inside=False):
    """Run SGD with momentum on ``direction(g, p, lr)``, one parameter at a time."""
    out = {}
    for name, p in params.items():
        p, buffer = p.copy(), 0.0
        for lr, gradient in zip(RATES[:steps], gradients, strict=False):
            d = direction(gradient[name], p, lr)
            if rate_inside:
                buffer = MOMENTUM * buffer + lr * d
                p = p - buffer
            else:
                buffer = MOMENTUM * buffer + d
                p = p - lr * (d + MOMENTUM * buffer if nesterov else buffer)
        out[name] = p
    return out


def updated(optimizer, gradient, params) -> Any:
    """Return the first update of an optimizer."""
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    return update


def assert_params_equal(actual, expected, tolerance=1e-7):
    for name in expected:
        # Around 2, float32 numbers are 2.4e-7 apart.
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=3 * tolerance, atol=tolerance
        )

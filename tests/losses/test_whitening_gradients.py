"""Gradients of the whitening losses: exact, finite on degenerate input, under vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax import losses

AXES = ["batch", "channel"]
KEY = jax.random.key(0)


def normal(n, d, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)))


# Every loss as a function of two views, and every transformation likewise.
LOSSES = {
    "intl": lambda a, b: losses.intl([a, b], trace_weight=0.1),
    "intl_batch": lambda a, b: losses.intl([a, b], axis="batch", iterations=7),
    "intl_coupled": lambda a, b: losses.intl([a, b], iterations=9),
    "intl_ema": lambda a, b: losses.intl_ema(a, [b], trace_weight=0.1),
    "trace_loss": lambda a, b: losses.trace_loss(a) + losses.trace_loss(b),
    "trace_loss_channel": lambda a, b: sum(
        losses.trace_loss(z, axis="channel") for z in (a, b)
    ),
    "w_mse": lambda a, b: losses.w_mse([a, b], key=KEY),
    "cw_rgp": lambda a, b: losses.cw_rgp([a, b], key=KEY, groups=2),
    "shuffled_dbn": lambda a, b: losses.shuffled_dbn([a, b], key=KEY, groups=2),
}


def cubed_difference(transform):
    return lambda a, b: jnp.mean((transform(a) - transform(b)) ** 3)


for _axis in AXES:
    for _method in ("zca", "pca", "cholesky"):
        # Cholesky over the channels needs a part of the identity: centring each
        # sample takes one rank away from their covariance.
        eps = 0.1 if (_method, _axis) == ("cholesky", "channel") else 0.0
        LOSSES[f"{_method}_{_axis}"] = cubed_difference(
            functools.partial(losses.whiten, method=_method, axis=_axis, eps=eps)
        )
    LOSSES[f"normalization_{_axis}"] = cubed_difference(
        functools.partial(losses.iterative_normalization, axis=_axis)
    )
    LOSSES[f"spectral_{_axis}"] = cubed_difference(
        functools.partial(losses.spectral_transform, g=jnp.log1p, axis=_axis)
    )
VALUE_AND_GRAD = {
    name: jax.jit(jax.value_and_grad(f, argnums=(0, 1))) for name, f in LOSSES.items()
}
SMALL = ("intl", "intl_batch", "w_mse", "cw_rgp", "shuffled_dbn")
BASE = np.random.default_rng(0).normal(size=(5, 4))
DEGENERATE = {
    "zero": np.zeros((5, 4)),
    "identical_rows": np.tile(BASE[:1], (5, 1)),
    "constant_column": np.where(np.arange(4) == 2, 0.3, BASE),
    "one_value": np.full((5, 4), 0.7),
    "rank_one": np.outer([1, -2, 3, 0.5, 1], [1.0, 2, -1, 0.5]),
    "equal_spectrum": np.eye(5, 4),
    "tiny": 1e-4 * BASE,
    "large": 1e4 * BASE,
    "large_identical_rows": 1e4 * np.tile(BASE[:1], (5, 1)),
    "two_samples": BASE[:2],
}


@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradients_stay_finite(name, dtype):
    for case, z in DEGENERATE.items():
        if case == "two_samples" and dtype == jnp.float32 and name not in SMALL:
            continue  # another shape to compile; bfloat16 runs among the slow tests
        a, b = jnp.asarray(z, dtype), jnp.asarray(z[::-1].copy(), dtype)
        for pair in [(a, b), (a, jnp.zeros_like(a))]:
            value, gradients = VALUE_AND_GRAD[name](*pair)
            assert value.shape == () and value.dtype == jnp.float32
            assert np.isfinite(value), case
            for gradient in gradients:
                assert gradient.dtype == dtype
                assert np.isfinite(np.asarray(gradient, np.float32)).all(), case


def check(name, order):
    """Against difference quotients; the constant teacher of INTL-EMA left out."""
    n, d = (4, 8) if "channel" in name or name == "cw_rgp" else (8, 4)
    if name == "intl_coupled":
        n, d = 6, 4  # well conditioned, where the iteration has not yet converged
    a, b = normal(n, d), normal(n, d, 1)
    loss, views = LOSSES[name], (a, b)
    if name == "intl_ema":
        loss, views = functools.partial(loss, a), (b,)
    check_grads(jax.jit(loss), views, order=order, modes=["rev"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_matches_finite_differences(name, float64):
    check(name, order=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives_match_finite_differences(name, float64):
    check(name, order=2)


@pytest.mark.parametrize("name", ["intl", "cw_rgp"])
def test_jit_and_vmap_agree_with_the_plain_call(name, float64):
    a, b = (jnp.stack([normal(4, 8, s) for s in seeds]) for seeds in ((0, 1), (2, 3)))
    values, gradients = jax.jit(
        jax.vmap(jax.value_and_grad(LOSSES[name], argnums=(0, 1)))
    )(a, b)
    if name == "intl":
        np.testing.assert_allclose(values[0], LOSSES[name](a[0], b[0]), rtol=1e-10)
    for i in range(2):
        value, expected = VALUE_AND_GRAD[name](a[i], b[i])
        np.testing.assert_allclose(values[i], value, rtol=1e-10)
        for gradient, e in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(gradient[i], e, rtol=1e-8, atol=1e-10)

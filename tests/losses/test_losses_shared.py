"""What every loss promises, whatever it computes."""

import subprocess
import sys
import textwrap
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses

LOSSES = {
    "nt_xent": losses.nt_xent,
    "nt_xent_cold": partial(losses.nt_xent, temperature=0.05),
    "nt_xent_squared": partial(losses.nt_xent, temperature=0.05, negatives="squared"),
    "nt_xent_absolute": partial(losses.nt_xent, temperature=0.05, negatives="absolute"),
    "info_nce": losses.info_nce,
    "info_nce_cold": partial(losses.info_nce, temperature=0.05, symmetric=False),
    "barlow_twins": losses.barlow_twins,
    "vicreg": losses.vicreg,
    "dcl": losses.dcl,
    "dclw": losses.dclw,
    "spectral_contrastive": losses.spectral_contrastive,
    "tcr": losses.tcr,
    "vicreg_exp": losses.vicreg_exp,
    "vicreg_ctr": losses.vicreg_ctr,
    "vicreg_ctr_sample": partial(losses.vicreg_ctr, centering="sample"),
    "linearized_barlow_twins": losses.linearized_barlow_twins,
    "negative_cosine": losses.negative_cosine,
    "normalized_mse": losses.normalized_mse,
}
SYMMETRIC = [name for name in LOSSES if name != "info_nce_cold"]
# They compare dimensions.
NEEDS_TWO_DIMENSIONS = ("vicreg_exp", "vicreg_ctr", "vicreg_ctr_sample")
# Without the variants, where compiling is what takes the time.
PLAIN = [name for name in LOSSES if name in losses.__all__]


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def with_row(z, row):
    z = z.copy()
    z[1] = row
    return z


DEGENERATE = {
    "zeros": np.zeros((5, 4), np.float32),
    "zero_row": with_row(normal(5, 4), 0.0),
    "identical_rows": np.full((5, 4), 0.7, np.float32),
    "constant_column": np.where(np.arange(4) == 2, 3.0, normal(5, 4)).astype("f"),
    "two_samples": normal(2, 4),
    "two_identical_samples": np.ones((2, 4), np.float32),
    "one_dimension": normal(5, 1),
    "opposite_rows": np.outer([1, -1, 1, -1, 1], np.ones(4)).astype("f"),
    "tiny": 1e-4 * normal(5, 4),
    "large": 1e4 * normal(5, 4),
    "tiny_constant": np.full((5, 4), 1e-4, np.float32),
    "large_constant": np.full((5, 4), 1e4, np.float32),
}


VALUE_AND_GRAD = {  # compiled once per shape, not once per test
    name: jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    for name, loss in LOSSES.items()
}


@pytest.fixture(params=LOSSES, ids=str)
def name(request):
    return request.param


JITTED = {name: jax.jit(loss) for name, loss in LOSSES.items()}


@pytest.fixture
def loss(name):
    return JITTED[name]


@pytest.mark.parametrize(
    "case, dtype",
    [(case, jnp.float32) for case in DEGENERATE]
    + [(case, jnp.bfloat16) for case, z in DEGENERATE.items() if z.shape[1] == 4],
)
def test_value_and_gradients_stay_finite(name, case, dtype):
    z = jnp.asarray(DEGENERATE[case], dtype)
    if case == "one_dimension" and name in NEEDS_TWO_DIMENSIONS:
        with pytest.raises(ValueError, match="D >= 2"):
            VALUE_AND_GRAD[name](z, z)
        return
    other = jnp.asarray(DEGENERATE[case][::-1].copy(), dtype)
    for pair in [(z, z), (z, other), (z, jnp.zeros_like(z))]:
        value, gradients = VALUE_AND_GRAD[name](*pair)
        assert value.shape == () and value.dtype == jnp.float32
        assert np.isfinite(value)
        for gradient in gradients:
            assert gradient.dtype == dtype
            assert np.isfinite(np.asarray(gradient, np.float32)).all()


def test_bfloat16_is_widened_before_anything_is_computed(loss):
    low = [jnp.asarray(normal(6, 5, seed), jnp.bfloat16) for seed in (0, 1)]
    wide = [z.astype(jnp.float32) for z in low]
    np.testing.assert_allclose(loss(*low), loss(*wide), rtol=1e-6)


def test_float64_stays_float64(loss, float64):
    z1, z2 = (jnp.asarray(normal(6, 5, seed), jnp.float64) for seed in (0, 1))
    assert loss(z1, z2).dtype == jnp.float64


@pytest.mark.parametrize("name", SYMMETRIC)
def test_swapping_the_views_changes_nothing(name, float64):
    z1, z2 = (jnp.asarray(normal(7, 5, seed), jnp.float64) for seed in (0, 1))
    np.testing.assert_allclose(LOSSES[name](z1, z2), LOSSES[name](z2, z1), rtol=1e-12)


def test_permuting_the_samples_changes_nothing(loss, float64):
    z1, z2 = (jnp.asarray(normal(7, 5, seed), jnp.float64) for seed in (0, 1))
    order = np.random.default_rng(2).permutation(7)
    np.testing.assert_allclose(loss(z1[order], z2[order]), loss(z1, z2), rtol=1e-12)


def test_permuting_one_view_alone_does_change_it(loss):
    z1 = normal(7, 5)
    z2 = z1 + 0.1 * normal(7, 5, 1)
    assert float(loss(z1, z2[::-1])) > float(loss(z1, z2)) + 1e-3


def test_permuting_the_dimensions_changes_nothing(loss, float64):
    z1, z2 = (jnp.asarray(normal(7, 5, seed), jnp.float64) for seed in (0, 1))
    order = np.random.default_rng(2).permutation(5)
    np.testing.assert_allclose(
        loss(z1[:, order], z2[:, order]), loss(z1, z2), rtol=1e-12
    )


@pytest.mark.parametrize("name", PLAIN)
def test_jit_and_vmap_agree_with_the_plain_call(name):
    loss = LOSSES[name]
    z1, z2 = (
        jnp.stack([jnp.asarray(normal(6, 5, s)) for s in seeds])
        for seeds in ((0, 1), (2, 3))
    )
    plain = jnp.stack([loss(a, b) for a, b in zip(z1, z2, strict=True)])
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(z1, z2), plain, rtol=2e-6)
    np.testing.assert_allclose(jax.jit(loss)(z1[0], z2[0]), plain[0], rtol=2e-6)
    gradients = jax.jit(jax.vmap(jax.grad(loss)))(z1, z2)
    _, (gradient, _) = VALUE_AND_GRAD[name](z1[1], z2[1])
    np.testing.assert_allclose(gradients[1], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_a_sharded_batch_gives_the_same_loss_and_gradient(name):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    z1, z2 = jnp.asarray(normal(16, 5)), jnp.asarray(normal(16, 5, 1))
    f = jax.jit(jax.value_and_grad(LOSSES[name]))
    value, gradient = f(z1, z2)
    sharded = f(*(jax.device_put(z, rows) for z in (z1, z2)))
    np.testing.assert_allclose(sharded[0], value, rtol=1e-5)
    np.testing.assert_allclose(
        sharded[1], gradient, atol=1e-5 * float(jnp.abs(gradient).max())
    )


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 2)), ((4, 3), (5, 3)), ((4,), (4,)), ((2, 2, 2),) * 2]
)
def test_shapes_must_agree(loss, shapes):
    with pytest.raises(ValueError, match=r"two \[N, D\] arrays of the same shape"):
        loss(*(jnp.ones(shape) for shape in shapes))


@pytest.mark.parametrize(
    "name, least",
    [("nt_xent", 2), ("info_nce", 2), ("barlow_twins", 2)]
    + [("vicreg", 2), ("negative_cosine", 1), ("normalized_mse", 1)],
)
def test_the_smallest_batch_is_named(name, least):
    z = jnp.ones((least - 1, 3))
    with pytest.raises(ValueError, match=f"at least {least} pair.*batch size"):
        LOSSES[name](z, z)


def test_losses_import_neither_networks_nor_optimizers():
    program = textwrap.dedent(
        """
        import sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("flax", "optax", "orbax", "scipy.stats"):
                    raise ImportError(f"{name} is not needed for losses")

        sys.meta_path.insert(0, Refuse())
        from ssljax import losses
        assert sorted(losses.__all__) == losses.__all__
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True)

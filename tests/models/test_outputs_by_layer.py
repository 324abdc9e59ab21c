"""Outputs of every projector layer against the matrices written out."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import first_state, setup_of

from ssljax.models import outputs_by_layer


def perturbed(tree, seed):
    """Draw other numbers, so that no scale is 1 and no mean is 0."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: (x + 0.3 * rng.random(x.shape)).astype(x.dtype), tree)


def by_hand(params, stats, x, norm):
    """Return the outputs of the layers of a projector, in numpy."""
    found, last = [], len([name for name in params if name.startswith("linear")])
    for k in range(1, last + 1):
        layer = params[f"linear{k}"]
        x = x @ layer["kernel"] + layer.get("bias", 0.0)
        normed = norm != "off" if k < last else norm in ("affine", "plain")
        assert normed == (f"bn{k}" in stats)
        if normed:
            moments, scale = stats[f"bn{k}"], params.get(f"bn{k}", {})
            x = (x - moments["mean"]) / np.sqrt(moments["var"] + 1e-5)
            x = x * scale.get("scale", 1.0) + scale.get("bias", 0.0)
        if k < last:
            x = np.maximum(x, 0)
        found.append(x)
    return found


OTHERS = ("off", "hidden", "plain")


@pytest.mark.parametrize(
    "norm", ["affine", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)]
)
def test_equals_the_matrices(norm):
    setup = setup_of("simclr", projector="10-7-5", projector_norm=norm)
    state = first_state(setup)
    params = perturbed(state.params, 0)
    stats = perturbed(state.batch_stats, 1)
    images = np.random.default_rng(2).normal(size=(6, 12, 12, 3)).astype(np.float32)
    found = jax.jit(outputs_by_layer, static_argnums=0)(
        setup.network, params, stats, images
    )
    assert [x.shape[1] for x in found] == [4, 10, 7, 5]
    expected = by_hand(
        params["projector"], stats.get("projector", {}), np.asarray(found[0]), norm
    )
    for one, other in zip(found[1:], expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-4, atol=1e-5)
    variables = {"params": params, "batch_stats": stats}
    features, projections = setup.network.apply(
        variables, images, train=False, method="project"
    )
    np.testing.assert_allclose(
        np.asarray(found[0]), np.asarray(features), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        np.asarray(found[-1]), np.asarray(projections), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_no_projector_is_the_features_alone():
    setup = setup_of("simclr", projector="none")
    state = first_state(setup)
    found = outputs_by_layer(
        setup.network, state.params, state.batch_stats, jnp.zeros((2, 12, 12, 3))
    )
    assert [x.shape for x in found] == [(2, 4)]


@pytest.mark.slow
def test_bfloat16_is_widened():
    setup = setup_of("simclr", projector="6-5")
    network = setup.network.clone(
        projector=setup.network.projector.clone(dtype=jnp.bfloat16)
    )
    state = first_state(setup)
    found = outputs_by_layer(
        replace(setup, network=network).network,
        state.params,
        state.batch_stats,
        jnp.zeros((2, 12, 12, 3)),
    )
    assert {x.dtype for x in found} == {jnp.dtype("float32")}

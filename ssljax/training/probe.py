"""The online linear probe: a classifier on detached features, trained in every step.

It costs one matrix product and shows the accuracy during training. Its gradient does
not reach the encoder.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax.losses.cross_entropy import cross_entropy_of_known


def init_probe(
    key: jax.Array,
    *,
    feature_dim: int,
    num_classes: int,
    optimizer: optax.GradientTransformation,
) -> dict[str, Any]:
    """Return the probe's parameters and optimizer state at step 0."""
    params = {
        "kernel": 0.01 * jax.random.normal(key, (feature_dim, num_classes)),
        "bias": jnp.zeros(num_classes),
    }
    return {"params": params, "opt_state": optimizer.init(params)}


def update_probe(
    probe: dict[str, Any],
    features: jax.Array,
    labels: jax.Array,
    *,
    optimizer: optax.GradientTransformation,
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """Take one optimizer step on the cross-entropy of detached features.

    Args:
        probe: as from `init_probe`, or ``{}`` without a probe.
        features: encoder features of one view, ``[N, F]``.
        labels: classes ``[N]``, -1 where unknown.
        optimizer: the probe's optimizer.

    Returns:
        The next probe, and the metrics ``probe_loss`` and ``probe_accuracy`` (percent),
        NaN for a batch without labels; ``{}`` twice without a probe.
    """
    if not probe:
        return {}, {}
    x = jax.lax.stop_gradient(features).astype(jnp.float32)
    known = jnp.sum(labels >= 0)
    count = jnp.maximum(known, 1).astype(jnp.float32)

    def loss_of(params: Any):
        logits = x @ params["kernel"] + params["bias"][None, :]
        # An unknown label, -1, never equals a prediction.
        hits = (logits.argmax(axis=1) == labels).astype(jnp.float32)
        return cross_entropy_of_known(logits, labels), hits.sum() / count

    (loss, accuracy), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        probe["params"]
    )
    updates, opt_state = optimizer.update(
        gradients, probe["opt_state"], probe["params"]
    )
    params = optax.apply_updates(probe["params"], updates)
    # Without labels nothing was measured, so the records must say null, not 0 %.
    metrics = {
        "probe_loss": jnp.where(known > 0, loss, jnp.nan),
        "probe_accuracy": jnp.where(known > 0, 100.0 * accuracy, jnp.nan),
    }
    return {"params": params, "opt_state": opt_state}, metrics

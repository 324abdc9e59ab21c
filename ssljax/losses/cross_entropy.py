"""Cross-entropy on partly known labels, for the supervised baseline and the probe.

Not one of the public losses: it reads labels, which self-supervised losses do not.
"""

import jax
import jax.numpy as jnp
import optax


def cross_entropy_of_known(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Compute the mean cross-entropy of the rows whose label is known.

    Args:
        logits: ``[N, K]``.
        labels: classes ``[N]``, -1 where unknown.

    Returns:
        Scalar; 0 where no label is known.

    >>> logits = jnp.zeros((2, 4))
    >>> round(float(cross_entropy_of_known(logits, jnp.array([3, -1]))), 4)  # log 4
    1.3863
    """
    known = (labels >= 0).astype(jnp.float32)
    # A label of -1 would be read as the last class.
    each = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.maximum(labels, 0)
    )
    return (each * known).sum() / jnp.maximum(known.sum(), 1.0)

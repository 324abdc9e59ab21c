"""The classes that a trained classifier gives to images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.data import Source
from ssljax.data.augment import for_evaluation, normalize
from ssljax.evaluation.features import extract_all
from ssljax.protocols.features import BATCH, encoder_on_devices
from ssljax.runs.encoder import Restored


def accuracy(run: Restored, source: Source) -> tuple[float, int]:
    """Return the share of labelled images that a supervised run classifies rightly.

    Images are cropped as in every evaluation, and BatchNorm uses its running
    statistics.

    Args:
        run: a run of the method ``supervised``.
        source: images, with labels.

    Returns:
        The share, 0 to 1, and the number of images with a label.
    """
    found = extract_all(
        {"": encoder_on_devices(run, classes)}, source, batch_size=BATCH
    )
    labels = source.labels if found.labels is None else found.labels
    assert labels is not None, "a labelled source gives labels"
    known = labels >= 0
    # Class numbers are whole, and exact in float32 below 2**24.
    right = found.features[""][known, 0].astype(np.int64) == labels[known]
    return float(np.mean(right)) if right.size else float("nan"), int(known.sum())


def classes(params: Any, batch_stats: Any, images: jax.Array, *, setup) -> jax.Array:
    """Compute the most likely class ``[N, 1]`` of uint8 images ``[N, H, W, C]``.

    The number is float32, as features are.
    """
    x = normalize(for_evaluation(images, size=setup.view_size), setup.mean, setup.std)
    variables = {"params": params, "batch_stats": batch_stats}
    _, logits = setup.network.apply(variables, x, train=False, method="project")
    return jnp.argmax(logits, axis=1)[:, None].astype(jnp.float32)

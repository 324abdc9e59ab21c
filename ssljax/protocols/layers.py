"""Protocol `layers`: one linear probe on the features and on every projector layer.

The probe's accuracy falls along the projector where it discards what the loss does not
need, which is why representations are taken in front of it.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.data.augment import for_evaluation, normalize
from ssljax.evaluation.table import linear_row, majority_row, tried
from ssljax.models import MLP, outputs_by_layer
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import embed_sets, encoder_on_devices, key_of
from ssljax.runs.encoder import Restored
from ssljax.training.state import Setup


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return a row for the features, and one for every layer of the projector.

    All layers come from one pass over the images, in evaluation mode: each is the
    output behind the layer's BatchNorm and ReLU, where it has them.

    Args:
        asked: the run and its images.
    """
    run, setup = asked.run, asked.run.setup
    names = names_of(setup.network.projector)
    widths = (setup.network.encoder.feature_dim, *setup.network.projector.layers)
    encoder = {"layers": (_key_of(run), lambda: encoder_on_devices(run, every_layer))}
    of_train, of_test = embed_sets(
        asked.folder, encoder, (asked.train, asked.test), pixels=False
    )
    train, test = of_train.features["layers"], of_test.features["layers"]
    assert of_train.labels is not None and of_test.labels is not None
    common = {
        "split": asked.test.split,
        "train_examples": len(train),
        "test_examples": len(test),
        "seed": asked.seed,
    }
    found = []
    edges = np.cumsum([0, *widths])
    for name, (first, last) in zip(names, itertools.pairwise(edges), strict=True):
        row = tried(
            linear_row,
            "linear",
            *(train[:, first:last], of_train.labels),
            *(test[:, first:last], of_test.labels),
            num_classes=asked.train.num_classes,
            seed=asked.seed,
        )
        row["protocol"] = f"layers {row['protocol']}"
        row["detail"] += f"; {last - first} dimensions"
        found.append({"representation": name} | common | row)
    return [*found, common | majority_row(of_train.labels, of_test.labels)]


def names_of(projector: MLP) -> list[str]:
    """Name the features and the projector's layers, with what follows each Linear.

    >>> names_of(MLP((8, 4), output_norm="affine"))
    ['encoder', 'projector layer 1 (BatchNorm, ReLU)', 'projector layer 2 (BatchNorm)']
    """
    names = ["encoder"]
    last = len(projector.layers)
    for k in range(1, last + 1):
        hidden = k < last
        normed = projector.hidden_norm if hidden else projector.output_norm != "none"
        parts = ["BatchNorm"] * normed + ["ReLU"] * hidden
        names.append(f"projector layer {k} ({', '.join(parts) or 'linear'})")
    return names


def every_layer(
    params: Any, batch_stats: Any, images: jax.Array, *, setup: Setup
) -> jax.Array:
    """Compute the features and every layer's output of uint8 images, side by side."""
    x = for_evaluation(images, size=setup.view_size)
    x = normalize(x, setup.mean, setup.std)
    found = outputs_by_layer(setup.network, params, batch_stats, x)
    return jnp.concatenate(found, axis=1)


def _key_of(run: Restored) -> str:
    method = run.config.method
    return f"{key_of(run)} {method.projector} {method.projector_norm}"

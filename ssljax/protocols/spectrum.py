"""Protocol `spectrum`: what needs augmented views, for the encoder's rows.

The ranks of the features themselves come from `ssljax.evaluation.evaluate_features`.
Here are LiDAR of the features, and the collapse panel of the projections.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.data import Source
from ssljax.data.augment import View, make_views, normalize
from ssljax.data.subsets import subset_indices
from ssljax.evaluation import Thresholds, diagnose, lidar, panel
from ssljax.evaluation.rows import filled
from ssljax.protocols.asked import Asked
from ssljax.runs.encoder import Restored
from ssljax.training.state import Setup

_STREAM = 3  # after the views of training (0), the monitor's (1) and the loss's (2)
BATCH = 256
"""Views encoded at a time."""
SHOWN = {
    "std_per_dimension": "deviation per dimension",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "mean_cosine": "mean cosine",
    "rankme": "RankMe",
    "participation_ratio": "participation ratio",
}

_panel = jax.jit(panel, static_argnames="top")
_lidar = jax.jit(lidar)


@dataclass(frozen=True)
class Views:
    """Outputs of a network for augmented views of the same images."""

    features: np.ndarray
    """float32 ``[n, views, F]``."""
    pairs: np.ndarray
    """Projections of the first two views, float32 ``[n, 2, D]``."""

    def lidar(self) -> float:
        """Return LiDAR of the features."""
        return float(_lidar(self.features))

    @property
    def what(self) -> str:
        """The images and views in words."""
        images, views = self.features.shape[:2]
        return f"{images} images with {views} augmented views"


def embed_views(
    run: Restored, source: Source, *, images: int, views: int, seed: int
) -> Views:
    """Encode augmented views of images of a fixed random subset, in evaluation mode.

    Args:
        run: the network, and the augmentation: views alternate between the
            distributions of its largest views.
        source: the images.
        images: how many, at most those of the source.
        views: of each.
        seed: draws the images and the views.
    """
    setup = run.setup
    rows = subset_indices(source.size, min(images, source.size), seed=seed)
    pixels, _ = source.take(rows)
    pairs_of_size = zip(setup.views, setup.view_sizes, strict=True)
    kinds = [view for view, size in pairs_of_size if size == setup.view_size]
    compute = _program(setup)
    root = jax.random.fold_in(jax.random.key(seed), _STREAM)
    features, pairs = [], []
    for number, start in enumerate(range(0, len(pixels), BATCH)):
        part = pixels[start : start + BATCH]
        batch = jnp.asarray(filled(part, min(BATCH, len(pixels))))
        key = jax.random.fold_in(root, number)
        found = [
            compute(
                run.state.params,
                run.state.batch_stats,
                batch,
                jax.random.fold_in(key, view),
                kind=kinds[view % len(kinds)],
            )
            for view in range(views)
        ]
        each = [np.asarray(f)[: len(part)] for f, _ in found]
        features.append(np.stack(each, axis=1))
        pairs.append(
            np.stack([np.asarray(z)[: len(part)] for _, z in found[:2]], axis=1)
        )
    return Views(np.concatenate(features), np.concatenate(pairs))


def with_views(
    asked: Asked, networks: Mapping[str, Restored], rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Add LiDAR to the networks' rows of the spectrum, and a row for their projections.

    Args:
        asked: the run and its images; those of the test set are used.
        networks: by representation.
        rows: as from `evaluate_features`.

    Returns:
        The rows, with the new ones behind the spectrum of their representation.
    """
    settings, found = asked.settings, []
    for row in rows:
        network = networks.get(row["representation"])
        if network is None or not row["protocol"].startswith("spectrum"):
            found.append(row)
            continue
        if asked.test.size < 2:  # of which the row says that there are too few
            found.append(row)
            continue
        views = embed_views(
            network,
            asked.test,
            images=settings.lidar_images,
            views=settings.lidar_views,
            seed=asked.seed,
        )
        detail = f"{row['detail']}; LiDAR {views.lidar():.2f} ({views.what})"
        found.append(row | {"detail": detail})
        embedding = {
            "protocol": "spectrum projections",
            "test_examples": len(views.pairs),
            "detail": described(views.pairs),
        }
        found.append(row | embedding)
    return found


def described(pairs: np.ndarray) -> str:
    """Say whether projections collapsed, with the panel's measures.

    Args:
        pairs: projections of two views of each image, ``[n, 2, D]``.

    >>> described(np.ones((4, 2, 3))).partition(";")[0]
    'complete collapse'
    """
    values = jax.device_get(_panel(pairs[:, 0], pairs[:, 1], top=1))
    scalars = {name: x.item() for name, x in values.items() if x.ndim == 0}
    found = diagnose([scalars], thresholds=Thresholds(patience=1))
    word = "no collapse" if found is None else f"{found.kind} collapse"
    figures = ", ".join(f"{title} {scalars[key]:.2f}" for key, title in SHOWN.items())
    return f"{word}; {figures}; of {pairs.shape[2]} dimensions, two augmented views"


@functools.lru_cache(maxsize=4)
def _program(setup: Setup) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the compiled features and projections of one view of images."""

    @functools.partial(jax.jit, static_argnames="kind")
    def compute(params, stats, images, key, *, kind: View):
        (pixels,) = make_views(key, images, (kind,), size=setup.view_size)
        x = normalize(pixels, setup.mean, setup.std)
        # As in training: XLA would fuse the views into the network.
        x = jax.lax.optimization_barrier(x)
        variables = {"params": params, "batch_stats": stats}
        return setup.network.apply(variables, x, train=False, method="project")

    return compute

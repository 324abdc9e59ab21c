"""Measurements during training: spectrum panel, kNN accuracy, collapse alarm."""

import functools
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.config import MonitorConfig
from ssljax.data import Source
from ssljax.data.augment import for_evaluation, normalize
from ssljax.data.source import ArrayReader
from ssljax.data.subsets import rows_of, subset_indices
from ssljax.evaluation import (
    Collapse,
    cross_eigenvalues,
    diagnose,
    knn_accuracy,
    panel,
)
from ssljax.evaluation.features import Encoder, extract_all
from ssljax.methods.mode_laws import needs_cross_eigenvalues
from ssljax.training import devices
from ssljax.training.state import Setup, TrainState
from ssljax.training.step import projections_of, view_batch

# The monitor's views have their own key stream, so that switching the monitor on or off
# does not change training.
MONITOR_STREAM = 1
BATCH = 512
"""Images encoded at a time, on all devices together."""
PER_CLASS, FEWEST = 50, 5000
"""Images of the kNN bank where the config leaves their number open."""
KEPT = 2**30
"""Images of a streamed set with more bytes are read again at every measurement."""


class Monitor:
    """Measure states on fixed images; the time taken is ``monitor_seconds``.

    The devices of all processes share the images.

    Args:
        setup: static parts of the run.
        train: training images, for the spectrum panel.
        test: labelled images, the kNN queries; None switches kNN off.
        mesh: the devices.
        bank: labelled images, the kNN neighbours; None takes the training images.
    """

    def __init__(
        self,
        setup: Setup,
        train: Source,
        test: Source | None,
        mesh: Any,
        *,
        bank: Source | None = None,
    ):
        settings = setup.config.monitor
        self.setup, self.mesh = setup, mesh
        self.history: list[dict[str, float]] = []
        self._rows, whole = devices.over_batch(mesh), devices.replicated(mesh)
        # Replicated results, so that every process can read them.
        compiled = functools.partial(jax.jit, out_shardings=whole)
        self._panel = compiled(functools.partial(_panel_of, setup=setup))
        self._encode = compiled(functools.partial(encode, setup=setup))
        count = min(settings.examples, train.size)
        images, labels = train.take(_fixed(train, count, setup))
        # The panel is that of these images whatever the number of devices.
        place = self._rows if count % mesh.size == 0 else whole
        self._batch = devices.place_whole({"image": images, "label": labels}, place)
        self.knn_sets: tuple[Source, ...] = ()
        """Neighbours and queries; none where kNN is off or labels are missing."""
        bank = train if bank is None else bank
        if measures_knn(settings, bank, test):
            assert test is not None
            count = min(bank_size(setup, bank.num_classes), bank.size)
            queries = min(settings.knn_test_examples, test.size)
            self.knn_sets = (
                _held(rows_of(bank, _fixed(bank, count, setup))),
                _held(rows_of(test, _fixed(test, queries, setup))),
            )

    def measure(self, state: TrainState, *, knn: bool = True) -> dict[str, Any]:
        """Measure a state and return the numbers, with the seconds it took.

        Args:
            state: the state to measure.
            knn: measure the kNN accuracy too, where there are labelled images.
        """
        start = time.perf_counter()
        values = jax.device_get(self._panel(state, self._batch))
        scalars = {name: x.item() for name, x in values.items() if x.ndim == 0}
        record = {f"spectrum/{name}": x for name, x in (values | scalars).items()}
        self.history.append(scalars)
        accuracy = self.knn_accuracy(state) if knn else None
        if accuracy is not None:
            record["knn_accuracy"] = 100.0 * accuracy
        record["monitor_seconds"] = time.perf_counter() - start
        return record

    def alarm(self) -> Collapse | None:
        """Return the collapse that the panels so far show, or None."""
        return diagnose(self.history)

    def knn_accuracy(self, state: TrainState) -> float | None:
        """Return the share of test images that kNN classifies.

        None where kNN is off, no image of a set has a label, or the features are not
        finite.
        """
        if not self.knn_sets:
            return None

        def run(images: np.ndarray) -> jax.Array:
            placed = devices.place_whole(images, self._rows)
            return self._encode(state.params, state.batch_stats, placed)

        batch = -(-BATCH // self.mesh.size) * self.mesh.size
        bank, queries = (_known(run, source, batch) for source in self.knn_sets)
        if not all(len(y) and np.isfinite(x).all() for x, y in (bank, queries)):
            return None
        k = min(self.setup.config.monitor.knn_k, len(bank[0]))
        # A class without neighbours is never chosen.
        classes = 1 + int(max(bank[1].max(), queries[1].max()))
        return knn_accuracy(*bank, *queries, ks=(k,), num_classes=classes)[k]


def measures_knn(settings: MonitorConfig, bank: Source, test: Source | None) -> bool:
    """Return whether there is a kNN accuracy to measure, for which labels are needed.

    Args:
        settings: of the monitor.
        bank: the neighbours.
        test: the queries.
    """
    return settings.knn and test is not None and bank.labelled and test.labelled


def bank_size(setup: Setup, num_classes: int | None) -> int:
    """Return how many images the kNN bank should have.

    A vote of 20 neighbours says little where a class has 5.
    """
    wanted = setup.config.monitor.knn_examples
    return max(FEWEST, PER_CLASS * (num_classes or 0)) if wanted is None else wanted


def encode(params: Any, batch_stats: Any, images: jax.Array, *, setup) -> jax.Array:
    """Compute frozen features ``[N, F]`` of uint8 images ``[N, H, W, C]``."""
    x = for_evaluation(images, size=setup.view_size)
    x = normalize(x, setup.mean, setup.std)
    variables = {"params": params, "batch_stats": batch_stats}
    return setup.network.apply(variables, x, train=False, method="encode")


def _panel_of(state: TrainState, batch, *, setup: Setup):
    views = view_batch(jnp.int32(0), batch, setup=setup, stream=MONITOR_STREAM, count=2)
    # Supervised training has one view, but the panel compares two.
    if len(views) == 1:
        views = views * 2
    z1, z2 = projections_of(state, views, setup)
    top = setup.config.monitor.eigenvalues
    measures = panel(z1, z2, top=top)
    if needs_cross_eigenvalues(setup.config.method.name):
        measures["cross_eigenvalues"] = cross_eigenvalues(z1, z2, top=top)
    return measures


def _fixed(source: Source, count: int, setup: Setup) -> np.ndarray:
    return subset_indices(source.size, count, seed=setup.config.seed)


def _held(source: Source) -> Source:
    """Return a streamed set with its images in memory, unless they are too many."""
    if source.images is not None or source.size * np.prod(source.image_shape) > KEPT:
        return source
    images, labels = source.take(np.arange(source.size))
    reader = ArrayReader(images, labels)
    return replace(source, images=images, labels=labels, read=reader)


def _known(
    run: Encoder, source: Source, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of the images that have a label."""
    found = extract_all({"": run}, source, batch_size=batch_size)
    labels = source.labels if found.labels is None else found.labels
    assert labels is not None, "a labelled source gives labels"
    known = labels >= 0
    return found.features[""][known], labels[known]

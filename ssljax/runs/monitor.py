"""Measurements during training: spectrum panel, kNN accuracy, collapse alarm."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.data import Source
from ssljax.data.augment import for_evaluation, normalize
from ssljax.data.subsets import subset_indices
from ssljax.evaluation import Collapse, diagnose, extract, neighbour_votes, panel
from ssljax.training import devices
from ssljax.training.state import Setup, TrainState
from ssljax.training.step import projections_of, view_batch

# The monitor's views have their own key stream, so that switching the monitor on or off
# does not change training.
MONITOR_STREAM = 1
BATCH = 500


class Monitor:
    """Measure states on fixed images; the time taken is ``monitor_seconds``.

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
        self._place = devices.replicated(mesh)
        # Replicated, so that every process can read the results.
        compiled = functools.partial(jax.jit, out_shardings=self._place)
        self._panel = compiled(functools.partial(_panel_of, setup=setup))
        self._encode = compiled(functools.partial(encode, setup=setup))
        count = min(settings.examples, train.size)
        images, labels = train.take(_fixed(train, count, setup))
        self._batch = devices.place({"image": images, "label": labels}, self._place)
        self._knn = None
        bank = train if bank is None else bank
        self._classes = bank.num_classes or 0
        wanted = min(settings.knn_examples, bank.size)
        if test is not None and wanted and bank.labelled and test.labelled:
            taken = bank.take(_fixed(bank, wanted, setup))
            count = min(settings.knn_test_examples, test.size)
            queries = test.take(_fixed(test, count, setup))
            known = [(x[y >= 0], y[y >= 0]) for x, y in (taken, queries)]
            if all(len(y) for _, y in known):
                self._knn = (*known[0], *known[1])

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
        """Return the share of test images that kNN classifies, None where it is off."""
        if self._knn is None:
            return None
        bank_x, bank_y, test_x, test_y = self._knn

        def run(images: np.ndarray) -> jax.Array:
            placed = devices.place(images, self._place)
            return self._encode(state.params, state.batch_stats, placed)

        features = [extract(run, x, batch_size=BATCH) for x in (bank_x, test_x)]
        k = min(self.setup.config.monitor.knn_k, len(bank_x))
        votes = neighbour_votes(
            jnp.asarray(features[0]),
            jnp.asarray(bank_y),
            jnp.asarray(features[1]),
            ks=(k,),
            num_classes=self._classes,
        )
        return float(np.mean(np.asarray(votes)[0] == test_y))


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
    return panel(z1, z2, top=setup.config.monitor.eigenvalues)


def _fixed(source: Source, count: int, setup: Setup) -> np.ndarray:
    return subset_indices(source.size, count, seed=setup.config.seed)

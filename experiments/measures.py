"""What reproductions measure of a run: its checkpoints, spectra and linear probes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.data import Source
from ssljax.data.preprocess import for_evaluation, normalize
from ssljax.evaluation import linear_probe
from ssljax.evaluation.spectrum import rank_measures
from ssljax.models import MLP, Network
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.encoder import Restored, restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.setup import load_split
from ssljax.training import devices

Row = dict[str, Any]
EIGENVALUES = 64
"""How many of an embedding's eigenvalues a record keeps."""


def checkpoints(folder: Path) -> list[Restored]:
    """Return a run's states at every checkpoint that it kept, oldest first."""
    last = restore(folder)
    path = RunFolder(folder).checkpoints
    place = devices.replicated(devices.make_mesh(count=1, batch_size=1))
    wanted = devices.abstract(last.state, place)
    kept = Checkpoints(path, keep=1, read_only=True)
    try:
        states = {step: kept.restore_step(step, wanted)[0] for step in kept.steps()}
    finally:
        kept.close()
    return [replace(last, state=state, step=step) for step, state in states.items()]


@partial(jax.jit, static_argnames=("network", "mean", "std", "size"))
def _project(network, variables, images, *, mean, std, size):
    x = normalize(for_evaluation(images, size=size), mean, std)
    return network.apply(variables, x, train=False, method="project")


def embedded(run: Restored, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return features ``[N, F]`` and projections ``[N, D]`` of images, frozen.

    Args:
        run: from `ssljax.runs.encoder.restore`.
        source: images in memory.
    """
    setup, state = run.setup, run.state
    # Without the predictor all arms are one program, which is compiled once.
    network = Network(setup.network.encoder, setup.network.projector, MLP(()))
    params = {k: v for k, v in state.params.items() if k != "predictor"}
    stats = {k: v for k, v in state.batch_stats.items() if k != "predictor"}
    variables = {"params": params, "batch_stats": stats}
    assert source.images is not None
    size = min(500, source.size)
    parts = [
        _project(
            network,
            variables,
            source.images[start : start + size],
            mean=setup.mean,
            std=setup.std,
            size=setup.view_size,
        )
        for start in range(0, source.size - size + 1, size)
    ]
    h, z = zip(*parts, strict=True)
    return np.concatenate(h), np.concatenate(z)


measures_of_rank = jax.jit(rank_measures, static_argnames="top")


def spectra(states: Sequence[Restored]) -> Row:
    """Measure the projections z of the test images at several checkpoints.

    Returns:
        ``steps``, and a list over them of ``rank_z``, the effective rank (entropy of
        the singular values), ``participation_z`` and ``eigenvalues_z``, those of the
        covariance.
    """
    test = load_split(states[-1].config, train=False)
    row: Row = {"steps": [state.step for state in states]}
    found = [measures_of_rank(embedded(s, test)[1], top=EIGENVALUES) for s in states]
    row["rank_z"] = [float(one["effective_rank"]) for one in found]
    row["participation_z"] = [float(one["participation_ratio"]) for one in found]
    row["eigenvalues_z"] = [one["eigenvalues"].tolist() for one in found]
    return row


def probed(*data: np.ndarray, num_classes: int) -> float:
    """Return the accuracy in percent of a linear probe with few penalties and steps.

    Args:
        data: training features and labels, test features and labels.
        num_classes: number of classes.
    """
    fitted = linear_probe(
        *data, num_classes=num_classes, l2_grid=(1e-3, 1e-2, 1e-1), max_iterations=100
    )
    return round(100 * fitted.accuracy, 2)


def probes(run: Restored) -> Row:
    """Fit linear probes on a run's features h and projections z.

    Returns:
        ``probe_h``, ``probe_z``: accuracies on the test images in percent; ``rank_h``:
        effective rank of h.
    """
    train, test = (load_split(run.config, train=one) for one in (True, False))
    row: Row = {}
    of_train, of_test = embedded(run, train), embedded(run, test)
    assert train.labels is not None and test.labels is not None
    for name, x, y in zip("hz", of_train, of_test, strict=True):
        labels = train.labels[: len(x)], test.labels[: len(y)]
        row[f"probe_{name}"] = probed(
            x, labels[0], y, labels[1], num_classes=train.num_classes or 0
        )
    row["rank_h"] = float(measures_of_rank(of_test[0], top=1)["effective_rank"])
    return row


def line_of_probes(row: Row) -> str:
    """Return effective rank and accuracies of a run as a line for the terminal."""
    return (
        f"effective rank of z {row['rank_z']:6.2f}  "
        f"probe on z {row['probe_z']:5.1f} %  on h {row['probe_h']:5.1f} %"
    )

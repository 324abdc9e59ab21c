"""The same work here and in PyTorch, block by block in turns: A B A B."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.benchmark.flops import matrix_flops
from ssljax.benchmark.pytorch.twin import Twin
from ssljax.benchmark.table import Row, row
from ssljax.benchmark.timing import spread
from ssljax.benchmark.trainer import Trainer
from ssljax.training.step import step_on_views

_BLOCKS = 5
_FASTER = "PyTorch's time over ours: above 1, ssljax is faster"


def compare(
    trainer: Trainer, *, steps: int, threads: int | None = None
) -> tuple[list[Row], dict[str, Any]]:
    """Measure a run and its twin in PyTorch in turns, and return the ratios.

    Two things are compared. The step on views that are on the device already: networks,
    loss, gradient, optimizer, target network and probe. And training end to end: from
    the images on, where ssljax makes the views on the device and PyTorch makes them in
    the workers of its loader.

    Args:
        trainer: a started run on one device.
        steps: steps of each program and kind, over all blocks.
        threads: CPU threads of PyTorch; None leaves its choice.

    Returns:
        The rows, and how PyTorch was set up.
    """
    twin = Twin(trainer.setup, trainer.source, threads=threads)
    blocks = min(_BLOCKS, steps)
    each = steps // blocks
    ours = sum(x.size for x in jax.tree.leaves(trainer.state.params))
    note = f"{twin.parameters():,} in PyTorch"
    rows = [row("parameters", "parameters", float(ours), "count", note)]
    run, flops = _on_views(trainer)
    ratio = twin.flops() / flops
    note = "PyTorch's counter over ours, matrix FLOPs on given views"
    rows.append(row("flops_ratio", "FLOPs, ratio", ratio, "ratio", note))
    about: dict[str, Any] = twin.describe()
    times = interleaved(run, twin.run, blocks=blocks, steps=each)
    rows += _rows("step", "step on given views", times, about["setup"])
    batches = None
    try:
        batches, about["transforms"] = twin.loader(steps=each + 1)
    except (ImportError, RuntimeError) as error:
        about["transforms"] = f"none: {' '.join(str(error).split())[:100]}"
        note = "torchvision does not load; pip install 'ssljax[bench]'"
        rows.append(row("end_to_end_ratio", "end to end, ratio", None, "ratio", note))
    if batches is not None:
        loader = batches
        times = interleaved(
            lambda n: trainer.end_to_end(n + 1)[0],
            lambda n: twin.end_to_end(loader),
            blocks=blocks,
            steps=each,
        )
        workers = trainer.config.data.workers
        note = f"{about['transforms']}, {workers} workers"
        rows += _rows("end_to_end", "end to end", times, note)
    peak = twin.peak_memory()
    if peak is not None:
        note = "allocated by PyTorch's tensors"
        rows.append(row("torch_peak_memory", "PyTorch's peak memory", peak, "B", note))
    about |= {"blocks": blocks, "steps_per_block": each}
    return rows, about


def interleaved(
    ours: Callable[[int], float],
    theirs: Callable[[int], float],
    *,
    blocks: int,
    steps: int,
) -> list[tuple[float, float]]:
    """Return seconds per step of two programs that take turns.

    What slows a machine down for a while then slows both down. A first pair of blocks
    is not counted: it compiles, chooses algorithms and starts workers.

    Args:
        ours: takes a number of steps; returns seconds per step.
        theirs: likewise.
        blocks: pairs of blocks that count.
        steps: per block.

    >>> turns = []
    >>> run = lambda name: lambda n: turns.append(name) or float(n)
    >>> interleaved(run("A"), run("B"), blocks=2, steps=3), "".join(turns)
    ([(3.0, 3.0), (3.0, 3.0)], 'ABABAB')
    """
    pairs = [(ours(steps), theirs(steps)) for _ in range(blocks + 1)]
    return pairs[1:]


def _on_views(trainer: Trainer) -> tuple[Callable[[int], float], float]:
    """Return our step on fixed views of noise, as a timed block, and its FLOPs."""
    setup = trainer.setup
    step: Any = jax.jit(partial(step_on_views, setup=setup), donate_argnums=0)
    rng = np.random.default_rng(0)
    batch, channels = setup.config.batch_size, setup.image_shape[2]
    views = [
        jnp.asarray(rng.standard_normal((batch, side, side, channels), np.float32))
        for side in setup.view_sizes
    ]
    most = setup.num_classes or 0
    drawn = rng.integers(0, most, batch) if most else np.full(batch, -1)
    labels = jnp.asarray(drawn, jnp.int32)

    def run(steps: int) -> float:
        jax.block_until_ready(trainer.state)
        start = time.perf_counter()
        for _ in range(steps):
            trainer.state, _ = step(trainer.state, views, labels)
        jax.block_until_ready(trainer.state)
        return (time.perf_counter() - start) / steps

    flops = matrix_flops(step.trace(trainer.state, views, labels).jaxpr)
    return run, flops


def _rows(
    key: str, title: str, times: list[tuple[float, float]], note: str
) -> list[Row]:
    ours, theirs = zip(*times, strict=True)
    ratios = spread(b / a for a, b in times)
    return [
        row(f"{key}_ssljax", f"{title}, ssljax", spread(ours), "s"),
        row(f"{key}_torch", f"{title}, PyTorch", spread(theirs), "s", note),
        row(f"{key}_ratio", f"{title}, ratio", ratios, "ratio", _FASTER),
    ]

"""Load the batches of a source in order, decoded ahead of the step that uses them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssljax.data.host_crop import HostCrops
from ssljax.data.order import batch_indices, process_share, steps_per_epoch
from ssljax.data.script import check_script
from ssljax.data.source import Source, warn_about_replacement
from ssljax.data.workers import held_back, prepare_worker

Batch = dict[str, Any]

_AHEAD = 2  # batches decoded ahead per worker; more only costs memory


@dataclass(frozen=True)
class LoadStep:
    """Load this process's share of the batch of one step.

    A class and not a closure, because it is pickled for spawned worker processes.
    """

    source: Source
    seed: int
    batch_size: int
    process_index: int
    process_count: int
    crops: HostCrops | None = None
    parts: int = 1

    def __call__(self, step: int) -> Batch:
        indices = batch_indices(
            self.seed, int(step), size=self.source.size, batch_size=self.batch_size
        )
        mine = self._share(indices)
        if self.crops is None:
            images, labels, replaced = self.source.read_many(mine)
            batch: Batch = {"image": images, "label": labels}
        else:
            # Drawn for the whole batch, which takes a millisecond, so that a row's crop
            # does not depend on the process that cuts it.
            numbers = self.crops.draw(self.seed, int(step), batch_size=self.batch_size)
            views, labels, replaced = self.source.read_crops(
                mine, self._share(numbers), self.crops
            )
            batch = {"views": views, "label": labels}
        # Reported by the consumer: this process may be a worker, whose output is lost.
        return batch | {"replaced": replaced} if replaced else batch

    def _share(self, rows: np.ndarray) -> np.ndarray:
        return process_share(
            rows,
            process_index=self.process_index,
            process_count=self.process_count,
            parts=self.parts,
        )


def batches(
    source: Source,
    *,
    seed: int,
    batch_size: int,
    start_step: int,
    stop_step: int,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    parts: int = 1,
    crops: HostCrops | None = None,
    on_replaced: Callable[[str, str], None] = warn_about_replacement,
) -> Iterator[Batch]:
    """Iterate over the batches of the steps ``start_step`` to ``stop_step - 1``.

    The batch of a step depends only on ``seed``, ``batch_size`` and the step. A run
    therefore resumes by passing another ``start_step``, and the numbers of workers and
    processes change nothing.

    Args:
        source: where images come from.
        seed: seed of the order.
        batch_size: images per global batch.
        start_step: first step, counted from 0.
        stop_step: the step after the last one.
        workers: processes that decode ahead; 0 decodes in threads of this process. A
            source in memory never starts any. Worker processes are spawned, so a
            script that uses them needs ``if __name__ == "__main__":``.
        process_index: this process among those that share a global batch.
        process_count: number of such processes; divides ``batch_size``.
        parts: as in `process_share`; the rows come in the order of the parts.
        crops: cut these views out of the original images, of a source that
            `has_originals`; None reads the images at their stored size.
        on_replaced: called with the name and the reason of every damaged image, when
            the batch with its replacement is consumed.

    Returns:
        Iterator of ``{"image": uint8 [b, H, W, C], "label": int32 [b]}`` with
        ``b = batch_size / process_count`` and -1 for unlabelled. With ``crops``,
        ``"views"`` replaces ``"image"``: a tuple of uint8 ``[b, S, S, C]``. Closing or
        dropping it stops the workers.

    Raises:
        ValueError: at the call, not at the first batch, if the numbers do not fit, if
            the source has no originals to cut ``crops`` out of, or if workers would run
            an unguarded script again.

    >>> from ssljax.data import from_arrays
    >>> source = from_arrays(np.zeros((8, 4, 4, 3), np.uint8))
    >>> [b["image"].shape for b in batches(
    ...     source, seed=0, batch_size=4, start_step=0, stop_step=2)]
    [(4, 4, 4, 3), (4, 4, 4, 3)]
    """
    # Called for their checks: the iterator itself would raise at the first batch only.
    steps_per_epoch(source.size, batch_size)
    process_share(
        np.empty(batch_size),
        process_index=process_index,
        process_count=process_count,
        parts=parts,
    )
    if seed < 0 or not 0 <= start_step <= stop_step or workers < 0:
        raise ValueError(
            "seed, start_step and workers must be >= 0 and stop_step >= start_step, "
            f"got {seed}, {start_step}, {workers} and {stop_step}"
        )
    if crops is not None and not source.has_originals:
        raise ValueError(
            f"{source.name} has no original images to crop; stream a folder or a TFDS "
            "set, or leave crops out"
        )
    load = LoadStep(
        source, seed, batch_size, process_index, process_count, crops, parts
    )
    if source.images is not None or start_step == stop_step:
        return (load(step) for step in range(start_step, stop_step))
    if workers:
        check_script()
    return _prefetched(load, start_step, stop_step, workers, on_replaced)


def _prefetched(
    load: LoadStep,
    start: int,
    stop: int,
    workers: int,
    on_replaced: Callable[[str, str], None],
) -> Iterator[Batch]:
    import grain
    from absl import flags

    if workers and not flags.FLAGS.is_parsed():
        # grain passes the flags to its workers and fails if nobody parsed them.
        flags.FLAGS.mark_as_parsed()
    # One element is one step, so slicing among workers can never regroup examples, as
    # it does where examples are batched after `to_iter_dataset`.
    steps = grain.MapDataset.range(start, stop).map(load)
    dataset = steps.to_iter_dataset(
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
    )
    if workers:
        count = min(workers, stop - start)
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=count, per_worker_buffer_size=1),
            worker_init_fn=prepare_worker,
        )
    iterator: Any = None
    try:
        # Workers and the threads that start them are made at the first batch.
        with held_back() if workers else contextlib.nullcontext():
            iterator = iter(dataset)
            batch = next(iterator, None)
        while batch is not None:
            for name, reason in batch.pop("replaced", ()):
                on_replaced(name, reason)
            yield batch
            batch = next(iterator, None)
    finally:
        if hasattr(iterator, "close"):
            iterator.close()

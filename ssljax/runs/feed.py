"""A run's compiled step and its inputs, in the order of the steps.

Small data sets live on the devices, and only the indices of a batch travel; the batches
of larger ones are decoded ahead and placed as they come.
"""

import collections
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ssljax.data import Source, batch_indices, batches, process_share
from ssljax.data.source import warn_about_replacement
from ssljax.training import devices, engines
from ssljax.training.state import Setup
from ssljax.training.step import batch_shapes


def placed_ahead(
    stream: Iterator[Any], place: Callable[[Any], Any], *, count: int = 1
) -> Iterator[tuple[Any]]:
    """Place batches before they are asked for, so that no step waits for its transfer.

    Args:
        stream: host batches, in order.
        place: starts to copy a batch to the devices, and returns at once.
        count: batches on the devices besides the one in use.

    Returns:
        Iterator of ``(placed,)``. An error of the stream is raised when its turn comes,
        after the batches before it.

    Source:
        big_vision, ``input_pipeline.prefetch_iterator``.

    >>> list(placed_ahead(iter([1, 2, 3]), str))
    [('1',), ('2',), ('3',)]
    """
    ahead: collections.deque[Any] = collections.deque()
    failed: Exception | None = None
    ended = False
    while True:
        while not ended and len(ahead) <= count:
            try:
                ahead.append(place(next(stream)))
            except StopIteration:
                ended = True
            except Exception as error:
                failed, ended = error, True
        if ahead:
            yield (ahead.popleft(),)
        elif failed is not None:
            raise failed
        else:
            return


class Feed:
    """Place the batches of a data set for the step that `compile` returns.

    Args:
        setup: static parts of the run.
        source: the training images; those in memory are put on the devices now.
        mesh: the devices.
    """

    def __init__(self, setup: Setup, source: Source, mesh: Mesh):
        self.setup, self.source, self.mesh = setup, source, mesh
        self.resident = source.images is not None
        self._data: Any = None
        if self.resident:
            labels = source.labels
            if labels is None:
                labels = np.full(source.size, -1, np.int32)
            self._data = devices.place(
                {"image": source.images, "label": labels}, devices.replicated(mesh)
            )

    def compile(self) -> Callable[..., Any]:
        """Return the run's step, ``step(state, *inputs)``; the state is donated."""
        return engines.compiled_step(self.setup, self.mesh, resident=self.resident)

    def compile_ahead(self, state: Any) -> "Future[Callable[..., Any]]":
        """Compile the run's step in a thread, while this one makes the state.

        Args:
            state: shapes, types and shardings of the state, as of `devices.abstract`.

        Returns:
            The future of the step, ``step(state, *inputs)``. In microbatches and under
            pmap it is compiled at its first call, as without a thread.
        """
        config, step = self.setup.config, self.compile()
        if config.devices.engine != "jit" or not hasattr(step, "lower"):
            unchanged: Future[Callable[..., Any]] = Future()
            unchanged.set_result(step)
            return unchanged
        if self.resident:
            inputs = next(iter(self.inputs(0, 1)))
        else:
            shapes = batch_shapes(self.setup)
            inputs = (devices.abstract(shapes, devices.over_batch(self.mesh)),)
        # Of this thread; another has the default.
        wide = jnp.result_type(float) == jnp.float64

        def run() -> Callable[..., Any]:
            with jax.enable_x64(wide):
                return step.lower(state, *inputs).compile()

        pool = ThreadPoolExecutor(1, "compile")
        compiled = pool.submit(run)
        pool.shutdown(wait=False)
        return compiled

    def inputs(
        self,
        start: int,
        stop: int,
        *,
        on_replaced: Callable[[str, str], None] = warn_about_replacement,
    ) -> Iterator[tuple[Any, ...]]:
        """Iterate over the inputs of the steps ``start`` to ``stop - 1``.

        Args:
            start: first step, counted from 0.
            stop: the step after the last one.
            on_replaced: called with the name and the reason of every damaged image.
        """
        if self.resident:
            return self._from_devices(start, stop)
        config = self.setup.config
        stream = batches(
            self.source,
            seed=config.seed,
            batch_size=config.batch_size,
            start_step=start,
            stop_step=stop,
            workers=config.data.workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            parts=self._parts,
            crops=self.setup.host_crops,
            on_replaced=on_replaced,
        )
        return placed_ahead(stream, self._place)

    def _from_devices(self, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
        config = self.setup.config
        for step in range(start, stop):
            indices = batch_indices(
                config.seed, step, size=self.source.size, batch_size=config.batch_size
            )
            mine = process_share(
                indices,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                parts=self._parts,
            )
            yield self._data, self._place(mine)

    @property
    def _parts(self) -> int:
        config = self.setup.config
        return config.batch_size // (config.devices.microbatch or config.batch_size)

    def _place(self, rows: Any) -> Any:
        settings = self.setup.config.devices
        return engines.place_rows(
            rows, self.mesh, engine=settings.engine, size=settings.microbatch
        )

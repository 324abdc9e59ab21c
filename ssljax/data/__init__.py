"""Images: where they come from, in which order, and as which views."""

from ssljax.data.load import load
from ssljax.data.order import batch_indices, process_share, steps_per_epoch
from ssljax.data.source import DataError, Source, from_arrays
from ssljax.data.stream import batches
from ssljax.data.subsets import channel_statistics, subset

__all__ = [
    "DataError",
    "Source",
    "batch_indices",
    "batches",
    "channel_statistics",
    "from_arrays",
    "load",
    "process_share",
    "steps_per_epoch",
    "subset",
]

"""The images of a benchmark: the recipe's, or synthetic ones of the same shape."""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ssljax.config import Config
from ssljax.data import Source, from_arrays
from ssljax.data.catalogue import Entry, catalogue
from ssljax.data.source import MEMORY_LIMIT, Examples, Views
from ssljax.runs.setup import load_split

_POOL = 64  # different images of a set that is streamed
_USUAL_SIDE = 224  # of a set whose images vary, as `data.load` chooses for ImageNet


@dataclass(frozen=True)
class SyntheticReader:
    """Read images of noise as fast as memory allows; nothing is decoded."""

    pool: np.ndarray = field(repr=False)
    """uint8 ``[P, H, W, C]``, repeated for all indices."""
    classes: int

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        return self.pool[index % len(self.pool)], index % self.classes

    def many(self, indices: np.ndarray) -> Examples:
        """Return the images of many indices, as `Source.read_many` does."""
        images = self.pool[indices % len(self.pool)]
        return Examples(images, (indices % self.classes).astype(np.int32))

    def crops(self, indices: np.ndarray, numbers: np.ndarray, crops: Any) -> Views:
        """Return noise of the sizes of the views, as a reader of photographs would."""
        pixels = self.many(indices).images
        rows = np.arange(max(crops.sizes)) % pixels.shape[1]
        views = tuple(pixels[:, rows[:s]][:, :, rows[:s]] for s in crops.sizes)
        return Views(views, (indices % self.classes).astype(np.int32))


def load_or_imitate(
    config: Config,
    *,
    train: bool,
    labelled: bool = False,
    image_shape: tuple[int, int, int] | None = None,
) -> tuple[Source, bool]:
    """Load a split of a config's data set, or imitate a set that is not prepared.

    Args:
        config: the recipe.
        train: as for `ssljax.runs.setup.load_split`.
        labelled: likewise.
        image_shape: likewise.

    Returns:
        The images, and whether they are synthetic.

    Raises:
        ConfigError: if the config does not name data that can be loaded or imitated.
    """
    known = {entry.name: entry for entry in catalogue(config.data.data_dir)}
    entry = known.get(config.data.name)
    if entry is not None and not entry.present:
        return synthetic(config, entry, train=train, labelled=labelled), True
    source = load_split(config, train=train, labelled=labelled, image_shape=image_shape)
    return source, False


def synthetic(
    config: Config, entry: Entry, *, train: bool, labelled: bool = False
) -> Source:
    """Return images of noise with the shape, number and classes of a known data set.

    Sets of up to 2 GiB are in memory, larger ones are streamed, as the real ones are.

    Args:
        config: says which split, how many images, and of which size.
        entry: the data set's row in the catalogue.
        train: the training split, otherwise the test split.
        labelled: the split that classifiers are fitted on.
    """
    data = config.data
    split = (labelled and data.labelled_split) or data.split
    split = split if train else data.test_split
    size = sum(entry.splits.get(name, 0) for name in split.split("+"))
    size = size or max(entry.splits.values())
    size = min(size, (data.examples if train else data.test_examples) or size)
    sides = re.findall(r"\d+", entry.image_size) or [_USUAL_SIDE]
    side = data.image_size or int(sides[0])
    shape, classes = (side, side, 3), entry.classes or 1
    rng = np.random.default_rng(config.seed)

    def noise(count: int) -> np.ndarray:
        return rng.integers(0, 256, (count, *shape), np.uint8)

    streamed = data.store == "stream" or (
        data.store == "auto" and size * math.prod(shape) > MEMORY_LIMIT
    )
    few = noise(min(size, _POOL) if streamed else size)
    source = from_arrays(
        few,
        np.arange(len(few), dtype=np.int32) % classes,
        class_names=tuple(map(str, range(classes))),
        name=data.name,
        split=split,
    )
    if not streamed:
        return source
    reader = SyntheticReader(few, classes)
    return replace(source, size=size, labels=None, images=None, read=reader)

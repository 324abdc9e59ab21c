"""Load a data set by name: the generated one, a folder of images, or a TFDS set."""

from ssljax.data import decode, shapes
from ssljax.data.folder import load_folder
from ssljax.data.source import DataError, Source, from_arrays
from ssljax.data.subsets import subset_indices
from ssljax.data.tfds import load_tfds

STORES = ("auto", "memory", "stream")


def load(
    name: str,
    *,
    split: str = "train",
    path: str | None = None,
    data_dir: str | None = None,
    image_size: int | None = None,
    examples: int | None = None,
    store: str = "auto",
    seed: int = 0,
) -> Source:
    """Load a data set by name.

    Args:
        name: ``"shapes"`` (generated), ``"folder"`` (with ``path``) or a TFDS name
            such as ``"cifar10"`` or ``"imagenet_resized/64x64"``.
        split: ``"train"``, ``"test"``, or the name of another split of the data set.
            ``"test"`` is the labelled held-out split, whatever the set calls it.
        path: the folder; only for ``"folder"``.
        data_dir: TFDS directory; None reads TFDS_DATA_DIR, then
            ``~/tensorflow_datasets``.
        image_size: side in pixels: the shorter side is resized to it (bicubic,
            antialiased), then the centre is cropped. None keeps the set's own size. If
            sizes vary, None chooses the largest of 32, 64, 96 and 224 that is not above
            the median shorter side, and ``note`` reports it.
        examples: keep a fixed random subset of this many images; only these are
            decoded.
        store: ``"memory"``, ``"stream"``, or ``"auto"``: memory up to 2 GiB decoded.
        seed: seed of the subset.

    Returns:
        The `Source`.

    Raises:
        DataError: if the set is missing, empty or unreadable, or an argument is wrong;
            the message names the fix.

    >>> load("shapes", split="test", examples=100).image_shape
    (32, 32, 3)
    """
    if store not in STORES:
        raise DataError(f"store is {store!r}; allowed: auto, memory, stream")
    if image_size is not None and image_size < 1:
        raise DataError(f"image_size is {image_size}; allowed: at least 1")
    if path is not None and name != "folder":
        raise DataError(
            f"path is set but the data set is {name!r}; use --data.name folder, or "
            "leave --data.path out"
        )
    if name == "shapes":
        return _load_shapes(split, image_size, examples, store, seed)
    if name == "folder":
        if not path:
            raise DataError("a folder of images needs a path: --data.path DIR")
        return load_folder(
            path,
            split=split,
            image_size=image_size,
            examples=examples,
            store=store,
            seed=seed,
        )
    if name == "arrays":
        raise DataError(
            "'arrays' cannot be loaded by name; use ssljax.data.from_arrays(images)"
        )
    return load_tfds(
        name,
        split=split,
        data_dir=data_dir,
        image_size=image_size,
        examples=examples,
        store=store,
        seed=seed,
    )


def _load_shapes(split, image_size, examples, store, seed) -> Source:
    """Load the generated set, which is always in memory."""
    if split not in shapes.SIZES:
        raise DataError(f"'shapes' has no split {split!r}; use train or test")
    if store == "stream":
        raise DataError("'shapes' is generated in memory; use store auto or memory")
    rows = None
    if examples is not None:
        total = shapes.SIZES[split]
        rows = tuple(subset_indices(total, examples, seed=seed, name="shapes").tolist())
    images, labels = shapes.generate(split, rows=rows)
    if image_size is not None and image_size != images.shape[1]:
        images = decode.resize_many(images, image_size)
    return from_arrays(
        images, labels, class_names=shapes.CLASS_NAMES, name="shapes", split=split
    )

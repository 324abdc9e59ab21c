"""Features of a run's images: one pass over them, kept on disk where it takes long."""

import functools
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.config.paths import in_bucket
from ssljax.config.user_cache import user_cache
from ssljax.data import Source
from ssljax.evaluation.features import Encoder, Extracted, extract_all, raw_pixels
from ssljax.evaluation.rows import mesh_of
from ssljax.runs.digest import digest
from ssljax.runs.encoder import Restored
from ssljax.runs.folder import RunFolder
from ssljax.runs.monitor import encode
from ssljax.training.state import Setup

BATCH = 512
"""Images encoded at a time, on all devices together."""
RAW_PIXELS = "raw pixels"
Compute = Callable[..., jax.Array]
"""Features ``[B, F]`` of ``(params, batch_stats, images, setup=...)``, see `encode`."""


def encoder_on_devices(run: Restored, compute: Compute = encode) -> Encoder:
    """Return the frozen encoder of a run, which shares a batch among the devices.

    Args:
        run: the restored run. Runs with the same setup share one compiled program.
        compute: what to compute of the images.

    Returns:
        A function of uint8 images ``[B, H, W, C]`` to features ``[B, F]``; the devices
        of this process take equal parts where B can be divided.
    """
    compiled, rows, whole = _program(run.setup, compute)
    params, stats = jax.device_put((run.state.params, run.state.batch_stats), whole)
    return lambda images: compiled(params, stats, jax.device_put(images, rows))


@functools.lru_cache(maxsize=8)
def _program(
    setup: Setup, compute: Compute
) -> tuple[Callable[..., jax.Array], NamedSharding, NamedSharding]:
    """Return the compiled program, and where it wants images and weights."""
    count = len(jax.local_devices())
    mesh = mesh_of(jax.local_devices()[: count if BATCH % count == 0 else 1])
    rows, whole = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
    compiled = jax.jit(
        lambda params, stats, x: compute(params, stats, x, setup=setup),
        out_shardings=rows,
    )
    return compiled, rows, whole


def key_of(run: Restored) -> str:
    """Return twelve hex digits of what the encoder computes: settings and weights."""
    config = run.config
    facts = (config.model, run.setup.view_size, run.setup.mean, run.setup.std)
    weights = digest((run.state.params, run.state.batch_stats))
    return hashlib.sha256(repr((facts, weights)).encode()).hexdigest()[:12]


def embed(
    encoders: Mapping[str, tuple[str, Callable[[], Encoder]]],
    source: Source,
    *,
    folder: Path | None,
    pixels: bool = True,
    quiet: bool = False,
) -> Extracted:
    """Return the features of all images by every encoder, from one pass over them.

    Args:
        encoders: by name, what tells it from others (see `key_of`), and a function that
            makes it, called only where its features are not kept.
        source: the images.
        folder: keeps the features of images that are not in memory, for the next
            evaluation; None keeps nothing. It may be deleted.
        pixels: add raw pixels as one more encoder.
        quiet: show no progress bar.

    Returns:
        The features in the order of ``encoders``, and the labels that were read with
        the images. What is kept on disk is mapped into memory, not loaded.
    """
    wanted = dict(encoders)
    if pixels:
        wanted[RAW_PIXELS] = (RAW_PIXELS, lambda: raw_pixels)
    if source.images is not None or folder is None:
        made = {name: make() for name, (_, make) in wanted.items()}
        return _pass(made, source, None, quiet=quiet)
    place = folder / f"{source.split}-{_stamp(source)}"
    files = {
        name: place / f"{hashlib.sha256(key.encode()).hexdigest()[:12]}.npy"
        for name, (key, _) in wanted.items()
    }
    missing = {
        name: wanted[name][1]() for name, file in files.items() if not file.exists()
    }
    labels = place / "labels.npy"
    if missing or not labels.exists():
        place.mkdir(parents=True, exist_ok=True)
        # Complete or absent: an interrupted pass leaves nothing that looks finished.
        temporary = place / f".{uuid.uuid4().hex[:8]}"
        temporary.mkdir()
        try:
            found = _pass(
                missing,
                source,
                lambda name, shape: _mapped(temporary / files[name].name, shape),
                quiet=quiet,
            )
            if found.labels is None:
                raise ValueError("a source that is not in memory must give labels")
            np.save(temporary / labels.name, found.labels)
            del found
            for file in temporary.iterdir():
                file.replace(place / file.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    features = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
    return Extracted(features, np.load(labels))


def embed_sets(
    folder: RunFolder,
    encoders: Mapping[str, tuple[str, Callable[[], Encoder]]],
    sources: Sequence[Source],
    *,
    labelled: bool = True,
    pixels: bool = True,
) -> list[Extracted]:
    """Return the features of several sets of images, see `embed`.

    Args:
        folder: the run's folder, which keeps the features of streamed sets; of a run
            in a bucket, the user's cache folder does.
        encoders: as for `embed`.
        sources: the sets.
        labelled: return the images that have a label, and their classes.
        pixels: add raw pixels as one more encoder.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    kept = folder.path / "features"
    if in_bucket(kept):  # where no file can be mapped into memory
        kept = user_cache("features")
    with folder.refusing("make room or make it writable"):
        found = [
            embed(encoders, source, folder=kept, pixels=pixels) for source in sources
        ]
    if not labelled:
        return found
    return [_with_labels(*pair) for pair in zip(found, sources, strict=True)]


def _with_labels(found: Extracted, source: Source) -> Extracted:
    """Return the features and labels of all labelled images."""
    classes = found.labels if source.labels is None else source.labels
    if classes is None or (classes >= 0).all():
        return Extracted(found.features, classes)
    rows = np.flatnonzero(classes >= 0)
    features = {name: each[rows] for name, each in found.features.items()}
    return Extracted(features, classes[rows])


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Create a float32 array in a file."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):
        # A disk that fills up under a mapped file would end the process by a signal.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _stamp(source: Source) -> str:
    """Return hex digits that change when an image does, without reading them all."""
    # A folder's readers know every file's size and time.
    stamp = getattr(source.read, "stamp", str)()
    facts = repr((source.fingerprint(), stamp))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _pass(
    encoders: Mapping[str, Encoder],
    source: Source,
    allocate: Callable[[str, tuple[int, int]], np.ndarray] | None,
    *,
    quiet: bool,
) -> Extracted:
    from tqdm import tqdm

    images = source.images if source.images is not None else source
    shown = not quiet and source.images is None
    with tqdm(
        total=source.size,
        unit=" images",
        desc=f"encoding {source.split}",
        file=sys.stderr,
        disable=not shown,
        dynamic_ncols=True,
        # A log file gets a line now and then.
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
    ) as bar:
        return extract_all(
            encoders, images, batch_size=BATCH, allocate=allocate, done=bar.update
        )

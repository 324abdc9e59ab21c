"""Write a smaller copy of a data set: a folder of JPEGs that decode much faster.

The copy has one folder per split and class, as `ssljax.data.folder` reads it. An
interrupted copy is continued by the same call: files appear complete or not at all.
"""

import io
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssljax.config.paths import local
from ssljax.data.decode import eight_bit, parallel_map, threads, upright
from ssljax.data.decode_crops import decode_crops
from ssljax.data.depth import Levels
from ssljax.data.encoded import Encoded, encoded_set
from ssljax.data.host_crop import HostCrops
from ssljax.data.opening import (
    UnreadableImage,
    header_size,
    open_image,
    orientation,
    unreadable,
)
from ssljax.data.presets import View
from ssljax.data.source import DataError
from ssljax.data.subsets import subset_indices

RECORD = ".prepared.json"
"""What the copy was made from, in the copy; the loader passes over dotted names."""
SAMPLE = 200  # images that an estimate is made from
VIEW = 224  # pixels of the views whose crops are counted
_CHUNK = 1024  # images read at once


@dataclass(frozen=True)
class Plan:
    """What a smaller copy costs and gains, from a sample.

    Attributes:
        images: number of images.
        seconds: time to write the copy here.
        bytes_before: size of the encoded images.
        bytes_after: size of the copy.
        median: median width and height of the images.
        rate_before: images per second and core, decoded into two views of 224 pixels.
        rate_after: the same from the copy.
        enlarged_before: share of random crops that are smaller than their view.
        enlarged_after: the same from the copy.
    """

    images: int
    seconds: float
    bytes_before: float
    bytes_after: float
    median: tuple[int, int]
    rate_before: float
    rate_after: float
    enlarged_before: float
    enlarged_after: float


def smaller_jpeg(
    data: bytes | str, *, size: int, quality: int, levels: Levels | None = None
) -> bytes:
    """Encode an image as JPEG with its shorter side reduced to ``size``.

    A JPEG that is small enough and upright is returned as it is: encoding it again
    would only lose. Smaller images are not enlarged.

    Args:
        data: the encoded bytes, or the path of a file.
        size: pixels of the shorter side, at most.
        quality: of the JPEG, 1 to 95.
        levels: which value is white in images of more than 8 bits.

    Raises:
        UnreadableImage: if the image cannot be decoded.
    """
    from PIL import Image

    try:
        with open_image(data) as image:
            turn = orientation(image)
            if image.format == "JPEG":
                plain = image.mode in ("RGB", "L") and turn == 1
                if plain and min(image.size) <= size:
                    image.load()  # a damaged file is not a copy
                    return data if isinstance(data, bytes) else Path(data).read_bytes()
                # At twice the size the antialiasing filter still has its say.
                image.draft(None, (2 * size, 2 * size))
            mode = "L" if image.mode in ("L", "1") else "RGB"
            made = upright(eight_bit(image, mode, levels), orientation(image))
        scale = size / min(made.size)
        if scale < 1:
            width, height = (max(1, round(side * scale)) for side in made.size)
            made = made.resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        made.save(file, "JPEG", quality=quality)
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error
    return file.getvalue()


def plan_smaller(
    name: str, *, size: int, quality: int, data_dir: str | None = None
) -> Plan:
    """Estimate a smaller copy from a sample of the images, writing nothing.

    Args:
        name: a folder of images, or a prepared TFDS set.
        size: pixels of the copy's shorter side.
        quality: of its JPEGs.
        data_dir: TFDS directory.

    Raises:
        DataError: if the set cannot be read.
    """
    found = encoded_set(name, data_dir)
    chosen = subset_indices(found.size, min(SAMPLE, found.size), seed=0)
    before, after, sizes, seconds = [], [], [], 0.0
    for data, _ in found.read(chosen):
        try:
            shape = header_size(data)
            start = time.perf_counter()
            made = smaller_jpeg(data, size=size, quality=quality, levels=found.levels)
            seconds += time.perf_counter() - start
        except UnreadableImage:
            continue
        sizes.append(shape)
        before.append(data)
        after.append(made)
    if not sizes:
        raise DataError(f"none of {len(chosen)} images of {name!r} can be read")
    share = found.size / len(chosen)
    crops = HostCrops((View(), View()), (VIEW, VIEW))
    small = [header_size(made) for made in after]
    return Plan(
        images=found.size,
        seconds=seconds * share / threads(),
        bytes_before=share * sum(map(_length, before)),
        bytes_after=share * sum(map(len, after)),
        median=(
            int(statistics.median(width for width, _ in sizes)),
            int(statistics.median(height for _, height in sizes)),
        ),
        rate_before=_rate(before, crops, found.levels),
        rate_after=_rate(after, crops, None),
        enlarged_before=crops.enlarged(sizes),
        enlarged_after=crops.enlarged(small),
    )


def write_smaller(
    name: str,
    out: str | Path,
    *,
    size: int,
    quality: int,
    data_dir: str | None = None,
    quiet: bool = False,
) -> tuple[int, list[tuple[str, str]]]:
    """Write the copy, or what is missing of it.

    Args:
        name: a folder of images, or a prepared TFDS set.
        out: the folder of the copy.
        size: pixels of the shorter side, at most.
        quality: of the JPEGs.
        data_dir: TFDS directory.
        quiet: show no progress bar.

    Returns:
        The number of images of the copy, and ``(name, reason)`` of those that cannot be
        read.

    Raises:
        DataError: if the set cannot be read, or ``out`` is another copy or not empty.
    """
    from tqdm import tqdm

    out = local(out, "--out")
    found = encoded_set(name, data_dir)
    _claim(out, found, size=size, quality=quality)
    missing = found.missing(out)
    skipped: list[tuple[str, str]] = []

    def copied(item: tuple[bytes | str, str]) -> str | None:
        data, name = item
        try:
            made = smaller_jpeg(data, size=size, quality=quality, levels=found.levels)
        except UnreadableImage as error:
            return str(error)
        _write(out / name, made)
        return None

    with tqdm(
        total=found.size,
        initial=found.size - len(missing),
        unit=" images",
        desc=f"writing {out}",
        disable=quiet,
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
    ) as progress:
        for start in range(0, len(missing), _CHUNK):
            items = found.read(missing[start : start + _CHUNK])
            for item, reason in zip(items, parallel_map(copied, items), strict=True):
                if reason is not None:
                    skipped.append((item[1], reason))
            progress.update(len(items))
    record = json.loads((out / RECORD).read_text("utf-8")) | {"complete": True}
    _write(out / RECORD, json.dumps(record, indent=2).encode())
    return found.size - len(skipped), skipped


def check_complete(root: Path) -> None:
    """Refuse a copy that was interrupted: images would be missing in silence.

    Raises:
        DataError: with the command that completes it.
    """
    try:
        record = json.loads((root / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(record, dict) and record.get("complete") is False:
        raise DataError(
            f"the copy in {str(root)!r} was interrupted; run ssljax data prepare "
            f"{record.get('source')} --out {root} again, with the same options"
        )


def _claim(out: Path, found: Encoded, *, size: int, quality: int) -> None:
    """Create the folder of the copy, or check that it is this copy."""
    record = {"source": found.source, "image_size": size, "quality": quality}
    if Path(found.source).is_dir():
        inside = Path(found.source).resolve()
        if inside == out.resolve() or inside in out.resolve().parents:
            raise DataError(f"--out {out} is inside the folder that is copied")
    place = out / RECORD
    if place.exists():
        kept = json.loads(place.read_text("utf-8"))
        for key, value in record.items():
            if kept.get(key) != value:
                raise DataError(
                    f"{out} is a copy with another {key} ({kept.get(key)!r}, asked "
                    f"for {value!r}); choose another --out"
                )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--out {out} is not empty; choose a new folder")
    out.mkdir(parents=True, exist_ok=True)
    _write(place, json.dumps(record | {"complete": False}, indent=2).encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _length(data: bytes | str) -> int:
    return len(data) if isinstance(data, bytes) else os.stat(data).st_size


def _rate(
    images: Sequence[bytes | str], crops: HostCrops, levels: Levels | None
) -> float:
    """Return images per second of one core, each decoded once into all views."""
    numbers = crops.draw(0, 0, batch_size=len(images))
    start = time.perf_counter()
    for data, row in zip(images, numbers, strict=True):
        decode_crops(data, row, crops, levels=levels)
    return len(images) / (time.perf_counter() - start)

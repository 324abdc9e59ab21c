"""List the known data sets and those on this machine, and prepare one."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from ssljax.config.paths import local
from ssljax.data import shapes
from ssljax.data.source import DataError
from ssljax.data.tfds import builder, check_prepared
from ssljax.data.tfds_folder import tfds_dir


@dataclass(frozen=True)
class Entry:
    """A row of the catalogue.

    Attributes:
        name: the value for ``data.name``.
        splits: images per split, by the set's own split names; empty if unknown.
        image_size: such as ``"32 x 32"``, or ``"varies"``.
        classes: number of classes; None if unknown or unlabelled.
        how: where it comes from, or how to get it.
        present: whether it can be loaded on this machine now.
    """

    name: str
    splits: dict[str, int]
    image_size: str
    classes: int | None
    how: str
    present: bool


# name: (splits, image size, classes, needs TensorFlow, remark). Preparing needs
# TensorFlow where TFDS has to encode pixels. Sizes as published by TFDS.
_KNOWN: dict[str, tuple[dict[str, int], str, int, bool, str]] = {
    "cifar10": ({"train": 50_000, "test": 10_000}, "32 x 32", 10, True, "163 MB"),
    "cifar100": ({"train": 50_000, "test": 10_000}, "32 x 32", 100, True, "161 MB"),
    "stl10": (
        {"train": 5_000, "test": 8_000, "unlabelled": 100_000},
        "96 x 96",
        10,
        True,
        "2.5 GB",
    ),
    "imagenette": (
        {"train": 9_469, "validation": 3_925},
        "varies",
        10,
        False,
        "1.5 GB",
    ),
    "imagenet_resized/64x64": (
        {"train": 1_281_167, "validation": 50_000},
        "64 x 64",
        1000,
        True,
        "13 GB",
    ),
    "imagenet2012": (
        {"train": 1_281_167, "validation": 50_000},
        "varies",
        1000,
        False,
        "155 GB, archives from image-net.org by hand",
    ),
}


def catalogue(data_dir: str | None = None) -> list[Entry]:
    """List the known and the prepared data sets, without network or TensorFlow.

    Args:
        data_dir: TFDS directory; None reads TFDS_DATA_DIR, then
            ``~/tensorflow_datasets``.

    Returns:
        The generated set, folders, well-known TFDS sets, and then all others that have
        been prepared in ``data_dir``.

    >>> catalogue()[0].name
    'shapes'
    """
    rows = [
        Entry("shapes", dict(shapes.SIZES), "32 x 32", 12, "generated", True),
        Entry("folder", {}, "varies", None, "your images: --data.path DIR", True),
    ]
    found = _prepared(local(tfds_dir(data_dir), "the TFDS directory"))
    for name, (splits, image_size, classes, _, remark) in _KNOWN.items():
        present = name in found
        how = "prepared" if present else f"ssljax data prepare {name} ({remark})"
        rows.append(Entry(name, splits, image_size, classes, how, present))
    for name in sorted(found.keys() - _KNOWN.keys()):
        splits, image_size, classes = found[name]
        rows.append(Entry(name, splits, image_size, classes, "prepared", True))
    return rows


def prepare(name: str, data_dir: str | None = None) -> str:
    """Download a TFDS set and write it as array_record files, unless that is done.

    Args:
        name: TFDS name, such as ``"cifar10"``.
        data_dir: TFDS directory; None reads TFDS_DATA_DIR, then
            ``~/tensorflow_datasets``.

    Returns:
        The folder of the prepared set.

    Raises:
        DataError: if the set is unknown, needs TensorFlow that is not installed, needs
            files downloaded by hand, or the download fails.
    """
    if name in ("shapes", "folder", "arrays"):
        raise DataError(f"{name!r} needs no preparation; use it directly")
    folder = str(local(tfds_dir(data_dir), "the TFDS directory"))
    made = builder(name, folder, file_format="array_record")
    if made.info.splits:
        check_prepared(made, name, folder)
        return str(made.data_path)
    known = _KNOWN.get(name.split(":")[0])
    if known and known[3] and importlib.util.find_spec("tensorflow") is None:
        raise DataError(_needs_tensorflow(name))
    try:
        made.download_and_prepare()
    except ImportError as error:
        if "tensorflow" in str(error).lower():
            raise DataError(_needs_tensorflow(name)) from error
        raise DataError(
            f"preparing {name!r} needs another package; run "
            f"pip install {error.name or error}"
        ) from error
    except AssertionError as error:
        # TFDS asserts that files to be downloaded by hand are in place.
        text = " ".join(str(error).split())
        raise DataError(
            f"{name!r} needs files that you must download by hand: {text}"
        ) from error
    except Exception as error:  # network, disk, checksum: dozens of types
        text = " ".join(str(error).split()) or "unknown reason"
        raise DataError(f"preparing {name!r} in {folder} failed: {text}") from error
    return str(made.data_path)


def _needs_tensorflow(name: str) -> str:
    return (
        f"preparing {name!r} needs TensorFlow (reading it does not): run pip install "
        f'"ssljax[prepare]" and `ssljax data prepare {name}`, or copy a prepared '
        "array_record folder and set TFDS_DATA_DIR"
    )


def _prepared(root: Path) -> dict[str, tuple[dict[str, int], str, int | None]]:
    """Find the image sets below ``root`` in array_record files, by their JSON.

    The JSON is read directly, because importing TFDS takes seconds.
    """
    found = {}
    for path in sorted(
        [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
    ):
        try:
            info = json.loads(path.read_text())
            features = json.loads((path.parent / "features.json").read_text())
        except (OSError, ValueError):
            continue  # its preparation did not finish
        if info.get("fileFormat") != "array_record":
            continue
        name = path.parent.parent.relative_to(root).as_posix()
        described = _describe(features)
        if described:
            splits = {
                s["name"]: sum(map(int, s.get("shardLengths", [])))
                for s in info.get("splits", [])
            }
            found[name] = (splits, *described)
    return found


def _describe(features: dict) -> tuple[str, int | None] | None:
    """Return image size and number of classes, or None if there is no image."""
    parts = features.get("featuresDict", {}).get("features", {})
    images = [f["image"] for f in parts.values() if "image" in f]
    if not images:
        return None
    sides = images[0].get("shape", {}).get("dimensions", [])[:2]
    fixed = len(sides) == 2 and all(int(s) > 0 for s in sides)
    classes = [
        f["classLabel"].get("numClasses") for f in parts.values() if "classLabel" in f
    ]
    number = int(classes[0]) if classes and classes[0] else None
    return (f"{sides[0]} x {sides[1]}" if fixed else "varies"), number

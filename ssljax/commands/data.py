"""`ssljax data list` and `ssljax data prepare NAME`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssljax.commands.parse import parse_positional
from ssljax.commands.tables import columns
from ssljax.config.checks import ConfigError

if TYPE_CHECKING:
    from ssljax.data.smaller import Plan

_USAGE = """usage: ssljax data list | ssljax data prepare NAME [--KEY VALUE ...]

list     data sets: which are on this machine, and how to get the others
prepare  download a TFDS data set and write it in the format that training reads;
         with --out, write a smaller copy of it or of a folder of images"""


@dataclass(frozen=True)
class Prepare:
    """Download a TFDS data set in the format that training reads, or copy images.

    With --out the images of a folder, or of a set that is prepared, are copied as
    smaller JPEGs, which decode faster and take less space. Train on the copy with
    `ssljax pretrain folder --data.path DIR`.
    """

    name: str
    """A name of `ssljax data list`, any other image data set of TFDS, or, with --out,
    a folder of images."""
    data_dir: str | None = None
    """Folder of TFDS; TFDS_DATA_DIR by default, or ~/tensorflow_datasets."""
    out: str | None = None
    """Folder for a smaller copy; run the same command again to continue it."""
    image_size: int = 256
    """Shorter side of the copy in pixels, at most: smaller images are not enlarged."""
    quality: int = 90
    """JPEG quality of the copy, 1 to 95."""
    dry_run: bool = False
    """Estimate size, speed and loss of the copy from 200 images, and write nothing."""


_FLAGS = ("data_dir", "out", "image_size", "quality", "dry_run")


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    if words == ["list"]:
        return _list()
    # `prepare --help` lists the options of its own.
    if {"-h", "--help"} & set(words) and words[0] != "prepare":
        print(_USAGE)
        return 0
    if words[:1] == ["prepare"]:
        command = "ssljax data prepare"
        return _prepare(
            parse_positional(Prepare, words[1:], command=command, flags=_FLAGS)
        )
    raise ConfigError("data needs one of: list, prepare NAME")


def _list() -> int:
    from ssljax.data import catalogue

    rows = [("name", "", "pixels", "classes", "images", "how to get it")]
    for entry in catalogue.catalogue():
        present = "here" if entry.present else "not here"
        splits = ", ".join(f"{name} {n:,}" for name, n in entry.splits.items())
        classes = f"{entry.classes} classes" if entry.classes else "-"
        rows.append((entry.name, present, entry.image_size, classes, splits, entry.how))
    print(columns(rows))
    return 0


def _prepare(asked: Prepare) -> int:
    from ssljax.data import catalogue, smaller

    if asked.out is None:
        if asked.dry_run:
            raise ConfigError("--dry-run is for a smaller copy; name it: --out DIR")
        print(catalogue.prepare(asked.name, asked.data_dir))
        return 0
    if asked.image_size < 1 or not 1 <= asked.quality <= 95:
        raise ConfigError(
            f"--image-size is {asked.image_size} and --quality {asked.quality}; "
            "allowed: at least 1, and 1 to 95"
        )
    size, quality, data_dir = asked.image_size, asked.quality, asked.data_dir
    if asked.dry_run:
        plan = smaller.plan_smaller(
            asked.name, size=size, quality=quality, data_dir=data_dir
        )
        print(_planned(plan, asked))
        return 0
    count, skipped = smaller.write_smaller(
        asked.name, asked.out, size=size, quality=quality, data_dir=data_dir
    )
    for name, reason in skipped:
        print(f"left out: {name}: {reason}")
    print(f"{count:,} images in {asked.out}")
    print(f"next: ssljax pretrain folder --data.path {asked.out} --workdir DIR")
    return 0


def _planned(plan: "Plan", asked: Prepare) -> str:
    """Return what the copy gains and costs, as a table."""
    width, height = plan.median
    return columns(
        [
            (
                "",
                "originals",
                f"copy at {asked.image_size} px, quality {asked.quality}",
            ),
            ("images", f"{plan.images:,}", f"{plan.images:,}"),
            ("median size", f"{width} x {height}", f"shorter side {asked.image_size}"),
            ("disk", _bytes(plan.bytes_before), _bytes(plan.bytes_after)),
            (
                "images/s per core (2 views of 224 px)",
                f"{plan.rate_before:,.0f}",
                f"{plan.rate_after:,.0f}",
            ),
            (
                "crops of 224 px that are enlarged",
                f"{plan.enlarged_before:.0%}",
                f"{plan.enlarged_after:.0%}",
            ),
            ("time to write the copy here", "", _time(plan.seconds)),
        ]
    )


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _time(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds >= 60 else f"{seconds:.0f} s"

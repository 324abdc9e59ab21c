"""`ssljax data list` and `ssljax data prepare NAME`."""

from dataclasses import dataclass

from ssljax.commands.parse import parse_positional
from ssljax.commands.tables import columns
from ssljax.config.checks import ConfigError

_USAGE = """usage: ssljax data list | ssljax data prepare NAME [--data-dir DIR]

list     data sets: which are on this machine, and how to get the others
prepare  download a TFDS data set and write it in the format that training reads"""


@dataclass(frozen=True)
class Prepare:
    """Download a TFDS data set and write it in the format that training reads."""

    name: str
    """A name of `ssljax data list`, or any other image data set of TFDS."""
    data_dir: str | None = None
    """Where to; TFDS_DATA_DIR by default, or ~/tensorflow_datasets."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    from ssljax.data import catalogue

    if words == ["list"]:
        rows = [("name", "", "pixels", "classes", "images", "how to get it")]
        for entry in catalogue.catalogue():
            present = "here" if entry.present else "not here"
            splits = ", ".join(f"{name} {n:,}" for name, n in entry.splits.items())
            classes = f"{entry.classes} classes" if entry.classes else "-"
            rows.append(
                (entry.name, present, entry.image_size, classes, splits, entry.how)
            )
        print(columns(rows))
        return 0
    # `prepare --help` lists the options of its own.
    if {"-h", "--help"} & set(words) and words[0] != "prepare":
        print(_USAGE)
        return 0
    if words[:1] == ["prepare"]:
        asked = parse_positional(
            Prepare, words[1:], command="ssljax data prepare", flags=("data_dir",)
        )
        print(catalogue.prepare(asked.name, asked.data_dir))
        return 0
    raise ConfigError("data needs one of: list, prepare NAME")

"""`ssljax data list` and `ssljax data prepare NAME`."""

from dataclasses import dataclass

from ssljax.commands.parse import parse_positional
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
        for entry in catalogue.catalogue():
            present = "here" if entry.present else "not here"
            print(
                f"{entry.name:<24} {present:<9} {entry.image_size:<10} "
                f"{entry.classes or '-':>5} classes  {entry.splits}  {entry.how}"
            )
        return 0
    if words and words[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    if words[:1] == ["prepare"]:
        asked = parse_positional(
            Prepare, words[1:], command="ssljax data prepare", flags=("data_dir",)
        )
        print(catalogue.prepare(asked.name, asked.data_dir))
        return 0
    raise ConfigError("ssljax data needs one of: list, prepare NAME")

"""`ssljax evaluate DIR`: the encoder of a run, by the protocols asked for."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from ssljax.commands.parse import parse_positional, value_of
from ssljax.protocols.settings import Settings


@dataclass(frozen=True)
class Evaluate(Settings):
    """Evaluate the encoder of a run.

    Where labels are known, frozen features are compared with those of an untrained
    encoder, raw pixels and the most frequent training class.
    """

    workdir: Path
    """Run folder."""
    checkpoint: int | Literal["best"] | None = None
    """Step of the checkpoint to evaluate, or `best`; the newest by default."""
    data: str | None = None
    """Another data set: a folder of images, or a name that `ssljax data list` shows."""
    examples: int | None = None
    """Fit the classifiers on a random subset of this many images."""
    test_examples: int | None = None
    """Test on a random subset of this many images."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(
        Evaluate,
        words,
        command="ssljax evaluate",
        flags=[field.name for field in fields(Evaluate) if field.name != "workdir"],
    )
    from ssljax.protocols.evaluate import evaluate

    settings = {field.name: getattr(asked, field.name) for field in fields(Settings)}
    protocols = settings.pop("protocol")
    print(
        evaluate(
            asked.workdir,
            # What was not asked for may be replaced where there are no labels.
            protocols=None if value_of(words, "--protocol") is None else protocols,
            checkpoint=asked.checkpoint,
            data=asked.data,
            examples=asked.examples,
            test_examples=asked.test_examples,
            **settings,
        )
    )
    return 0

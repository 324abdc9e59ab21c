"""`ssljax evaluate DIR`: the frozen encoder of a run beside three baselines."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from ssljax.commands.parse import parse_positional


@dataclass(frozen=True)
class Evaluate:
    """Evaluate the frozen encoder of a run beside three baselines.

    They are an untrained encoder, raw pixels and the most frequent training class.
    """

    workdir: Path
    """Run folder."""
    protocol: list[Literal["knn", "knn_euclidean", "linear", "spectrum"]] = field(
        default_factory=lambda: ["knn", "linear"]
    )
    """Protocols to run; without labels only `spectrum` is possible."""
    checkpoint: int | None = None
    """Step of the checkpoint to evaluate; the newest by default."""
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
    from ssljax.runs.evaluate import evaluate

    print(
        evaluate(
            asked.workdir,
            protocols=tuple(asked.protocol),
            checkpoint=asked.checkpoint,
            data=asked.data,
            examples=asked.examples,
            test_examples=asked.test_examples,
        )
    )
    return 0

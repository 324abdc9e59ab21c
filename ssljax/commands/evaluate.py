"""`ssljax evaluate DIR`: the frozen encoder of a run beside three baselines."""

from dataclasses import dataclass, field
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
    protocol: list[Literal["knn", "linear", "spectrum"]] = field(
        default_factory=lambda: ["knn", "linear"]
    )
    """Protocols to run; without labels only `spectrum` is possible."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(
        Evaluate, words, command="ssljax evaluate", flags=("protocol",)
    )
    from ssljax.runs.evaluate import evaluate

    print(evaluate(asked.workdir, protocols=tuple(asked.protocol)))
    return 0

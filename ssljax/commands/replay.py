"""`ssljax replay DIR`: the step at which a run failed, once more."""

from dataclasses import dataclass
from pathlib import Path

from ssljax.commands.parse import parse_positional


@dataclass(frozen=True)
class Replay:
    """Rerun the step at which a run failed and list its non-finite gradients."""

    workdir: Path
    """Run folder; its failure/ holds the step."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(Replay, words, command="ssljax replay")
    from ssljax.runs.replay import replay

    for name, value in replay(asked.workdir).items():
        print(f"{name} = {value}")
    return 0

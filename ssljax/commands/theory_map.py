"""`ssljax theory map`: the phase diagram of a loss."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssljax.commands.parse import parse_positional
from ssljax.config.checks import ConfigError, nearest
from ssljax.config.paths import local

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Options:
    """Draw where a loss recruits small modes, equalises, or collapses.

    A mode is watched under the loss while the others rest; the rates are those of
    `ssljax theory fingerprint`.
    """

    loss: str
    """A loss of the fingerprint's table, such as nt_xent."""
    x: str = ""
    """Hyper-parameter on the horizontal axis, such as temperature, or correlation."""
    y: str = "correlation"
    """Setting on the vertical axis; correlation is that of the mode's two views."""
    x_range: tuple[float, float] | None = None
    """Lowest and highest value of the horizontal axis."""
    y_range: tuple[float, float] | None = None
    """The same of the vertical axis."""
    points: int = 24
    """Number of values on either axis."""
    others: float = 0.8
    """Correlation of the other modes."""
    seed: int = 0
    """Seed of the samples."""
    out: Path | None = None
    """Draw the diagram into this folder, as phases_LOSS."""
    format: Literal["svg", "png"] = "svg"
    """Format of the figure."""


_FLAGS = ("x", "y", "x_range", "y_range", "points", "others", "seed", "out", "format")


def run(words: list[str]) -> int:
    """Run the command; return 0.

    Raises:
        ConfigError: for words that cannot be used.
    """
    if not words:
        raise ConfigError("name a loss: ssljax theory map nt_xent --x temperature")
    asked = parse_positional(Options, words, command="ssljax theory map", flags=_FLAGS)
    from ssljax.analytic.fingerprint.phases import phase_map
    from ssljax.reports.phase_maps import phase_caption, phase_text, save_phases

    _check_names(asked)
    if asked.out is not None:
        local(asked.out, "--out")
    if asked.out is not None and asked.out.exists() and not asked.out.is_dir():
        raise ConfigError(
            f"--out is {str(asked.out)!r}, which already exists as a file; choose "
            "another path"
        )
    try:
        found = phase_map(
            asked.loss,
            x=asked.x,
            y=asked.y,
            x_values=_values(asked, "x"),
            y_values=_values(asked, "y"),
            others=asked.others,
            seed=asked.seed,
        )
    except ValueError as error:
        # What the library refuses: a range, a number of points, a correlation.
        raise ConfigError(str(error)) from error
    print(phase_text(found), flush=True)
    if asked.out is not None:
        caption = phase_caption(found, asked.others)
        print(save_phases(found, asked.out, asked.format, caption))
    return 0


def _check_names(asked: Options) -> None:
    """Raise for a loss or an axis that does not exist, with those that do."""
    from ssljax.analytic.fingerprint.losses import FINGERPRINTED
    from ssljax.analytic.fingerprint.phases import axes_of

    if asked.loss not in FINGERPRINTED:
        raise ConfigError(
            f"unknown loss {asked.loss!r}; allowed: {', '.join(FINGERPRINTED)}"
            f"{nearest(asked.loss, FINGERPRINTED)}"
        )
    allowed = axes_of(asked.loss)
    if len(allowed) < 2:
        having = ", ".join(n for n, entry in FINGERPRINTED.items() if entry.hyper)
        raise ConfigError(
            f"{asked.loss} has no hyper-parameter to draw; losses that have one: "
            f"{having}"
        )
    if not asked.x:
        raise ConfigError(f"name an axis: --x {' | '.join(allowed)}")
    for flag, name in (("--x", asked.x), ("--y", asked.y)):
        if name not in allowed:
            raise ConfigError(
                f"{flag} is {name!r}, which {asked.loss} does not have; allowed: "
                f"{', '.join(allowed)}{nearest(name, allowed)}"
            )
    if asked.x == asked.y:
        raise ConfigError(f"--x and --y are both {asked.x!r}; name two settings")


def _values(asked: Options, axis: Literal["x", "y"]) -> "np.ndarray":
    from ssljax.analytic.fingerprint.phases import axis_range, axis_values

    name = getattr(asked, axis)
    low, high = getattr(asked, f"{axis}_range") or axis_range(asked.loss, name)
    return axis_values(name, low, high, asked.points)

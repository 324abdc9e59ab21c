"""`ssljax theory fit`: a run's eigenvalues beside the law of its method's theory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssljax.commands.parse import parse_positional
from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path


@dataclass(frozen=True)
class Options:
    """Fit the law of a run's method to every eigenvalue that the run logged.

    Prints each mode's rate, when it is half learned by theory and in the run, and
    whether it follows. Writes figures/theory_fit.svg and theory_fit.json.
    """

    workdir: Path
    """Run folder."""
    modes: int = 16
    """How many of the largest modes to fit."""
    out: Path | None = None
    """Write theory_fit_NAME.svg and .json of the run folder NAME here instead."""
    format: Literal["svg", "png"] = "svg"
    """Format of the figure."""


def run(words: list[str]) -> int:
    """Run the command; return 0.

    Raises:
        ConfigError: for a run without a theory, or without enough panels.
    """
    asked = parse_positional(
        Options, words, command="ssljax theory fit", flags=("modes", "out", "format")
    )
    if asked.modes < 1:
        raise ConfigError(f"--modes is {asked.modes}; allowed: 1 or more")
    from ssljax.reports.theory import to_bytes
    from ssljax.reports.theory_fit import fit_run
    from ssljax.reports.theory_fit_figure import CAPTION, draw_fit
    from ssljax.reports.theory_fit_record import as_json
    from ssljax.reports.theory_legends import caption_below
    from ssljax.runs.files import why_unwritable, write_atomically
    from ssljax.runs.folder import RunFolder

    folder = RunFolder(asked.workdir)
    folder.load_config()  # before a folder is asked about that is not a run
    if asked.out is None:
        out, drawn, record = folder.path, "figures/theory_fit", "theory_fit.json"
    else:
        out, drawn = as_path(asked.out), f"theory_fit_{folder.path.name}"
        record = f"{drawn}.json"
    why = why_unwritable(out, folder=True)
    if why:
        raise ConfigError(f"{out} cannot be written ({why}); choose another --out")
    found = fit_run(folder, modes=asked.modes)
    print(found.text(), flush=True)
    figure = draw_fit(found)
    caption_below(figure, CAPTION)
    for path, data in (
        (out / f"{drawn}.{asked.format}", to_bytes(figure, asked.format)),
        (out / record, as_json(found).encode()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
        print(path)
    return 0

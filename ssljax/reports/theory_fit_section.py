"""The report's section of a run beside its method's theory."""

from pathlib import Path

from ssljax.config.checks import ConfigError
from ssljax.reports.html import Figure
from ssljax.reports.style import NothingToDraw, to_png
from ssljax.reports.theory_fit import fit_run
from ssljax.reports.theory_fit_figure import CAPTION, draw_fit
from ssljax.reports.theory_fit_record import COLUMNS
from ssljax.runs.files import write_atomically
from ssljax.runs.folder import RunFolder

HEADING = "Modes beside theory"


def theory_section(run: RunFolder, path: Path) -> Figure:
    """Draw a run's fitted modes, or say in one line why there are none.

    Args:
        run: folder of the run.
        path: of the picture; an old one is removed where nothing can be drawn.
    """
    try:
        found = fit_run(run)
        png = to_png(draw_fit(found))
    except (ConfigError, NothingToDraw) as error:
        path.unlink(missing_ok=True)
        return Figure(HEADING, f"{str(error)[0].upper()}{str(error)[1:]}.", None)
    write_atomically(path, png)
    return Figure(
        HEADING,
        f"{CAPTION} {found.law.equation}. {found.conclusion}.",
        png,
        [COLUMNS, *found.rows()],
        [f"{line[0].upper()}{line[1:]}." for line in found.explanation()],
    )

"""What `ssljax theory` runs side by side: items and figures, by name.

A task's arguments and results can be sent to another process: names, numbers, arrays
and lines of text.
"""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ssljax.analytic.checklist import Finding, Theory

FINGERPRINT = "fingerprint"
AT_ONCE = 2  # each holds its simulation in memory


@dataclass
class Found:
    """What an item measured, and how long that took."""

    findings: Sequence["Finding"] = ()
    missing: str | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass
class Drawn:
    """Figures that were drawn, the lines to print, and what went wrong."""

    figures: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0


@contextlib.contextmanager
def workers(*, separate: bool) -> Iterator[Executor]:
    """Run tasks two at a time, the rest forgotten where an error leaves the block.

    Args:
        separate: in processes. JAX's tracing holds Python's lock, so that two threads
            keep 1.4 of two cores busy; processes take a few seconds to start.
    """
    if separate:
        # A fork of a process that runs JAX's threads may hang.
        context = multiprocessing.get_context("spawn")
        pool: Executor = ProcessPoolExecutor(AT_ONCE, context, _begin)
    else:
        pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _begin() -> None:
    from ssljax.runs.programs import keep_programs

    # A terminal sends Ctrl-C to all processes; the first one speaks for them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_programs("auto")


def load(name: str) -> "Theory":
    """Return the theory of a known name, the fingerprint among them."""
    if name == FINGERPRINT:
        from ssljax.analytic.fingerprint.checklist import THEORY

        return THEORY
    from ssljax.analytic import checklist

    return checklist.load(name)


def measure(name: str, number: str, seed: int, images: np.ndarray | None) -> Found:
    """Run an item; an exception becomes a line."""
    from ssljax.analytic.checklist import Given, run_item

    start = time.perf_counter()
    (item,) = [item for item in load(name).items if item.number == number]
    try:
        verdict = run_item(item, Given(seed=seed, images=images))
    except Exception as error:
        return Found(error=one_line(error), seconds=time.perf_counter() - start)
    return Found(verdict.findings, verdict.missing, None, verdict.seconds)


def draw(
    name: str, seed: int, images: np.ndarray | None, out: Path | None, suffix: str
) -> Drawn:
    """Draw the figures of a theory; for the fingerprint, print and write its table."""
    from ssljax.analytic.checklist import Given, NotHere
    from ssljax.reports.theory import save

    drawn, start = Drawn(), time.perf_counter()
    try:
        if name == FINGERPRINT:
            pictures = _fingerprint(seed, out, drawn)
        else:
            pictures = load(name).pictures(Given(seed=seed, images=images))
        if out is not None:
            for picture in pictures:
                path = save(picture, out, suffix)
                drawn.figures.append(path.name)
                drawn.lines.append(str(path))
    except NotHere as reason:
        drawn.lines.append(f"figures not drawn: {reason}")
    except Exception as error:
        drawn.error = one_line(error)
        drawn.lines.append(f"figures FAILED: {drawn.error}")
    drawn.seconds = time.perf_counter() - start
    return drawn


def _fingerprint(seed: int, out: Path | None, drawn: Drawn) -> Sequence:
    """Compute the table of all losses once, for the page and the figure."""
    from ssljax.analytic.fingerprint.checklist.pictures import fingerprint_picture
    from ssljax.analytic.fingerprint.measure import fingerprints
    from ssljax.reports.theory_tables import fingerprint_table

    found = fingerprints(seed=seed)
    table = fingerprint_table(found)
    drawn.lines.append(f"\n{table}\n")
    if out is None:
        return []
    out.mkdir(parents=True, exist_ok=True)
    path = out / "fingerprint.md"
    path.write_text(table + "\n", "utf-8")
    drawn.lines.append(str(path))
    return [fingerprint_picture(found)]


def one_line(error: Exception) -> str:
    """Return an exception's type and message without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

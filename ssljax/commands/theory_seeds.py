"""`ssljax theory NAME --seeds 0-19`: every item that draws something, on many draws."""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.commands.theory_tasks import one_line
from ssljax.config.checks import ConfigError
from ssljax.runs.files import plain

if TYPE_CHECKING:
    from ssljax.analytic.checklist import Finding, Item, Theory
    from ssljax.runs.environment import Launch

MOST_SEEDS = 1000
CACHED_FROM = 0.02  # seconds of compiling; loading a program takes about as long


@dataclass
class Draws:
    """What an item found at each seed."""

    theory: str
    item: "Item"
    findings: dict[int, Sequence["Finding"]] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    missing: str | None = None
    seconds: float = 0.0

    @property
    def ran(self) -> int:
        """Return the number of seeds at which the item ran."""
        return len(self.findings) + len(self.errors)

    @property
    def wrong(self) -> list[int]:
        """Return the seeds at which the item does not hold, or measured nothing."""
        found = {s for s, f in self.findings.items() if not f or any(_off(f))}
        return sorted(found | set(self.errors))


def parse_seeds(text: str) -> range:
    """Return the seeds of `FIRST-LAST`, or the first so many for one number.

    Raises:
        ConfigError: for anything else, or no seed, or more than a thousand.

    >>> parse_seeds("3-5"), parse_seeds("20")
    (range(3, 6), range(0, 20))
    """
    first, dash, last = text.partition("-")
    digits = [part for part in ([first, last] if dash else [first])]
    if not all(part.isascii() and part.isdigit() for part in digits):
        raise ConfigError(f"--seeds must be FIRST-LAST or a number, got {text!r}")
    seeds = range(int(first), int(last) + 1) if dash else range(int(first))
    if not 0 < len(seeds) <= MOST_SEEDS:
        raise ConfigError(f"--seeds {text} is {len(seeds)} seeds; use 1-{MOST_SEEDS}")
    return seeds


def check_seeds(
    chosen: Sequence[tuple["Theory", Sequence["Item"]]],
    images: np.ndarray | None,
    seeds: range,
    workers: int,
) -> list[Draws]:
    """Run items at every seed, those that draw nothing once; print a row for each.

    Args:
        chosen: theories and their items.
        images: real images, where there are any.
        seeds: of weights and samples.
        workers: items that run at the same time.

    Returns:
        What each item found, in order.
    """
    from ssljax.analytic.checklist import Given, NotHere

    def run(item: "Item", found: Draws) -> Draws:
        began = time.perf_counter()
        for seed in seeds if item.seeded else seeds[:1]:
            try:
                found.findings[seed] = list(item.run(Given(seed, images)))
            except NotHere as reason:
                found.missing = str(reason)
                break
            except Exception as error:
                found.errors[seed] = one_line(error)
        found.seconds = time.perf_counter() - began
        return found

    results = []
    with kept_programs(), ThreadPoolExecutor(workers) as pool:
        for theory, items in chosen:
            print(f"{theory.name}: {theory.paper}", flush=True)
            width = max((len(item.number) for item in items), default=1)
            empty = [Draws(theory.name, item) for item in items]
            for found in pool.map(run, items, empty):
                print(_row(found, width), flush=True)
                results.append(found)
    return results


@contextlib.contextmanager
def kept_programs() -> Iterator[None]:
    """Keep compiled programs on disk for this long, unless they are kept anyway.

    Seeds change numbers, not programs, but every seed makes new Python functions, for
    which JAX would compile again. Its cache on disk goes by the program itself.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    if before[names[0]] is not None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ssljax-theory-") as folder:
        try:
            for name, value in zip(names, (folder, CACHED_FROM), strict=True):
                jax.config.update(name, value)
            compilation_cache.reset_cache()
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


def conclusion(results: Sequence[Draws], seeds: range, seconds: float) -> str:
    """Return the last line: how many items hold, and the names of those that do not."""
    wrong = [f"{r.theory}-{r.item.number}" for r in results if r.wrong]
    missing = sum(r.missing is not None for r in results)
    text = f"{len(results) - len(wrong) - missing} of {len(results)} items agree"
    text += f" at seeds {seeds[0]} to {seeds[-1]}, {seconds:.1f} s"
    text += f", {missing} not run" if missing else ""
    return text + (f"; DISAGREE: {', '.join(wrong)}" if wrong else "")


def seeds_as_json(results: Sequence[Draws], seeds: range, made: "Launch") -> str:
    """Return every number of every seed, and the launch that made them, as JSON."""
    record = {
        "made": plain(made),
        "seeds": list(seeds),
        "agrees": not any(r.wrong for r in results),
        "items": [_record(r) for r in results],
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def write_json(path: Path, text: str) -> None:
    """Write a file, with its folder if that is missing, and print its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    print(path)


def _record(found: Draws) -> dict[str, Any]:
    return {
        "theory": found.theory,
        "number": found.item.number,
        "seeded": found.item.seeded,
        "not_run": found.missing,
        "seconds": round(found.seconds, 3),
        "wrong": found.wrong,
        "errors": {str(seed): error for seed, error in found.errors.items()},
        "findings": {
            str(seed): [
                # JSON has neither NaN nor infinity: null.
                {"what": f.what, "measured": _number(f.measured), "agrees": f.passed}
                for f in findings
            ]
            for seed, findings in found.findings.items()
        },
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _off(findings: Sequence["Finding"]) -> list[bool]:
    return [not finding.passed for finding in findings]


def _row(found: Draws, width: int) -> str:
    """Format an item: how many seeds agree, and each number that does not."""
    item, wrong = found.item, found.wrong
    word = "not run" if found.missing else "DISAGREES" if wrong else "agrees"
    held = (
        f"{found.ran - len(wrong)} of {found.ran} seeds" if item.seeded else "no seed"
    )
    head = f"  {item.number:<{width}}  {word:<9}  {held:<14}  {found.seconds:6.1f} s"
    lines = [f"{head}  {item.statement}"]
    if found.missing:
        lines.append(f"      not run: {found.missing}")
    for seed in wrong:
        if seed in found.errors:
            lines.append(f"    ! seed {seed}: {found.errors[seed]}")
            continue
        off = [f for f in found.findings[seed] if not f.passed]
        lines += [f"    ! seed {seed}: {f.what}  {f.shown}  {f.allowed}" for f in off]
        if not found.findings[seed]:
            lines.append(f"    ! seed {seed}: nothing was measured")
    return "\n".join(lines)

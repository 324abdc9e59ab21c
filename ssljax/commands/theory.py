"""`ssljax theory`: check each theory against a simulation of the training losses.

`ssljax theory map` is in `theory_map`, `ssljax theory fit` in `theory_fit`.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ssljax.commands import theory_tasks as tasks
from ssljax.commands.parse import parse_positional
from ssljax.commands.theory_tasks import FINGERPRINT
from ssljax.config.checks import ConfigError, nearest
from ssljax.config.paths import local
from ssljax.reports.theory_tables import (
    Outcome,
    as_json,
    checklist_page,
    counts,
    summary,
)

if TYPE_CHECKING:
    from ssljax.analytic.checklist import Item, Theory, Verdict
    from ssljax.runs.environment import Launch

DISAGREES = 1
MAP, FIT = "map", "fit"
SEPARATE = True  # processes; a test that plants theories needs threads


@dataclass(frozen=True)
class Options:
    """Check a theory against a simulation of the training losses' own gradients."""

    name: str
    """A theory, `fingerprint`, `all`, `list` for the names, `map LOSS`, a loss's phase
    diagram, or `fit RUN`, a run beside its method's theory."""
    items: list[str] = field(default_factory=list)
    """Check these items only, and draw no figures; all items by default."""
    seed: int = 0
    """Seed of the weights and samples."""
    seeds: str | None = None
    """Run every item at many seeds, `0-19` or the first `20`, without figures."""
    out: Path | None = None
    """Write figures, checklist.md and fingerprint.md into this folder."""
    json: Path | None = None
    """Write every measured number into this file."""
    format: Literal["svg", "png"] = "svg"
    """Format of the figures."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code, 1 where something disagrees."""
    if not words:
        raise ConfigError(f"name a theory: ssljax theory {' | '.join(_allowed())}")
    if words[0] in (MAP, FIT):
        from ssljax.commands import theory_fit, theory_map

        return (theory_map if words[0] == MAP else theory_fit).run(words[1:])
    asked = parse_positional(
        Options,
        words,
        command="ssljax theory",
        flags=("items", "seed", "seeds", "out", "json", "format"),
    )
    if asked.name == "list":
        print(_listing())
        return 0
    chosen = _chosen(asked)
    from ssljax.runs.environment import this_launch
    from ssljax.runs.files import why_unwritable

    for path, flag in ((asked.json, "--json"), (asked.out, "--out")):
        # A folder cannot become the file, nor a file the folder.
        if path is not None and path.exists() and path.is_dir() == (flag == "--json"):
            kind = "folder" if path.is_dir() else "file"
            raise ConfigError(
                f"{flag} is {str(path)!r}, which already exists as a {kind}; choose "
                "another path"
            )
        why = path and why_unwritable(local(path, flag), folder=flag == "--out")
        if why:
            raise ConfigError(f"{flag} {path} cannot be written: {why}")
    made = this_launch(["ssljax", "theory", *words])  # before anything is written
    start = time.perf_counter()
    if asked.seeds is not None:
        return _at_many_seeds(chosen, asked, made)
    from ssljax.runs.programs import keep_programs

    keep_programs("auto")
    loaded = _images([item for _, items in chosen for item in items])
    # Two processes take seconds to start, which many items are worth.
    with tasks.workers(separate=SEPARATE and len(chosen) > 1) as pool:
        queued = [_queue(pool, *each, asked, loaded) for each in chosen]
        outcomes = [_collect(one) for one in queued]
    print(summary(outcomes, time.perf_counter() - start), flush=True)
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        path = asked.out / "checklist.md"
        path.write_text(checklist_page(outcomes, asked.seed, made), "utf-8")
        print(path)
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(as_json(outcomes, asked.seed, made), "utf-8")
        print(asked.json)
    return DISAGREES if any(outcome.wrong for outcome in outcomes) else 0


def _at_many_seeds(
    chosen: list[tuple["Theory", list["Item"]]], asked: Options, made: "Launch"
) -> int:
    from ssljax.commands import theory_seeds

    assert asked.seeds is not None
    seeds, start = theory_seeds.parse_seeds(asked.seeds), time.perf_counter()
    if asked.out is not None or asked.seed:
        raise ConfigError(
            "--seeds draws no figures and takes the place of --seed; "
            "leave out --out and --seed"
        )
    images, missing = _images([item for _, items in chosen for item in items])
    if missing:
        print(f"without CIFAR-10, items use random images or are skipped: {missing}")
    found = theory_seeds.check_seeds(chosen, images, seeds, tasks.AT_ONCE)
    print(theory_seeds.conclusion(found, seeds, time.perf_counter() - start))
    if asked.json is not None:
        text = theory_seeds.seeds_as_json(found, seeds, made)
        theory_seeds.write_json(asked.json, text)
    return DISAGREES if any(draws.wrong for draws in found) else 0


def names() -> tuple[str, ...]:
    """Return the names of all theories, in order."""
    from ssljax.analytic import checklist

    return (*checklist.NAMES, FINGERPRINT)


def _allowed() -> tuple[str, ...]:
    return ("list", "all", *names(), MAP, FIT)


def load(name: str) -> "Theory":
    """Return the theory of that name.

    Raises:
        ConfigError: unknown name; the message suggests the nearest.
    """
    if name not in names():
        raise ConfigError(
            f"unknown theory {name!r}; allowed: {', '.join(_allowed())}"
            f"{nearest(name, _allowed())}"
        )
    return tasks.load(name)


def _chosen(asked: Options) -> list[tuple["Theory", list["Item"]]]:
    if asked.name == "all":
        if asked.items:
            raise ConfigError("--items needs one theory: ssljax theory NAME --items 1")
        return [(theory, list(theory.items)) for theory in map(load, names())]
    theory = load(asked.name)
    if not asked.items:
        return [(theory, list(theory.items))]
    known = {item.number: item for item in theory.items}
    for number in asked.items:
        if number not in known:
            raise ConfigError(
                f"{theory.name} has no item {number!r}; it has {', '.join(known)}"
                f"{nearest(number, known)}"
            )
    return [(theory, [known[number] for number in asked.items])]


class _Queued(NamedTuple):
    """A theory whose items and figures wait for their turn."""

    theory: "Theory"
    items: Sequence["Item"]
    missing: str
    """Why the images that its items need are missing, or ""."""
    found: Sequence[Future]
    drawn: Future | None


def _queue(
    pool: Executor,
    theory: "Theory",
    items: Sequence["Item"],
    asked: Options,
    loaded: tuple[np.ndarray | None, str],
) -> _Queued:
    """Hand in the items of a theory and its figures."""
    wants_images = any(item.images for item in items)
    images, missing = loaded if wants_images else (None, "")
    found = [
        pool.submit(
            tasks.measure,
            theory.name,
            item.number,
            asked.seed,
            images if item.images else None,
        )
        for item in items
    ]
    # Naming the fingerprint asks for the table of all losses.
    wanted = asked.out is not None or asked.name == FINGERPRINT
    drawn = None
    if wanted and not asked.items:
        drawn = pool.submit(
            tasks.draw, theory.name, asked.seed, images, asked.out, asked.format
        )
    return _Queued(theory, items, missing, found, drawn)


def _collect(queued: _Queued) -> Outcome:
    """Print items as they end, in their order; one that raises stops no other."""
    from ssljax.analytic.checklist import Verdict

    outcome = Outcome(queued.theory)
    print(f"{queued.theory.name}: {queued.theory.paper}", flush=True)
    if queued.missing:
        print(
            "  without CIFAR-10, items use random images or are skipped: "
            f"{queued.missing}"
        )
    width = max((len(item.number) for item in queued.items), default=1)
    for item, future in zip(queued.items, queued.found, strict=True):
        found: tasks.Found = future.result()
        if found.error is not None:
            outcome.errors[item.number] = found.error
        verdict = Verdict(item, found.findings, found.seconds, found.missing)
        outcome.verdicts.append(verdict)
        outcome.seconds += found.seconds
        print(_verdict_lines(verdict, found.error, width), flush=True)
    if queued.drawn is not None:
        drawn: tasks.Drawn = queued.drawn.result()
        outcome.figures += drawn.figures
        outcome.seconds += drawn.seconds
        if drawn.error is not None:
            outcome.errors["figures"] = drawn.error
        print("\n".join(drawn.lines), flush=True)
    print(
        f"{queued.theory.name}: {counts(outcome)}, {outcome.seconds:.1f} s\n",
        flush=True,
    )
    return outcome


def _images(items: Sequence["Item"]) -> tuple[np.ndarray | None, str]:
    """Return CIFAR-10 images if an item needs them, or why they are missing.

    Without them such an item uses random images with the same spectrum, or is skipped.
    """
    if not any(item.images for item in items):
        return None, ""
    from ssljax import data

    try:
        return data.load("cifar10", split="train[:1000]").images, ""
    except data.DataError as error:
        return None, str(error)


def _verdict_lines(verdict: "Verdict", error: str | None, width: int) -> str:
    """Format an item: one line for the verdict, one for each number measured."""
    item = verdict.item
    word = "agrees" if verdict.passed else "not run" if verdict.missing else "DISAGREES"
    head = f"  {item.number:<{width}}  {word:<9}  {verdict.seconds:6.1f} s"
    lines = [f"{head}  {item.statement}"]
    if verdict.missing:
        lines.append(f"      not run: {verdict.missing}")
    if error:
        lines.append(f"      {error}")
    elif not verdict.passed and not verdict.missing and not verdict.findings:
        lines.append("      nothing was measured")
    longest = max((len(f.what) for f in verdict.findings), default=0)
    for finding in verdict.findings:
        mark = " " if finding.passed else "!"
        lines.append(
            f"    {mark} {finding.what:<{longest}}  {finding.shown:<10}  "
            f"{finding.allowed}"
        )
    return "\n".join(lines)


def _listing() -> str:
    theories = [load(name) for name in names()]
    width = max(len(theory.name) for theory in theories)
    return "\n".join(
        f"{theory.name:<{width}}  {len(theory.items):3d} items  {theory.paper}"
        for theory in theories
    )

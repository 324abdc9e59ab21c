"""Results of the theory checks and fingerprints, as pages and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.runs.files import plain

if TYPE_CHECKING:
    from ssljax.analytic.checklist import Finding, Theory, Verdict
    from ssljax.analytic.fingerprint.measure import Fingerprint
    from ssljax.runs.environment import Launch

_COMPUTING = ("ssljax", "jax", "jaxlib", "diffrax", "numpy")
_HEADER = (
    "loss",
    "completed by",
    "fixed point",
    "growth of a small mode",
    "exponent",
    "correlation threshold",
    "mode of half the correlation",
    "equalisation",
    "verdict",
)


def fingerprint_table(found: Mapping[str, "Fingerprint"]) -> str:
    """Return one row per loss, columns padded so that the table reads as text too.

    >>> print(fingerprint_table({}).splitlines()[0][:23])
    | loss | completed by |
    """
    return markdown_table(
        [_HEADER, *(_row(name, record) for name, record in found.items())]
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as a Markdown table; the first row is the header.

    >>> print(markdown_table([("a", "b"), ("long", "|x|")]))
    | a    | b     |
    |------|-------|
    | long | \\|x\\| |
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(name: str, record: "Fingerprint") -> tuple[str, ...]:
    from ssljax.analytic.fingerprint.losses import FINGERPRINTED

    form = FINGERPRINTED[name].form if name in FINGERPRINTED else ""
    if record.verdict == "no force":
        return (name, form, record.size, "0", "-", "-", "-", "0", record.verdict)
    return (
        name,
        form,
        record.size,
        _figure(record.growth),
        "-" if np.isnan(record.exponent) else _fixed(record.exponent),
        _threshold(record.threshold),
        _plateau(record.plateau),
        _figure(record.equalisation),
        record.verdict,
    )


def _threshold(value: float) -> str:
    if np.isnan(value):
        return "-"
    if np.isinf(value):
        return "any" if value < 0 else "none"
    return _fixed(value)


def _plateau(value: float) -> str:
    if np.isnan(value):
        return "-"
    return "dies out" if value == 0 else f"{_fixed(value)} x the others"


def _figure(value: float) -> str:
    return f"{value:.3g}"


def _fixed(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00")


@dataclass
class Outcome:
    """Results of a theory's items."""

    theory: "Theory"
    verdicts: list["Verdict"] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """Item number to exception."""
    figures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def agreeing(self) -> int:
        return sum(v.passed for v in self.verdicts)

    @property
    def missing(self) -> int:
        return sum(v.missing is not None for v in self.verdicts)

    @property
    def wrong(self) -> int:
        """Count items that ran and do not hold, and figures that failed to draw."""
        figures = sum(number.startswith("figures") for number in self.errors)
        return len(self.verdicts) - self.agreeing - self.missing + figures


def counts(outcome: Outcome) -> str:
    """Return in words how many items agree, were not run and disagree."""
    text = f"{outcome.agreeing} of {len(outcome.verdicts)} items agree"
    if outcome.missing:
        text += f", {outcome.missing} not run"
    return text + (f", {outcome.wrong} DISAGREE" if outcome.wrong else "")


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return one line per theory, and one with the total time and the verdict."""
    width = max(len(outcome.theory.name) for outcome in outcomes)
    lines = [
        f"{outcome.theory.name:<{width}}  {outcome.seconds:7.1f} s  {counts(outcome)}"
        for outcome in outcomes
    ]
    wrong = [
        f"{outcome.theory.name}-{verdict.item.number}"
        for outcome in outcomes
        for verdict in outcome.verdicts
        if not verdict.passed and not verdict.missing
    ]
    verdict = "theory and simulation agree"
    if any(outcome.wrong for outcome in outcomes):
        verdict = f"theory and simulation DISAGREE: {', '.join(wrong) or 'figures'}"
    return "\n".join([*lines, f"{'total':<{width}}  {seconds:7.1f} s  {verdict}"])


def checklist_page(outcomes: Sequence[Outcome], seed: int, made: "Launch") -> str:
    """Write a Markdown page, a row per number: item, check, tolerance, measured.

    Args:
        outcomes: of the theories, in order.
        seed: of the run.
        made: the launch that made it.

    Returns:
        The page, with each theory's figures below its table.
    """
    parts = ["# Checks of each theory", "", _stamp(seed, made), ""]
    for outcome in outcomes:
        parts += [f"## {outcome.theory.name}", "", outcome.theory.paper, ""]
        rows = [("item", "check", "tolerance", "measured")]
        for verdict in outcome.verdicts:
            number, why = verdict.item.number, verdict.missing
            instead = f"not run: {why}" if why else outcome.errors.get(number, "")
            rows.append((number, f"**{verdict.item.statement}**", "", instead))
            rows += [("", f.what, f.allowed, _measured(f)) for f in verdict.findings]
        parts += [markdown_table(rows), ""]
        parts += [f"![{name}]({name})" for name in outcome.figures]
        parts += [""] if outcome.figures else []
    return "\n".join(parts).rstrip("\n") + "\n"


def _stamp(seed: int, made: "Launch") -> str:
    versions = ", ".join(
        f"{name} {number}"
        for name, number in made.versions.items()
        if name in _COMPUTING and number is not None
    )
    return (
        f"Written by `{' '.join(made.command or ())}`: seed {seed}, float64, "
        f"{made.device}, Python {made.python}, {versions}, "
        f"commit {made.commit or 'unknown'}."
    )


def _measured(finding: "Finding") -> str:
    return finding.shown + ("" if finding.passed else " **DISAGREES**")


def as_json(outcomes: Sequence[Outcome], seed: int, made: "Launch") -> str:
    """Return every number with its interval, and the launch that made it, as JSON.

    The arguments are those of `checklist_page`. A number that is not finite is null.
    """
    record = {
        "made": plain(made),
        "seed": seed,
        "agrees": not any(outcome.wrong for outcome in outcomes),
        "theories": [
            {
                "name": outcome.theory.name,
                "paper": outcome.theory.paper,
                "seconds": round(outcome.seconds, 3),
                "figures": outcome.figures,
                "errors": outcome.errors,
                "items": [_item_record(verdict) for verdict in outcome.verdicts],
            }
            for outcome in outcomes
        ],
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def _item_record(verdict: "Verdict") -> dict[str, Any]:
    return {
        "number": verdict.item.number,
        "statement": verdict.item.statement,
        "agrees": None if verdict.missing else verdict.passed,
        "not_run": verdict.missing,
        "seconds": round(verdict.seconds, 3),
        "findings": [
            {
                "what": finding.what,
                # JSON has no NaN; null is a number that is not finite.
                "measured": _number(finding.measured),
                "low": _number(finding.low),
                "high": _number(finding.high),
                "agrees": finding.passed,
            }
            for finding in verdict.findings
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

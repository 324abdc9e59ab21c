"""The collapse alarm: reads the spectrum panel's history and says what to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Thresholds:
    """When a panel counts as collapsed.

    Whether collapse is complete is judged on un-centred embeddings: it is one vector
    plus noise, and centring leaves the noise, which fills all dimensions.
    """

    mean_cosine: float = 0.97
    """Complete at or above. Healthy embeddings have 0 to 0.4, also before training."""
    std_per_dimension: float = 0.05
    """Complete at or below. Healthy: 0.8 to 1; a common direction alone gives
    ``sqrt(1 - mean_cosine)``."""
    rankme: float = 2.5
    """Dimensional at or below. Healthy runs can be as low as 4 in the first epochs."""
    rank_fraction: float = 0.002
    """Dimensional when RankMe is at or below this share of ``min(N, D)``, should that
    be more than ``rankme``: 4 of 2048, 16 of 8192."""
    participation: float = 1.15
    """Dimensional when the newest (centred) participation ratio is at or below this. It
    sees a line of embeddings through the noise that RankMe still counts. Measured on
    `shapes`, six runs: SimSiam without predictor 1.00 to 1.05 in the second epoch. BYOL
    on small networks comes down to 1.30 and recovers."""
    participation_before: float = 1.8
    """And the panels before it must have been this low already."""
    small: float = 0.6
    """No rank above this share of ``min(N, D)`` is a collapse: keeps the absolute
    limits from firing on embeddings of two or three dimensions."""
    patience: int = 2
    """Newest panels that must all agree, so that one unlucky batch raises no alarm."""


@dataclass(frozen=True)
class Collapse:
    """A collapse that was found; ``str`` gives the line to print."""

    kind: Literal["complete", "dimensional"]
    measure: str
    """Name of the panel entry that decided."""
    value: float
    """Its newest value."""
    threshold: float
    """What it crossed."""
    figures: dict[str, float]
    """The newest panel's figures that a reader wants beside it."""
    advice: tuple[str, ...]
    """What to try, most likely first."""

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in self.figures.items())
        side = "<=" if self.value <= self.threshold else ">="
        return (
            f"{self.kind} collapse: {self.measure} {self.value:.3g} {side} "
            f"{self.threshold:.3g} ({shown}); try: {'; '.join(self.advice)}"
        )


REQUIRED = (
    "effective_rank",
    "rankme",
    "std_per_dimension",
    "mean_cosine",
    "dimensions",
    "examples",
)
"""Panel entries that :func:`diagnose` needs."""

_OPTIONAL = ("participation_ratio",)

_ADVICE = {
    "complete": (
        "check that the target branch is behind a stop-gradient",
        "add a predictor, or negatives, or a variance term",
        "raise the variance weight or lower the invariance weight",
        "centre the embeddings over the batch (BatchNorm at the projector's end)",
        "lower the learning rate or lengthen the warm-up",
    ),
    "dimensional": (
        "add a predictor, and check that only the other branch has the stop-gradient",
        "raise the covariance or redundancy weight, or whiten the embeddings",
        "lower the learning rate or the weight decay",
        "weaken the augmentations if two views share too little",
    ),
}


def diagnose(
    panels: Sequence[Mapping[str, float]], *, thresholds: Thresholds | None = None
) -> Collapse | None:
    """Name the collapse that the newest panels agree on, if any.

    Two kinds, in this order:

    - *complete*: all embeddings point one way (mean cosine near 1, or the deviation of
      every dimension near 0);
    - *dimensional*: they differ, but along one or two directions only. This is what
      predictor-free SimSiam does behind a BatchNorm: each dimension keeps deviation 1
      while all become copies of one, so only a rank of the embeddings shows it.

    Args:
        panels: history, newest last; each a mapping of plain numbers with at least the
            names of ``REQUIRED``, as :func:`ssljax.evaluation.panel` returns them
            (other entries are ignored).
        thresholds: limits; the defaults of :class:`Thresholds` if None.

    Returns:
        The diagnosis, or None: healthy, or fewer panels than the patience. A figure
        that is NaN crosses no limit; divergence is the training loop's to report.

    Raises:
        ValueError: if a panel that is read lacks a required entry.

    >>> healthy = dict(effective_rank=60, rankme=70, std_per_dimension=0.98,
    ...                mean_cosine=0.1, dimensions=128, examples=1024)
    >>> diagnose([healthy, healthy]) is None
    True
    >>> line = healthy | dict(rankme=1.1, effective_rank=1.1)
    >>> diagnose([healthy, line, line]).kind
    'dimensional'
    """
    limits = thresholds or Thresholds()
    if limits.patience < 1:
        raise ValueError(f"patience must be at least 1 panel, got {limits.patience}")
    recent = panels[-limits.patience :]
    if len(recent) < limits.patience:
        return None
    for panel in recent:
        missing = [name for name in REQUIRED if name not in panel]
        if missing:
            raise ValueError(
                f"a panel lacks {', '.join(missing)}; the alarm needs "
                f"{', '.join(REQUIRED)}"
            )
    newest = recent[-1]
    for rule in (_one_vector, _few_directions, _on_a_line, _no_spread):
        verdict = rule(newest, limits)
        earlier = _loosened(limits) if rule is _on_a_line else limits
        if verdict is not None and all(rule(panel, earlier) for panel in recent[:-1]):
            kind, measure, threshold = verdict
            return Collapse(
                kind=kind,
                measure=measure,
                value=float(newest[measure]),
                threshold=threshold,
                figures={
                    name: float(newest[name])
                    for name in (*REQUIRED, *_OPTIONAL)
                    if name in newest and name != measure
                },
                advice=_ADVICE[kind],
            )
    return None


def _one_vector(panel, limits):
    if panel["mean_cosine"] >= limits.mean_cosine:
        return "complete", "mean_cosine", limits.mean_cosine
    return None


def _few_directions(panel, limits):
    possible = min(panel["examples"], panel["dimensions"])
    limit = max(limits.rankme, limits.rank_fraction * possible)
    limit = min(limit, limits.small * possible)
    if panel["rankme"] <= limit:
        return "dimensional", "rankme", limit
    return None


def _on_a_line(panel, limits):
    possible = min(panel["examples"], panel["dimensions"])
    limit = min(limits.participation, limits.small * possible)
    if panel.get("participation_ratio", float("nan")) <= limit:
        return "dimensional", "participation_ratio", limit
    return None


def _loosened(limits: Thresholds) -> Thresholds:
    return replace(limits, participation=limits.participation_before)


def _no_spread(panel, limits):
    # After the ranks: embeddings on one axis have a small mean deviation too.
    if panel["std_per_dimension"] <= limits.std_per_dimension:
        return "complete", "std_per_dimension", limits.std_per_dimension
    return None

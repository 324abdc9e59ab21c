"""The collapse alarm: diagnose the spectrum panel's history and advise on the fix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Thresholds:
    """Limits beyond which a panel counts as collapsed.

    Complete collapse is judged on un-centred embeddings: they are one vector plus
    noise, and centring leaves only the noise, which fills all dimensions.
    """

    mean_cosine: float = 0.97
    """Complete at or above. Healthy embeddings have 0 to 0.4, also before training."""
    std_per_dimension: float = 0.05
    """Complete at or below. Healthy: 0.8 to 1; a common direction alone gives
    ``sqrt(1 - mean_cosine)``."""
    rankme: float = 2.5
    """Dimensional at or below. Healthy runs can be as low as 4 in the first epochs."""
    rank_fraction: float = 0.002
    """Dimensional when RankMe is at or below this share of ``min(N, D)``, if that is
    more than ``rankme``: 4 of 2048, 16 of 8192."""
    participation: float = 1.15
    """Dimensional when the newest (centred) participation ratio is at or below this. It
    detects embeddings on a line, despite noise that RankMe counts as rank. Measured in
    six runs on `shapes`: SimSiam without predictor has 1.00 to 1.05 in the second
    epoch; BYOL on small networks falls to 1.30 and recovers."""
    participation_before: float = 1.8
    """The panels before the newest must have been at or below this."""
    small: float = 0.6
    """A rank above this share of ``min(N, D)`` is never a collapse. Without this, the
    absolute limits would fire on embeddings of two or three dimensions."""
    patience: int = 2
    """Newest panels that must all agree, so that one unlucky batch raises no alarm."""


@dataclass(frozen=True)
class Collapse:
    """A detected collapse; ``str`` gives the line to print."""

    kind: Literal["complete", "dimensional"]
    measure: str
    """Name of the panel entry that crossed its limit."""
    value: float
    """Newest value of that entry."""
    threshold: float
    """The limit."""
    figures: dict[str, float]
    """Other values of the newest panel, to print beside it."""
    advice: tuple[str, ...]
    """Changes to try, the most promising first."""

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
    """Diagnose the collapse that the newest panels agree on, if any.

    There are two kinds, tested in this order:

    - *complete*: all embeddings point in one direction (mean cosine near 1, or the
      standard deviation of every dimension near 0);
    - *dimensional*: they differ, but only along one or two directions. SimSiam without
      predictor collapses this way behind a BatchNorm: each dimension keeps standard
      deviation 1 while all become copies of one, so only a rank shows it.

    Args:
        panels: history, newest last; each a mapping of plain numbers with at least the
            names in ``REQUIRED``, as in :func:`ssljax.evaluation.panel` (other entries
            are ignored).
        thresholds: limits; None uses the defaults of :class:`Thresholds`.

    Returns:
        The diagnosis, or None if the embeddings are healthy or there are fewer panels
        than the patience. NaN crosses no limit: the training loop reports divergence.

    Raises:
        ValueError: if one of the newest panels lacks a required entry.

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
                f"a panel lacks {', '.join(missing)}; include {', '.join(REQUIRED)}"
            )
    newest = recent[-1]
    for rule in (_one_vector, _few_directions, _on_a_line, _no_spread):
        verdict = rule(newest, limits)
        # A ratio falls for a few panels before it reaches its limit.
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

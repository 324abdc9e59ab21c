"""The interface between networks and losses: network outputs for all views."""

from collections.abc import Sequence
from typing import NamedTuple

import jax


class Outputs(NamedTuple):
    """Network outputs for all views of the global batch, one entry per view, float32.

    A method's loss maps them to one scalar; see `ssljax.methods.views_to_loss`.
    """

    projections: Sequence[jax.Array]
    """Projector outputs ``[N, D]`` of the views that the online network saw."""
    predictions: Sequence[jax.Array]
    """Predictor outputs ``[N, D]``; the projections where there is no predictor."""
    targets: Sequence[jax.Array]
    """Constants ``[N, D]``: the target network's projections, or the online ones
    behind a stop-gradient; for the first views, those of the largest size."""
    labels: jax.Array
    """``[N]``, -1 where unknown; only the supervised baseline reads them."""
    predictors: Sequence[jax.Array] = ()
    """Closed-form predictors ``[D, D]``, where the method has one."""
    key: jax.Array | None = None
    """Random key of this step, for stochastic losses."""

"""Turn a loss on embeddings into a loss on the network outputs for all views."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from ssljax import losses
from ssljax.losses.cross_entropy import cross_entropy_of_known
from ssljax.methods.spectral_functions import spectral_function
from ssljax.models import Outputs

Loss = Callable[..., jax.Array]


def between_projections(loss: Loss) -> Loss:
    """Apply ``loss(z1, z2, **options)`` to the projections and average over view pairs.

    >>> wired = between_projections(lambda a, b: jnp.mean((a - b) ** 2))
    >>> z = [jnp.zeros((2, 3)), jnp.ones((2, 3))]
    >>> float(wired(Outputs(z, z, z, jnp.zeros(2))))
    1.0
    """

    def wired(outputs: Outputs, **options) -> jax.Array:
        pairs = itertools.combinations(outputs.projections, 2)
        return jnp.mean(jnp.stack([loss(a, b, **options) for a, b in pairs]))

    return wired


def prediction_of_target(loss: Loss, *, reduce: Literal["sum", "mean"]) -> Loss:
    """Apply ``loss(p, target)``: each view predicts every other view's target.

    Args:
        loss: takes predictions and targets ``[N, D]``.
        reduce: "sum" over the ordered pairs as in BYOL, "mean" as in SimSiam.
    """

    def wired(outputs: Outputs, **options) -> jax.Array:
        p, t = outputs.predictions, outputs.targets
        each = jnp.stack([loss(p[i], t[j], **options) for i, j in _ordered(p, t)])
        return jnp.mean(each) if reduce == "mean" else jnp.sum(each)

    return wired


def with_closed_form_predictor(loss: Loss) -> Loss:
    """Apply ``loss(z1, target, predictor)`` and sum over ordered pairs of views."""

    def wired(outputs: Outputs, **options) -> jax.Array:
        z, t, w = outputs.projections, outputs.targets, outputs.predictors
        return jnp.sum(
            jnp.stack([loss(z[i], t[j], w[i], **options) for i, j in _ordered(z, t)])
        )

    return wired


def on_all_views(loss: Loss, *, stochastic: bool = False) -> Loss:
    """Apply ``loss(views, **options)``; a stochastic loss also gets the ``key``."""

    def wired(outputs: Outputs, **options) -> jax.Array:
        drawn = {"key": outputs.key} if stochastic else {}
        return loss(outputs.projections, **drawn, **options)

    return wired


def students_of_first_target(loss: Loss) -> Loss:
    """Apply ``loss(teacher_view, student_views)``, for methods with `teacher_first`."""

    def wired(outputs: Outputs, **options) -> jax.Array:
        return loss(outputs.targets[0], outputs.projections, **options)

    return wired


def agreement_of_spectral_transforms(
    views: Sequence[jax.Array], *, g: str, axis: str
) -> jax.Array:
    """Compute ``2 - 2 cos`` after a spectral transformation, averaged over view pairs.

    Args:
        views: embeddings ``[N, D]``.
        g: name or expression, see `ssljax.methods.spectral_functions`.
        axis: "batch" or "channel".

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, section 3.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> loss = agreement_of_spectral_transforms([z, -z], g="whitening", axis="batch")
    >>> round(float(loss), 4)
    4.0
    """
    function = spectral_function(g)
    t = [losses.spectral_transform(z, function, axis=axis) for z in views]
    pairs = itertools.combinations(t, 2)
    return jnp.mean(jnp.stack([losses.normalized_mse(a, b) for a, b in pairs]))


def cross_entropy(outputs: Outputs) -> jax.Array:
    """Compute the cross-entropy of the projections as logits.

    It is the mean over views and over the samples with a label.
    """
    per_view = [
        cross_entropy_of_known(logits, outputs.labels) for logits in outputs.projections
    ]
    return jnp.mean(jnp.stack(per_view))


def _ordered(views: Sequence, targets: Sequence) -> list[tuple[int, int]]:
    """Return the index pairs of each view with every other view's target."""
    pairs = itertools.product(range(len(views)), range(len(targets)))
    return [(i, j) for i, j in pairs if i != j]

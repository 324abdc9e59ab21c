"""From a loss on embeddings to a loss on what the networks made of all views."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssljax import losses
from ssljax.methods.spectral_functions import spectral_function

Loss = Callable[..., jax.Array]


class Outputs(NamedTuple):
    """What the networks made of the global batch, one entry per view, float32."""

    projections: Sequence[jax.Array]
    """Projector outputs ``[N, D]`` of the views that the online network saw."""
    predictions: Sequence[jax.Array]
    """Predictor outputs ``[N, D]``; the projections where there is no predictor."""
    targets: Sequence[jax.Array]
    """Constants ``[N, D]``: the target network's projections, or the online ones
    behind a stop-gradient; of the first views, those of the largest size."""
    labels: jax.Array
    """``[N]``, -1 where unknown; only the supervised baseline reads them."""
    predictors: Sequence[jax.Array] = ()
    """Closed-form predictors ``[D, D]``, where the method has one."""
    key: jax.Array | None = None
    """Random key of this step, for losses that draw."""


def between_projections(loss: Loss) -> Loss:
    """Wire ``loss(z1, z2, **options)`` to the projections, averaged over view pairs.

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
    """Wire ``loss(p, target)``: every view predicts the target of every other view.

    ``sum`` over the ordered pairs is BYOL's convention, ``mean`` is SimSiam's.
    """

    def wired(outputs: Outputs, **options) -> jax.Array:
        p, t = outputs.predictions, outputs.targets
        each = jnp.stack([loss(p[i], t[j], **options) for i, j in _ordered(p, t)])
        return jnp.mean(each) if reduce == "mean" else jnp.sum(each)

    return wired


def with_closed_form_predictor(loss: Loss) -> Loss:
    """Wire ``loss(z1, target, predictor)``: the papers' sum over the ordered pairs."""

    def wired(outputs: Outputs, **options) -> jax.Array:
        z, t, w = outputs.projections, outputs.targets, outputs.predictors
        return jnp.sum(
            jnp.stack([loss(z[i], t[j], w[i], **options) for i, j in _ordered(z, t)])
        )

    return wired


def on_all_views(loss: Loss, *, stochastic: bool = False) -> Loss:
    """Wire ``loss(views, **options)``; a stochastic one gets the step's ``key``."""

    def wired(outputs: Outputs, **options) -> jax.Array:
        drawn = {"key": outputs.key} if stochastic else {}
        return loss(outputs.projections, **drawn, **options)

    return wired


def students_of_first_target(loss: Loss) -> Loss:
    """Wire ``loss(teacher_view, student_views)``, for methods with `teacher_first`."""

    def wired(outputs: Outputs, **options) -> jax.Array:
        return loss(outputs.targets[0], outputs.projections, **options)

    return wired


def agreement_of_spectral_transforms(
    views: Sequence[jax.Array], *, g: str, axis: str
) -> jax.Array:
    """Mean over the pairs of views of ``2 - 2 cos`` after a spectral transformation.

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
    """Cross-entropy of the projections as logits, mean over views and known labels."""
    per_view = [
        cross_entropy_of_known(logits, outputs.labels) for logits in outputs.projections
    ]
    return jnp.mean(jnp.stack(per_view))


def cross_entropy_of_known(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy of the rows whose label is known; 0 where none is.

    Args:
        logits: ``[N, K]``.
        labels: classes ``[N]``, -1 where unknown.

    >>> logits = jnp.zeros((2, 4))
    >>> round(float(cross_entropy_of_known(logits, jnp.array([3, -1]))), 4)  # log 4
    1.3863
    """
    known = (labels >= 0).astype(jnp.float32)
    # A label of -1 would be read as the last class.
    each = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.maximum(labels, 0)
    )
    return (each * known).sum() / jnp.maximum(known.sum(), 1.0)


def _ordered(views: Sequence, targets: Sequence) -> list[tuple[int, int]]:
    """Every view with every target of another view."""
    pairs = itertools.product(range(len(views)), range(len(targets)))
    return [(i, j) for i, j in pairs if i != j]

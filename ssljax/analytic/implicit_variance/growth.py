"""How a mode of a linear network grows under the two Euclidean losses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_choice, check_rate
from ssljax.analytic.precision import in_float64

LOSSES = ("euclidean", "isoloss_euclidean")
STOP_GRADIENTS = ("target", "prediction", "none")


class Growth(NamedTuple):
    """Half the rate of ``ln s`` as a polynomial of the mode's predictor eigenvalue.

    ``ds/dt = 2 s (constant + linear lambda + quadratic lambda^2)``.
    """

    constant: float | jax.Array
    linear: float | jax.Array
    quadratic: float | jax.Array


@in_float64
def euclidean_growth(
    *,
    loss: str = "euclidean",
    stop_gradient: str = "target",
    predictor: bool = True,
    online_noise: float | jax.Array = 0.0,
    target_noise: float | jax.Array = 0.0,
    weight_decay: float | jax.Array = 0.0,
) -> Growth:
    """Return how a mode grows in a setting, as a polynomial of its level.

    Args:
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        stop_gradient: which branch is held fixed: the ``"target"``, as it should be,
            the ``"prediction"`` (the wrong side) or ``"none"``.
        predictor: False puts the identity in its place.
        online_noise: standard deviation of white noise on the online view.
        target_noise: the same of the target's view.
        weight_decay: ``dW = -weight_decay W`` per unit of time.

    Returns:
        The polynomial; its roots are the fixed points.

    Raises:
        ValueError: for an unknown name, IsoLoss with another stop-gradient, which it is
            not defined for, and for a noise or a weight decay below 0.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> euclidean_growth(weight_decay=0.1)
    Growth(constant=-0.1, linear=1.0, quadratic=-1.0)
    """
    check_choice("loss", loss, LOSSES)
    check_choice("stop_gradient", stop_gradient, STOP_GRADIENTS)
    if loss != "euclidean" and stop_gradient != "target":
        raise ValueError(
            f"{loss} has its stop-gradient on the target, got {stop_gradient!r}"
        )
    check_rate("online_noise", online_noise)
    check_rate("target_noise", target_noise)
    check_rate("weight_decay", weight_decay)
    online, target = online_noise**2, target_noise**2
    if stop_gradient == "target":
        constant, linear, quadratic = 0.0, 1.0, -1.0 - online
        if loss == "isoloss_euclidean":
            constant, linear, quadratic = 1.0, -1.0 - online, 0.0
    elif stop_gradient == "prediction":
        constant, linear, quadratic = -1.0 - target, 1.0, 0.0
    else:
        constant, linear, quadratic = -1.0 - target, 2.0, -1.0 - online
    if not predictor:  # the polynomial at lambda = 1
        constant, linear, quadratic = constant + linear + quadratic, 0.0, 0.0
    return Growth(constant - weight_decay, linear, quadratic)


@in_float64
def weight_decay_limits(
    weight_decay: float | jax.Array, *, loss: str = "euclidean"
) -> tuple[jax.Array, jax.Array]:
    """Return the threshold that an eigenvalue must exceed, and its limit then.

    Args:
        weight_decay: per unit of time, >= 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.

    Returns:
        Threshold and limit of the predictor's eigenvalues, two numbers. IsoLoss has
        threshold 0. Where every mode dies: infinity and 0.

    Raises:
        ValueError: for a negative weight decay or a loss of another name.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023: the roots of
    ``lambda (1 - lambda) = weight_decay``, and of ``1 - lambda = weight_decay``.

    >>> [round(float(x), 3) for x in weight_decay_limits(0.1)]
    [0.113, 0.887]
    """
    check_choice("loss", loss, LOSSES)
    check_rate("weight_decay", weight_decay)
    decay = jnp.asarray(weight_decay, jnp.float64)
    if loss == "isoloss_euclidean":
        alive = decay < 1.0
        threshold, limit = jnp.zeros_like(decay), 1.0 - decay
    else:
        alive = decay <= 0.25
        root = jnp.sqrt(jnp.where(alive, 1.0 - 4.0 * decay, 1.0))
        # Not as 1 - root, which would cancel.
        threshold, limit = 2.0 * decay / (1.0 + root), (1.0 + root) / 2.0
    return jnp.where(alive, threshold, jnp.inf), jnp.where(alive, limit, 0.0)

"""Features of a deep linear encoder with a predictor (JEPA) or a decoder (MAE).

The moments of source x and target y are diagonal in one basis: a feature has the
variance ``E[x_i^2]``, the covariance ``E[x_i y_i]``, and their ratio, the regression
coefficient rho. All layers of the encoder and the predictor start with one size w per
feature ("balanced"), and the encoder's value is ``w^depth``.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_choice,
    check_modes,
    check_positive,
    check_whole,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers

OBJECTIVES = ("jepa", "mae")


@in_float64
def encoder_velocity(
    encoder: ArrayLike,
    *,
    covariance: ArrayLike,
    variance: ArrayLike,
    depth: int,
    objective: str = "jepa",
) -> jax.Array:
    """Return the rate of a balanced encoder's values.

    Args:
        encoder: values W of the whole encoder, ``[features]``, > 0.
        covariance: of source and target, > 0, a number or ``[features]``.
        variance: of the source, > 0, a number or ``[features]``.
        depth: number L of the encoder's layers.
        objective: ``"jepa"`` predicts the encoded target behind a stop-gradient,
            ``"mae"`` decodes the target itself.

    Returns:
        ``L (covariance W^(3 - 1/L) - variance W^3)`` for JEPA, ``L (covariance W^(2 -
        1/L) - variance W^3)`` for MAE, ``[features]``, time being learning rate x step.

    Raises:
        ValueError: for an unknown objective or numbers out of their range.

    Source: Littwin et al., "How JEPA avoids noisy features: the implicit bias of deep
    linear self distillation networks", NeurIPS 2024 (arXiv 2407.03475); derived again
    here for the loss with 1/2.

    >>> w = jnp.array([0.5])
    >>> encoder_velocity(w, covariance=1.0, variance=1.0, depth=1).tolist()
    [0.125]
    """
    w = check_modes("encoder", encoder)
    check_positive("encoder", w)
    joint, own = _checked(covariance, variance, depth, objective)
    power = (3.0 if objective == "jepa" else 2.0) - 1.0 / depth
    return depth * (joint * w**power - own * w**3)


@in_float64
def encoder_limits(
    *,
    covariance: ArrayLike,
    variance: ArrayLike,
    depth: int,
    objective: str = "jepa",
) -> jax.Array:
    """Return the values at which a balanced encoder ends.

    Args:
        covariance: see `encoder_velocity`, as the three that follow.
        variance: of the source.
        depth: number L of the encoder's layers.
        objective: ``"jepa"`` or ``"mae"``.

    Returns:
        ``rho^L`` for JEPA, ``rho^(L / (L + 1))`` for MAE, whose decoder and encoder
        together reach rho.

    Raises:
        ValueError: see `encoder_velocity`.

    Source: Littwin et al., NeurIPS 2024.

    >>> encoder_limits(covariance=1.0, variance=2.0, depth=2).tolist()
    0.25
    """
    joint, own = _checked(covariance, variance, depth, objective)
    share = depth if objective == "jepa" else depth / (depth + 1.0)
    return (joint / own) ** share


@in_float64
def solve_encoder(
    start: ArrayLike,
    *,
    covariance: ArrayLike,
    variance: ArrayLike,
    depth: int,
    objective: str = "jepa",
    predictor: ArrayLike | None = None,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the encoder's values, feature by feature.

    Args:
        start: values of the encoder at time 0, ``[features]``, > 0; its layers are
            balanced.
        covariance: see `encoder_velocity`, as the three that follow.
        variance: of the source.
        depth: number L of the encoder's layers.
        objective: ``"jepa"`` or ``"mae"``.
        predictor: values v of predictor or decoder at time 0, ``[features]``, > 0; None
            takes the layers' ``start^(1/L)``. The flow keeps ``v^2 - w^2``.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: values of the encoder, ``[times, features]``.

    Raises:
        ValueError: see `encoder_velocity`.

    Source: Littwin et al., NeurIPS 2024; another start of the predictor is derived.

    >>> solution = solve_encoder([0.1], covariance=1.0, variance=1.0, depth=2)
    >>> round(float(solution(30.0)[0]), 4)
    1.0
    """
    start = check_modes("start", start)
    check_positive("start", start)
    _checked(covariance, variance, depth, objective)
    params = {
        "start": start,
        **as_numbers({"covariance": covariance, "variance": variance}),
    }
    if predictor is not None:
        params["predictor"] = check_modes("predictor", predictor, like=start)
        check_positive("predictor", params["predictor"])
    settings = {"depth": depth, "objective": objective, "adjoint": adjoint}
    return Solution(
        params=params,
        law=_encoder_law,
        settings=tuple(settings.items()),
        title=f"encoder of depth {depth}, {objective.upper()}",
        quantity="value of the encoder",
    )


def _encoder_law(
    params: dict, t: jax.Array, *, depth: int, objective: str, adjoint: str
) -> jax.Array:
    layer = jnp.log(params["start"]) / depth
    joint, own = params["covariance"], params["variance"]
    head = jnp.log(params["predictor"]) if "predictor" in params else layer

    # In logarithms, which start far below zero and stay real.
    def velocity(logs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        w, v = jnp.exp(logs[0]), jnp.exp(logs[1])
        product = w**depth
        wanted = product if objective == "jepa" else jnp.ones_like(w)
        left = joint * wanted - own * v * product
        return w ** (depth - 2) * v * left, product / v * left

    values = integrate(
        velocity,
        (layer, head),
        t,
        rtol=1e-10,
        atol=1e-12,
        estimate_error=False,
        adjoint=adjoint,
    ).values
    return jnp.exp(depth * values[0])


def _checked(
    covariance: ArrayLike, variance: ArrayLike, depth: int, objective: str
) -> tuple[jax.Array, jax.Array]:
    """Return both moments as arrays; raise for values out of range."""
    check_choice("objective", objective, OBJECTIVES)
    check_whole("depth", depth, 1)
    check_positive("covariance", covariance)
    check_positive("variance", variance)
    return jnp.asarray(covariance, float), jnp.asarray(variance, float)

"""Correlations above which a small mode grows, in closed form.

The zeros of the rates of `closed_forms`, for one small mode among others that rest.
White inputs, modes spread over all channels. ``kappa`` is N / (N - 1).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.fingerprint.losses import FINGERPRINTED
from ssljax.analytic.inputs import check_between, check_choice, check_positive
from ssljax.analytic.precision import in_float64

# The eps in VICReg's standard deviation.
_EPS = 1e-4


class _Place(NamedTuple):
    """Where the small mode is looked at."""

    level: jax.Array
    others: jax.Array
    modes: int
    kappa: float


def _of_predictor(place: _Place, *, exponent: Any) -> jax.Array:
    """Zero of ``2 p (rho - p)``: the others rest at ``rho^(1 / exponent)``."""
    return place.others * place.level**exponent


def _linearized_barlow_twins(place: _Place, *, off_diagonal_weight: Any) -> jax.Array:
    """Zero of ``8 gamma lambda (1 - gamma lambda)``, which is at gamma = 0."""
    del off_diagonal_weight
    return jnp.zeros_like(place.others)


def _barlow_twins(place: _Place, *, off_diagonal_weight: Any) -> jax.Array:
    """Zero in x of ``(1 - rho)(x - rho) + w rho x + w rho^2 / (M - 1)``, level 0."""
    rho, weight = place.others, off_diagonal_weight
    spread = weight * rho / (place.modes - 1)
    return rho * (1.0 - rho - spread) / (1.0 - rho + weight * rho)


def _vicreg(
    place: _Place,
    *,
    invariance_weight: Any,
    variance_weight: Any,
    covariance_weight: Any,
) -> jax.Array:
    """Zero of hinge and covariance against the invariance, at the others' rest.

    The hinge holds the mean deviation at 1, or below it at ``kappa b / (4 a (1 -
    rho))`` where the invariance is stronger.
    """
    a, b, c = invariance_weight, variance_weight, covariance_weight
    kappa, modes = place.kappa, place.modes
    deviation = jnp.minimum(1.0, kappa * b / (4.0 * a * (1.0 - place.others)))
    rest = (deviation**2 - _EPS) / kappa
    small = rest * place.level
    mean = (rest * (modes - 1) + small) / modes
    hinge = kappa * b / (2.0 * jnp.sqrt(jnp.maximum(kappa * mean, 0.0) + _EPS))
    covariance = 4.0 * c * kappa**2 * (mean - small)
    # Below a deviation of sqrt(eps) everything shrinks.
    return jnp.where(rest > 0.0, 1.0 - (hinge + covariance) / (2.0 * a), jnp.nan)


BOUNDARIES: dict[str, Callable[..., jax.Array]] = {
    "asymmetric_euclidean": _of_predictor,
    "isoloss_euclidean": _of_predictor,
    "barlow_twins": _barlow_twins,
    "linearized_barlow_twins": _linearized_barlow_twins,
    "vicreg": _vicreg,
}
"""Losses of the table whose threshold has a closed form."""


@in_float64
def growth_boundary(
    name: str,
    hyper: Mapping[str, Any] | None = None,
    *,
    level: Any = 1e-4,
    others: Any = 0.8,
    modes: int = 16,
    samples: int = 256,
) -> jax.Array:
    """Compute the correlation above which a small mode grows, by its formula.

    Args:
        name: one of `BOUNDARIES`.
        hyper: hyper-parameters of the loss, numbers or arrays ``[X]``; those left out
            have the values of the table.
        level: size of the small mode as a multiple of the others', in (0, 1).
        others: correlation of the other modes, in (0, 1).
        modes: number M of modes, a power of two.
        samples: number N of pairs.

    Returns:
        The correlation, which lies outside of [-1, 1] where all or no small modes grow
        and is NaN where the others have no rest.

    Raises:
        ValueError: for an unknown name or hyper-parameter, or numbers out of range.

    >>> print(round(float(growth_boundary("vicreg")), 2))
    0.67
    """
    check_choice("loss", name, tuple(BOUNDARIES))
    check_positive("level", level)
    check_between("others", others, 0, 1, "()")
    known = FINGERPRINTED[name].hyper
    for key in hyper or {}:
        check_choice("hyper-parameter", key, tuple(known))
    numbers = {
        key: jnp.asarray(value, jnp.float64)
        for key, value in {**known, **(hyper or {})}.items()
    }
    place = _Place(
        jnp.asarray(level, jnp.float64),
        jnp.asarray(others, jnp.float64),
        modes,
        samples / (samples - 1.0),
    )
    found = BOUNDARIES[name](place, **numbers)
    shape = jnp.broadcast_shapes(
        *(x.shape for x in numbers.values()), place.level.shape
    )
    return jnp.broadcast_to(found, shape)

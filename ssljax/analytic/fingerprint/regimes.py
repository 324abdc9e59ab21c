"""Rates of a loss over many settings at once, and the regime that they amount to."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.fingerprint.growth import equalisation_of_mode
from ssljax.analytic.fingerprint.loss_program import checked_program
from ssljax.analytic.fingerprint.model import TwoViews, log_rates
from ssljax.analytic.fingerprint.probe import log_rates_and_rounding, resting_levels
from ssljax.analytic.fingerprint.splitting import SPLIT, WIDE_SPLIT, split_mean
from ssljax.analytic.program import open_stop_gradients

REGIMES = (
    "no force",
    "collapse",
    "small modes die",
    "recruits and spreads",
    "recruits and equalises",
)
"""No rate is more than rounding; the whole spectrum shrinks; a small mode shrinks while
the others are held; it grows, and differences between modes grow too, or decay."""

_BATCH = 8  # settings that are evaluated side by side
# A drift below this share of the largest rate counts as none: see `Fingerprint`.
_NEGLIGIBLE = 1e-3
# Besides the small mode, one of this size shows whether there is any force.
_MIDDLE = 0.5


class Rates:
    """Compiled rates of a loss over settings.

    Args:
        loss: pure scalar function of two embeddings and, by keyword, hyper-parameters.
        views: the inputs.
        names: of the hyper-parameters.
    """

    def __init__(
        self, loss: Callable[..., Any], views: TwoViews, names: tuple[str, ...]
    ) -> None:
        self.views = TwoViews(*map(jnp.asarray, views))
        self.modes = views.source.shape[1]
        self._loss = loss

        def at_half(z1: jax.Array, z2: jax.Array) -> jax.Array:
            return loss(z1, z2, **dict.fromkeys(names, jnp.float64(0.5)))

        program = checked_program(at_half, self.views.source.shape)
        self._split = SPLIT if program.decomposed else None
        self._wide = WIDE_SPLIT if program.decomposed_in_full else None
        self.isotropic = _over_cases(self._isotropic)
        self.point = _over_cases(self._point)

    def _of_amplitudes(
        self, hyper: dict[str, jax.Array], correlation: jax.Array
    ) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
        def loss(z1: jax.Array, z2: jax.Array) -> jax.Array:
            return self._loss(z1, z2, **hyper)

        def rates(amplitudes: jax.Array) -> tuple[jax.Array, jax.Array]:
            return log_rates_and_rounding(loss, self.views, amplitudes, correlation)

        if self._split is None:
            return rates
        return lambda amplitudes: split_mean(rates, amplitudes, self._split)

    def _isotropic(self, case: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        """Return the rate of modes of one size, and its floor."""
        even = jnp.full(self.modes, case["others"])
        rates = self._of_amplitudes(case["hyper"], even)
        size = jnp.sqrt(case["level"])
        found, _ = rates(jnp.full(self.modes, size))
        # Equal modes can be a minimum, where no sample pulls at all.
        spread = np.geomspace(0.5, 2.0, self.modes) ** 0.5
        _, rounding = rates(size * jnp.asarray(spread))
        return jnp.mean(found), jnp.mean(rounding)

    def _point(self, case: dict[str, Any]) -> tuple[jax.Array, ...]:
        """Return growth, equalisation, a middle rate, and the floors of the rates."""
        first = jnp.arange(self.modes) == 0
        correlations = jnp.where(first, case["correlation"], case["others"])
        rates = self._of_amplitudes(case["hyper"], correlations)
        size = jnp.sqrt(case["reference"])
        both = [
            rates(size * jnp.where(first, sign * jnp.sqrt(level), 1.0))
            for level in (case["small"], _MIDDLE)
            for sign in (1.0, -1.0)
        ]
        found, floors = (
            0.5 * (values[::2] + values[1::2])
            for values in (jnp.stack([x[i][0] for x in both]) for i in (0, 1))
        )

        def full(amplitudes: jax.Array, correlation: jax.Array) -> jax.Array:
            def loss(z1: jax.Array, z2: jax.Array) -> jax.Array:
                return self._loss(z1, z2, **case["hyper"])

            return log_rates(loss, self.views, amplitudes, correlation)

        opened = open_stop_gradients(full)

        def smooth(amplitudes: jax.Array, correlation: jax.Array) -> jax.Array:
            if self._wide is None:
                return opened(amplitudes, correlation)
            return split_mean(lambda a: opened(a, correlation), amplitudes, self._wide)

        logs = jnp.full(self.modes, jnp.log(case["reference"]))
        decay = equalisation_of_mode(smooth, logs, correlations, 1.0 * first)
        return found[0], decay, found[1], floors[0], floors[1]


def _over_cases(function: Callable) -> Callable:
    """Return a compiled map of a function over a pytree of ``[cases]``, in batches."""

    @jax.jit
    def mapped(cases: Any) -> Any:
        return jax.lax.map(jax.vmap(function), cases)

    def of(cases: Any) -> list[np.ndarray]:
        count = len(jax.tree.leaves(cases)[0])
        # Pad with the last case, so that calls of as many batches share one shape.
        short = -count % _BATCH

        def cut(x: Any) -> jax.Array:
            filled = np.pad(np.asarray(x, float), (0, short), "edge")
            return jnp.asarray(filled.reshape(-1, _BATCH))

        found = mapped(jax.tree.map(cut, cases))
        return [np.asarray(x).reshape(-1)[:count] for x in found]

    return of


def rest(
    rates: Rates, hyper: Mapping[str, np.ndarray], others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find where isotropic spectra rest, and their drift where they do not.

    Args:
        rates: of the loss.
        hyper: settings, ``[cases]`` each.
        others: correlation of all modes, ``[cases]``.

    Returns:
        Reference levels, 1 without a fixed point, and the drifts there; ``[cases]``.

    Raises:
        ValueError: where a gradient is not finite.
    """
    keys = [*hyper, "others"]
    table = np.stack([*hyper.values(), others], axis=1)
    # Many settings repeat: the fixed point does not depend on the mode's correlation.
    distinct, place = np.unique(table, axis=0, return_inverse=True)
    columns = dict(zip(keys, distinct.T, strict=True))
    rho = columns.pop("others")

    def isotropic(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = levels.shape[1]
        found = rates.isotropic(
            {
                "hyper": {key: np.repeat(x, count) for key, x in columns.items()},
                "others": np.repeat(rho, count),
                "level": levels.ravel(),
            }
        )
        if not np.isfinite(found[0]).all():
            wrong = levels.ravel()[~np.isfinite(found[0])][0]
            raise ValueError(
                f"the loss has no finite gradient at equal eigenvalues {wrong:.3g}"
            )
        return found[0].reshape(levels.shape), found[1].reshape(levels.shape)

    levels = resting_levels(isotropic, len(distinct))
    drift, floor = isotropic(np.ones((len(distinct), 1)))
    moved = np.isnan(levels) & (np.abs(drift) > floor)[:, 0]
    drift = np.where(moved, drift[:, 0], 0.0)
    place = place.ravel()
    return np.where(np.isnan(levels), 1.0, levels)[place], drift[place]


def measure(
    rates: Rates,
    hyper: Mapping[str, np.ndarray],
    correlation: np.ndarray,
    others: np.ndarray,
    reference: np.ndarray,
    *,
    level: float,
) -> list[np.ndarray]:
    """Return growth, equalisation, a middle rate and two floors, ``[cases]`` each.

    Raises:
        ValueError: where a rate is not finite.
    """
    found = rates.point(
        {
            "hyper": dict(hyper),
            "correlation": correlation,
            "others": others,
            "reference": reference,
            "small": np.full(len(others), level),
        }
    )
    wrong = ~np.isfinite(np.stack(found)).all(axis=0)
    if wrong.any():
        at = ", ".join(f"{key} {x[wrong][0]:.3g}" for key, x in hyper.items())
        raise ValueError(f"the loss has no finite rate at {at or 'these settings'}")
    return found


def classify(
    drift: np.ndarray,
    growth: np.ndarray,
    equalisation: np.ndarray,
    middle: np.ndarray,
    floor: np.ndarray,
    middle_floor: np.ndarray,
) -> np.ndarray:
    """Return indices into `REGIMES`, of the shape of the rates.

    >>> zero, one = np.zeros(1), np.ones(1)
    >>> REGIMES[int(classify(zero, one, -one, one, zero, zero)[0])]
    'recruits and spreads'
    """
    force = np.max(np.abs([growth, equalisation, middle]), axis=0)
    regime = np.where(equalisation > 0, 4, 3)
    regime = np.where(growth > floor, regime, 2)
    regime = np.where(drift < -_NEGLIGIBLE * force, 1, regime)
    still = (np.abs(growth) <= floor) & (np.abs(middle) <= middle_floor)
    return np.where(still, 0, regime)

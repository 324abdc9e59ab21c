"""A solution's parameters from measured eigenvalues, with error bars."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree

from ssljax.analytic.inputs import (
    check_finite,
    check_positive,
    check_real,
    check_times,
)

# Singular values of the scaled Jacobian below this share of the largest: a direction
# in which the parameters do not change the values.
_UNDETERMINED = 1e-8
# Replaces a residual that is not finite, so that a step there is rejected.
_FAR = 1e8
# A sum of squares above this share of the values' own explains nothing.
_NOTHING = 0.99


class Fit(NamedTuple):
    """Fitted parameters and how well the values determine them."""

    solution: Any
    """The `Solution` with the fitted parameters."""
    errors: dict[str, Any]
    """Standard error of each entry of the free parameters, by name."""
    covariance: np.ndarray
    """``[free, free]``, of all free entries, sorted by name as ``errors`` is."""
    noise: float
    """Standard deviation of the values about the solution."""
    evaluations: int
    """Number of evaluations of the solution."""

    def __repr__(self) -> str:
        rows = []
        for name, errors in self.errors.items():
            values = np.atleast_1d(self.solution.params[name]).ravel()
            for i, (value, error) in enumerate(
                zip(values, np.atleast_1d(errors).ravel(), strict=True)
            ):
                label = f"{name}[{i}]" if np.ndim(errors) else name
                rows.append(f"  {label:<16} {value:.6g} +- {error:.2g}")
        head = f"Fit({self.solution.title}, noise {self.noise:.2g}"
        return "\n".join([head, *rows]) + ")"


def fit(
    solution: Any,
    times: Any,
    values: Any,
    *,
    free: Sequence[str] | None = None,
    noise: Any = None,
) -> Fit:
    """Find the parameters of a solution from measured values, by least squares.

    The residuals' derivatives are those of the solution itself, by `jax.jacfwd`.

    Args:
        solution: a `Solution`; its parameters are the first guess, and those that are
            not free keep their values.
        times: ``[times]``, ascending, from 0 on.
        values: measurements, ``[times, modes]`` as ``solution(times)``; NaN where
            a value is missing.
        free: names of parameters to fit; None takes all.
        noise: standard deviation of the values, a number or an array that broadcasts
            to them; None estimates one number from the residuals.

    Returns:
        The fitted solution and standard errors, from the curvature of the sum of
        squares at its minimum: right for Gaussian noise and enough values.

    Raises:
        ValueError: for values of another shape or that are infinite, fewer values than
            parameters, unknown names, parameters that the values do not determine, and
            values that the solution describes no better than zeros do.

    >>> from ssljax.analytic.solution import Solution
    >>> def decay(p, t): return jnp.exp(-p["rate"][None, :] * t[:, None])
    >>> t = np.linspace(0.0, 2.0, 50)
    >>> measured = np.exp(-1.3 * t)[:, None] + 0.01 * np.sin(40.0 * t)[:, None]
    >>> found = fit(Solution({"rate": np.ones(1)}, decay), t, measured)
    >>> bool(abs(found.solution.params["rate"][0] - 1.3) < 2 * found.errors["rate"][0])
    True
    """
    if not (hasattr(solution, "params") and hasattr(solution, "replace")):
        raise ValueError(
            f"solution must be a Solution, as solve_* return, got {solution!r}"
        )
    free = [free] if isinstance(free, str) else free
    names = list(solution.params) if free is None else list(free)
    solution.replace(**{name: None for name in names})  # refuses unknown names
    if not names:
        raise ValueError("free must name at least one parameter")
    with jax.enable_x64(True):
        return _fit(solution, times, values, names, noise)


def _fit(solution: Any, times: Any, values: Any, names: list[str], noise: Any) -> Fit:
    times = np.asarray(check_times("times", times))
    guess = {name: jnp.asarray(solution.params[name], float) for name in names}
    first, unravel = ravel_pytree(guess)
    measured = np.asarray(check_real("values", values))
    expected = jax.eval_shape(solution, times).shape
    if measured.shape != expected:
        raise ValueError(
            f"values must be {list(expected)} as solution(times), "
            f"got {list(measured.shape)}"
        )
    if np.isinf(measured).any():
        raise ValueError("values must be finite, or NaN where one is missing; got inf")
    seen = np.isfinite(measured).ravel()
    if seen.sum() <= first.size:
        raise ValueError(
            f"{seen.sum()} values do not determine {first.size} parameters; "
            "measure more or name fewer in free"
        )
    if noise is not None:
        check_positive("noise", noise)
        check_finite("noise", noise)
        sizes = zip(np.shape(noise)[::-1], expected[::-1], strict=False)
        if np.ndim(noise) > len(expected) or any(a not in (1, b) for a, b in sizes):
            raise ValueError(
                f"noise must be a number or broadcast to {list(expected)}, "
                f"got {list(np.shape(noise))}"
            )
    weight = 1.0 / np.broadcast_to(1.0 if noise is None else noise, measured.shape)

    def residuals(flat: np.ndarray) -> np.ndarray:
        found = np.asarray(_values(solution, unravel(jnp.asarray(flat)), times))
        gaps = ((found - measured) * weight).ravel()[seen]
        return np.nan_to_num(gaps, nan=_FAR, posinf=_FAR, neginf=-_FAR)

    def slopes(flat: np.ndarray) -> np.ndarray:
        found = _slopes(solution, unravel(jnp.asarray(flat)), times)
        # A dict is sorted by name, and so is the flat vector.
        parts = [np.asarray(found[k]).reshape(seen.size, -1) for k in sorted(found)]
        table = np.concatenate(parts, axis=1) * weight.reshape(-1, 1)
        return np.nan_to_num(table[seen])

    result = scipy.optimize.least_squares(
        residuals,
        np.asarray(first),
        jac=slopes,  # type: ignore[arg-type]
        bounds=(_lowest(guess), np.inf),
        x_scale="jac",
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    of_zeros = np.sum((measured * weight).ravel()[seen] ** 2)
    if np.sum(result.fun**2) > _NOTHING * of_zeros:
        raise ValueError(
            "no parameters found that describe the values better than zeros do; check "
            "their sign and the units of times, or give a nearer first guess"
        )
    scatter = float(np.sqrt(np.sum(result.fun**2) / (seen.sum() - first.size)))
    covariance = _covariance(np.asarray(result.jac), names)
    if noise is None:
        covariance = scatter**2 * covariance
    sizes = unravel(jnp.asarray(np.sqrt(np.diagonal(covariance))))
    return Fit(
        solution.replace(**jax.tree.map(np.asarray, unravel(jnp.asarray(result.x)))),
        jax.tree.map(np.asarray, sizes),
        covariance,
        scatter if noise is None else float(np.sqrt(np.mean(1.0 / weight**2))),
        int(result.nfev),
    )


@jax.jit
def _values(solution: Any, free: dict[str, jax.Array], times: jax.Array) -> jax.Array:
    return solution.replace(**free)(times)


# Compiled once for all fits of one kind of solution: the law is part of the pytree.
_slopes = jax.jit(jax.jacfwd(_values, argnums=1))


def _lowest(guess: dict[str, jax.Array]) -> np.ndarray:
    """Return lower bounds: a start that is positive cannot become negative."""
    bounds = {
        name: jnp.where((value > 0) & (name == "start"), 0.0, -jnp.inf)
        for name, value in guess.items()
    }
    return np.asarray(ravel_pytree(bounds)[0])


def _covariance(slope: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the inverse of ``J^T J``, scaled so that units do not matter."""
    sizes = np.linalg.norm(slope, axis=0)
    _, values, vectors = np.linalg.svd(slope / np.where(sizes > 0, sizes, 1.0))
    if not np.all(sizes > 0) or values[-1] < _UNDETERMINED * values[0]:
        raise ValueError(
            f"the values do not determine all of {', '.join(names)}; "
            "name fewer of them in free"
        )
    scaled = (vectors.T / values**2) @ vectors
    return scaled / np.outer(sizes, sizes)

"""Schedules of the learning rate and of a target network's momentum."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.config.checks import check_range

Schedule = Callable[[Any], jax.Array]
ScalarOrSchedule = float | Schedule


def schedule(
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    final_fraction: float = 0.0,
    warmup_start: float = 0.0,
    decay: str = "cosine",
) -> Schedule:
    """Return a linear warm-up to ``peak``, then half a cosine (or a constant).

    Args:
        peak: learning rate at step ``warmup_steps``, already scaled by the batch size.
        total_steps: step at which the decay ends; later steps keep the final value.
        warmup_steps: steps of linear warm-up, at most ``total_steps``. With 0 the
            schedule starts at ``peak``.
        final_fraction: last learning rate as a fraction of ``peak`` (VICReg and Barlow
            Twins 0.001, SimCLR and BYOL 0).
        warmup_start: learning rate at step 0 (not a fraction; solo-learn's is 3e-5).
        decay: "cosine", or "constant" to stay at ``peak`` after the warm-up.

    Returns:
        ``rate(step)``: float32 scalar for an integer or an array of steps.

    Raises:
        ValueError: if a value is out of its range.

    >>> rate = schedule(peak=2.0, total_steps=100, warmup_steps=10)
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 55, 100)]
    [0.0, 1.0, 2.0, 1.0, 0.0]
    """
    if decay not in ("cosine", "constant"):
        raise ValueError(f'decay must be "cosine" or "constant", got {decay!r}')
    check_range("peak", peak, low=0.0)
    check_range("warmup_start", warmup_start, low=0.0)
    check_range("final_fraction", final_fraction, low=0.0, high=1.0)
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            f"warmup_steps must lie in [0, total_steps = {total_steps}], "
            f"got {warmup_steps}; shorten the warm-up or train longer"
        )
    final = peak * final_fraction
    decay_steps = max(total_steps - warmup_steps, 1)

    def rate(step: Any) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        warm = warmup_start + (peak - warmup_start) * step / max(warmup_steps, 1)
        if decay == "constant":
            late = jnp.full_like(step, peak)
        else:
            done = jnp.clip((step - warmup_steps) / decay_steps, 0.0, 1.0)
            late = final + (peak - final) * 0.5 * (1.0 + jnp.cos(math.pi * done))
        return jnp.where(step < warmup_steps, warm, late)

    return rate


def ema_momentum(
    step: Any, *, total_steps: int, base: float, final: float = 1.0
) -> jax.Array:
    """Compute a target network's momentum, a cosine from ``base`` to ``final``.

    Args:
        step: steps done, an integer or an array.
        total_steps: step at which ``final`` is reached; it stays there.
        base: momentum at step 0, e.g. 0.996.
        final: momentum at the end. ``final = base`` keeps it constant.

    Returns:
        ``final - (final - base) (cos(pi step / total_steps) + 1) / 2``, float32.

    Source: Grill et al., "Bootstrap your own latent", NeurIPS 2020, section 3.2.

    >>> [round(float(ema_momentum(k, total_steps=10, base=0.9)), 4) for k in (0, 5, 10)]
    [0.9, 0.95, 1.0]
    """
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    check_range("base", base, low=0.0, high=1.0)
    check_range("final", final, low=0.0, high=1.0)
    done = jnp.clip(jnp.asarray(step, jnp.float32) / total_steps, 0.0, 1.0)
    return final - (final - base) * (jnp.cos(math.pi * done) + 1.0) / 2.0

"""Half times of modes under batches of a few pairs: their mean and spread."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_between,
    check_modes,
    check_not_negative,
    check_positive,
    check_rates,
    check_spectrum,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.text import short

# Of an integral over a mode's rise.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


class BatchTimes(NamedTuple):
    """When modes are half learned under batches."""

    mean: jax.Array
    """``[modes]``, learning rate x step."""
    deviation: jax.Array
    """Standard deviation between runs, ``[modes]``."""

    def __repr__(self) -> str:
        return short(self)


@in_float64
def batch_half_times(
    start: ArrayLike,
    gamma: ArrayLike,
    *,
    sigma: ArrayLike,
    batch_size: ArrayLike,
    learning_rate: ArrayLike = 0.0,
) -> BatchTimes:
    """Return when modes are half learned under batches: the mean and its spread.

    To first order in 1/B and in the learning rate h. With the ratio ``k = sigma /
    gamma``, ``q = lambda(0) / (1 - lambda(0))`` and tau the half time of the flow:

    - the loss's bias under batches adds ``1 / (2 B) int (k_j sum k_i lambda_i + k_j^2
      lambda_j + sum lambda_i + lambda_j) / (1 - lambda_j) dt`` up to tau: every mode
      learned before delays the later ones in proportion to their wait;
    - finite steps add ``h / 2 log(f(tau) / f(0))``, f the flow's rate of s;
    - the noise of the mode itself adds ``K h (R - 3 G) / 4``, ``K = (1 + k^2) / B``,
      ``R = -log q - 3/2 + 2 q - q^2 / 2``, ``G = 4 log(2 / (1 + q)) - 5/2 + 3 q -
      q^2 / 2``, because a logarithm is concave;
    - the variance between runs is ``h K R / (8 gamma)``, nearly ``h tau K``.

    Args:
        start: singular values at time 0, ``[modes]``, > 0.
        gamma: eigenvalues of the cross moment, ``[modes]``, > 0.
        sigma: eigenvalues of both views' own moment, ``[modes]``, >= 0.
        batch_size: B, number of jointly normal pairs drawn for every step, > 0.
        learning_rate: h of gradient descent, >= 0.

    Returns:
        The mean and the standard deviation of the time at which ``gamma s^2`` is one
        half. Left out are terms of the order of ``1 / B^2``, ``h^2``, and of ``h / B``
        that the modes' noises have together.

    Raises:
        ValueError: for other shapes, numbers out of their range, or a ``gamma start^2``
            of a half and more.

    Source: derived; without batches Simon et al., ICML 2023, section 4.2.

    >>> numbers = {"sigma": [1.0], "learning_rate": 0.01}
    >>> found = batch_half_times([1e-3], [1.0], batch_size=32, **numbers)
    >>> found.mean.round(4).tolist(), found.deviation.round(4).tolist()
    ([1.7659], [0.031])
    """
    gamma = check_rates("gamma", gamma)
    check_positive("gamma", gamma)
    start = check_modes("start", start, like=gamma)
    check_positive("start", start)
    sigma = check_spectrum("sigma", sigma, like=gamma)
    check_positive("batch_size", batch_size)
    check_not_negative("learning_rate", learning_rate)
    check_between("gamma start^2", gamma * start**2, 0.0, 0.5, "()")
    h = jnp.asarray(learning_rate, float)
    log_first = jnp.log(gamma) + 2.0 * jnp.log(start)
    logit = log_first - jnp.log1p(-jnp.exp(log_first))
    q, ratio = jnp.exp(logit), sigma / gamma
    time = -logit / (8.0 * gamma)
    # lambda_i over lambda_j / (1 - lambda_j), which rises from q_j to one.
    odds = q[None, :] + (1.0 - q)[None, :] * 0.5 * (_NODES[:, None] + 1.0)
    since = (jnp.log(odds) - logit[None, :]) / (8.0 * gamma)[None, :]
    sizes = jax.nn.sigmoid(
        logit[None, None, :] + 8.0 * gamma[None, None, :] * since[:, :, None]
    )
    during = jnp.einsum("n,nji->ji", 0.5 * _WEIGHTS, sizes) * (1.0 - q)[:, None]
    during = during / (8.0 * gamma)[:, None]
    ends = logit[None, :] + 8.0 * gamma[None, :] * time[:, None]
    waited = jax.nn.softplus(ends) - jax.nn.softplus(logit)[None, :]
    waited = waited / (8.0 * gamma)[None, :]
    own = 1.0 + ratio**2
    coupling = 1.0 + jnp.outer(ratio, ratio)
    bias = jnp.sum(coupling * (waited + during), axis=1) + own * (1.0 - q) / (
        8.0 * gamma
    )
    noise = own / batch_size
    rise = -logit - 1.5 + 2.0 * q - q**2 / 2.0
    fall = 4.0 * jnp.log(2.0 / (1.0 + q)) - 2.5 + 3.0 * q - q**2 / 2.0
    growth = 1.5 * jnp.log((1.0 + q) / 2.0) - 0.5 * logit
    mean = time + bias / (2.0 * batch_size)
    mean = mean + h * (0.5 * growth + noise * (0.25 * rise - 0.75 * fall))
    return BatchTimes(mean, jnp.sqrt(h * noise * rise / (8.0 * gamma)))

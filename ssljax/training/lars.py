"""LARS: implementations differ, so each variant has a name.

Three variants, each named after the code it reproduces, because the difference decides
whether a published recipe works.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssljax.training.schedules import ScalarOrSchedule

PyTree = Any


def decay_mask(params: PyTree) -> PyTree:
    """Return True for the parameters that recipes decay and trust-scale: kernels.

    These are the kernels of convolutions and dense layers. Biases and the scales and
    biases of BatchNorm are vectors. Linear prediction heads are excluded, whether their
    parameter is a vector or a matrix (named ``matrix``): decay would pull the heads,
    which experiments compare, to different fixed points.

    >>> import jax.numpy as jnp
    >>> decay_mask({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
    {'bias': False, 'kernel': True}
    """

    def decayed(path: tuple, p: jax.Array) -> bool:
        name = getattr(path[-1], "key", None) if path else None
        return jnp.ndim(p) > 1 and name != "matrix"

    return jax.tree_util.tree_map_with_path(decayed, params)


def lars(
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    weight_decay_norm_and_bias: bool = False,
    nesterov: bool = False,
    eta: float = 1e-3,
) -> optax.GradientTransformation:
    """Return LARS with the learning rate inside the momentum buffer.

    Reproduces google-research/simclr (its default, ``classic_momentum``) and
    ``optax.lars`` with both masks set. For a kernel ``p`` with gradient ``g``:
    ``g += wd p``; ``g *= eta |p| / |g|`` (1 if a norm is zero);
    ``m = momentum m + lr g``; ``p -= m``. A vector is updated without the second line.
    The buffer remembers old learning rates, so this differs from `lars_byol` whenever
    the rate changes, most of all during the warm-up.

    Args:
        learning_rate: number, or schedule of the step.
        momentum: decay of the buffer.
        weight_decay: L2 penalty, added to the gradient before the trust ratio.
        weight_decay_norm_and_bias: decay vectors (biases, BatchNorm) as well. They are
            never trust-scaled.
        nesterov: look ahead by one momentum step.
        eta: trust coefficient.

    Returns:
        An optax transformation; its ``update`` needs the parameters.

    Source: You, Gitman and Ginsburg, "Large batch training of convolutional networks",
    2017.

    >>> import jax.numpy as jnp
    >>> tx = lars(learning_rate=1.0, eta=0.1)
    >>> w = jnp.full((2, 2), 3.0)
    >>> update, _ = tx.update(jnp.ones((2, 2)), tx.init(w), w)
    >>> round(float(update[0, 0]), 4)  # 0.1 * 6 / 2
    -0.3
    """
    return optax.chain(
        decayed_weights(weight_decay, weight_decay_norm_and_bias),
        _trust_ratio(eta),
        optax.scale_by_learning_rate(learning_rate),
        *trace(momentum, nesterov),
    )


def lars_byol(
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    weight_decay_norm_and_bias: bool = False,
    nesterov: bool = False,
    eta: float = 1e-3,
) -> optax.GradientTransformation:
    """Return LARS with the learning rate outside the momentum buffer.

    Reproduces deepmind-research/byol, facebookresearch/vicreg and
    facebookresearch/barlowtwins. For a kernel ``p`` with gradient ``g``:
    ``g += wd p``; ``g *= eta |p| / |g|`` (1 if a norm is zero);
    ``m = momentum m + g``; ``p -= lr m``. A vector is updated without the second line.
    Equal to `lars` while the learning rate is constant.

    Args, returns and source as for `lars`.

    >>> import jax.numpy as jnp
    >>> tx = lars_byol(learning_rate=1.0, eta=0.1)
    >>> w = jnp.full((2, 2), 3.0)
    >>> update, _ = tx.update(jnp.ones((2, 2)), tx.init(w), w)
    >>> round(float(update[0, 0]), 4)
    -0.3
    """
    return optax.chain(
        decayed_weights(weight_decay, weight_decay_norm_and_bias),
        _trust_ratio(eta),
        *trace(momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def lars_clip(
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    weight_decay_norm_and_bias: bool = False,
    nesterov: bool = False,
    eta: float = 0.02,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Return LARS with layer-wise rates clipped to those of plain SGD.

    Reproduces solo-learn's LARS with ``clip_lr=True`` and ``exclude_bias_n_norm=True``
    (apex's LARC), which its CIFAR results use. For a kernel ``p``, gradient ``g``
    and this step's learning rate ``lr``:
    ``ratio = min(eta |p| / (|g| + wd |p| + eps) / lr, 1)``; ``g = ratio (g + wd p)``;
    ``m = momentum m + g``; ``p -= lr m``. The norm of ``g`` is taken before the decay
    is added. If ``|p|`` or ``|g|`` is zero the kernel gets the plain gradient, without
    decay. A vector gets neither decay nor ratio: it is updated by SGD with momentum.

    Differs from `lars_byol` in the clip, in the denominator and in ``eta``.

    Args:
        learning_rate: number, or schedule of the step; also enters the ratio. At a
            rate of 0 the ratio is 1.
        momentum: decay of the buffer.
        weight_decay: L2 penalty of the kernels.
        weight_decay_norm_and_bias: add ``wd p`` to the gradient of vectors too, still
            without a ratio (not available in solo-learn).
        nesterov: look ahead by one momentum step.
        eta: trust coefficient.
        eps: added to the denominator of the ratio.

    Returns:
        An optax transformation; its ``update`` needs the parameters.

    >>> import jax.numpy as jnp
    >>> tx = lars_clip(learning_rate=0.1, eta=0.1)
    >>> w = jnp.full((2, 2), 3.0)
    >>> update, _ = tx.update(jnp.ones((2, 2)), tx.init(w), w)
    >>> round(float(update[0, 0]), 4)  # the ratio, 0.3 / 0.1, is clipped to 1
    -0.1
    """
    return optax.chain(
        _scale_by_clipped_trust_ratio(
            learning_rate, eta, weight_decay, weight_decay_norm_and_bias, eps
        ),
        *trace(momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def decayed_weights(weight_decay: float, everywhere: bool):
    """Return an L2 penalty added to the gradient, of kernels only or everywhere."""
    mask = None if everywhere else decay_mask
    return optax.add_decayed_weights(weight_decay, mask=mask)


def _trust_ratio(eta: float) -> optax.GradientTransformation:
    ratio = optax.scale_by_trust_ratio(trust_coefficient=eta)
    return optax.masked(ratio, decay_mask)


def trace(momentum: float, nesterov: bool) -> list[optax.GradientTransformation]:
    """Return the momentum buffer as a list of zero or one transformation."""
    # Without momentum the buffer would be an unused copy of the parameters.
    return [optax.trace(momentum, nesterov=nesterov)] if momentum else []


class _ClippedTrustRatioState(NamedTuple):
    step: jax.Array  # steps done, to evaluate the learning-rate schedule at


def _scale_by_clipped_trust_ratio(
    learning_rate: ScalarOrSchedule,
    eta: float,
    weight_decay: float,
    decay_everywhere: bool,
    eps: float,
) -> optax.GradientTransformation:
    def init(params):
        del params
        return _ClippedTrustRatioState(jnp.zeros([], jnp.int32))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError(
                "lars_clip needs params: call update(grads, state, params)"
            )
        rate = learning_rate(state.step) if callable(learning_rate) else learning_rate

        def scale(g: jax.Array, p: jax.Array) -> jax.Array:
            if jnp.ndim(p) <= 1:
                return g + weight_decay * p if decay_everywhere else g
            p_norm, g_norm = (jnp.sqrt(jnp.sum(x**2)) for x in (p, g))
            layer_rate = eta * p_norm / (g_norm + weight_decay * p_norm + eps)
            # At a rate of 0 (first step of a warm-up) the quotient is infinite: clip.
            quotient = layer_rate / jnp.where(rate > 0, rate, 1.0)
            ratio = jnp.where(rate > 0, jnp.minimum(quotient, 1.0), 1.0)
            usable = (p_norm > 0) & (g_norm > 0)
            return jnp.where(usable, ratio * (g + weight_decay * p), g)

        scaled = jax.tree.map(scale, updates, params)
        return scaled, _ClippedTrustRatioState(state.step + 1)

    return optax.GradientTransformation(init, update)

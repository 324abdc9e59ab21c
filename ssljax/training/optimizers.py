"""Optimizers, learning-rate schedules and the momentum of target networks.

LARS exists in several codes under one name. Three of them are here, each named for
what it reproduces, because the difference decides whether a published recipe works.
"""

import difflib
import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[Any], jax.Array]
ScalarOrSchedule = float | Schedule
PyTree = Any

# Trust coefficients of the codes each form reproduces.
_DEFAULT_ETA = {"lars": 1e-3, "lars_byol": 1e-3, "lars_clip": 0.02}
OPTIMIZERS = ("sgd", "adamw", "lars", "lars_byol", "lars_clip")


def schedule(
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    final_fraction: float = 0.0,
    warmup_start: float = 0.0,
    decay: str = "cosine",
) -> Schedule:
    """Linear warm-up to ``peak``, then half a cosine (or a constant).

    Args:
        peak: learning rate at step ``warmup_steps``, already scaled by the batch size.
        total_steps: step at which the decay ends; later steps keep the final value.
        warmup_steps: steps of linear warm-up, at most ``total_steps``. With 0 the
            schedule starts at ``peak``.
        final_fraction: last learning rate as a fraction of ``peak`` (VICReg and Barlow
            Twins 0.001, SimCLR and BYOL 0).
        warmup_start: learning rate at step 0 (not a fraction; solo-learn has 3e-5).
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
    _check_range("peak", peak, low=0.0)
    _check_range("warmup_start", warmup_start, low=0.0)
    _check_range("final_fraction", final_fraction, low=0.0, high=1.0)
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            f"warmup_steps must lie in [0, total_steps = {total_steps}], "
            f"got {warmup_steps}: shorten the warm-up or train longer"
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


def decay_mask(params: PyTree) -> PyTree:
    """True for the parameters that recipes decay and trust-scale: those with ndim > 1.

    In the networks of this package these are exactly the kernels of convolutions and
    dense layers; biases and the scales and biases of BatchNorm are vectors.

    >>> import jax.numpy as jnp
    >>> decay_mask({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
    {'bias': False, 'kernel': True}
    """
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def lars(
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    weight_decay_norm_and_bias: bool = False,
    nesterov: bool = False,
    eta: float = 1e-3,
) -> optax.GradientTransformation:
    """LARS with the learning rate inside the momentum buffer.

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
        _decayed_weights(weight_decay, weight_decay_norm_and_bias),
        _trust_ratio(eta),
        optax.scale_by_learning_rate(learning_rate),
        *_trace(momentum, nesterov),
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
    """LARS with the learning rate outside the momentum buffer.

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
        _decayed_weights(weight_decay, weight_decay_norm_and_bias),
        _trust_ratio(eta),
        *_trace(momentum, nesterov),
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
    """LARS whose layer-wise rate is clipped so that no layer exceeds plain SGD.

    Reproduces solo-learn's LARS with ``clip_lr=True`` and ``exclude_bias_n_norm=True``
    (apex's LARC), on which its CIFAR numbers rest. For a kernel ``p``, gradient ``g``
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
            without a ratio (solo-learn has no such mode).
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
        *_trace(momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def make(
    name: str,
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    weight_decay_norm_and_bias: bool = False,
    nesterov: bool = False,
    eta: float | None = None,
    clip_norm: float | None = None,
    constant_learning_rate_for: Collection[str] = (),
    peak: float | None = None,
) -> optax.GradientTransformation:
    """Optimizer by name, with the switches that recipes turn.

    Args:
        name: "sgd" (PyTorch's: the decay is added to the gradient before the momentum),
            "adamw" (decoupled decay, ``b2 = 0.999``, ``eps = 1e-8``), "lars",
            "lars_byol" or "lars_clip".
        learning_rate: number, or schedule of the step.
        momentum: decay of the momentum buffer; Adam's ``b1``.
        weight_decay: coefficient of the decay.
        weight_decay_norm_and_bias: decay vectors (biases, BatchNorm) too. SimSiam's SGD
            does, the LARS recipes do not.
        nesterov: Nesterov momentum.
        eta: trust coefficient of the LARS forms; None takes 0.001 ("lars_clip" 0.02).
        clip_norm: rescale the whole gradient to at most this L2 norm, before all else;
            None leaves it alone.
        constant_learning_rate_for: top-level subtrees of the parameters that stay at
            ``peak`` (SimSiam: ``("predictor",)``). The rest follows ``learning_rate``.
        peak: that constant rate. Needed where ``learning_rate`` is a schedule.

    Returns:
        An optax transformation; its ``update`` needs the parameters.

    Raises:
        ValueError: for an unknown name or subtree, or a value out of its range.

    >>> import jax.numpy as jnp
    >>> tx = make("sgd", learning_rate=0.1, weight_decay=0.5)
    >>> w = jnp.ones((1, 1))
    >>> update, _ = tx.update(w, tx.init(w), w)  # -0.1 (1 + 0.5)
    >>> round(float(update[0, 0]), 4)
    -0.15
    """
    if name not in OPTIMIZERS:
        close = difflib.get_close_matches(str(name), OPTIMIZERS, n=1, cutoff=0.0)
        raise ValueError(
            f"unknown optimizer {name!r}, did you mean {close[0]!r}? "
            f"Available: {', '.join(OPTIMIZERS)}"
        )
    if eta is not None and name not in _DEFAULT_ETA:
        raise ValueError(f"eta belongs to the LARS forms, {name!r} has none: leave it")
    _check_range("momentum", momentum, low=0.0, high=1.0)
    _check_range("weight_decay", weight_decay, low=0.0)
    for label, value in (("eta", eta), ("clip_norm", clip_norm)):
        if value is not None and not value > 0:
            raise ValueError(f"{label} must be positive or None, got {value}")
    if nesterov and momentum == 0:
        raise ValueError("nesterov needs momentum > 0, got 0: set one of the two")
    if not callable(learning_rate):
        _check_range("learning_rate", learning_rate, low=0.0)

    def build(rate: ScalarOrSchedule) -> optax.GradientTransformation:
        common: dict[str, Any] = dict(
            learning_rate=rate,
            momentum=momentum,
            weight_decay=weight_decay,
            weight_decay_norm_and_bias=weight_decay_norm_and_bias,
            nesterov=nesterov,
        )
        if name == "sgd":
            return _sgd(**common)
        if name == "adamw":
            return optax.adamw(
                rate,
                b1=momentum,
                weight_decay=weight_decay,
                mask=None if weight_decay_norm_and_bias else decay_mask,
                nesterov=nesterov,
            )
        form = {"lars": lars, "lars_byol": lars_byol, "lars_clip": lars_clip}[name]
        return form(eta=_DEFAULT_ETA[name] if eta is None else eta, **common)

    optimizer = build(learning_rate)
    if constant_learning_rate_for:
        if isinstance(constant_learning_rate_for, str):
            raise ValueError(
                "constant_learning_rate_for must be a tuple of names, got "
                f"{constant_learning_rate_for!r}: write "
                f"({constant_learning_rate_for!r},)"
            )
        if peak is None:
            if callable(learning_rate):
                raise ValueError(
                    "constant_learning_rate_for needs peak, the constant rate, "
                    "where learning_rate is a schedule"
                )
            peak = learning_rate
        _check_range("peak", peak, low=0.0)
        optimizer = optax.partition(
            {"scheduled": optimizer, "constant": build(peak)},
            _label_by_subtree(tuple(constant_learning_rate_for)),
        )
    if clip_norm is not None:
        # Outside the partition: one norm over all parameters, not one per group.
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    return optimizer


def ema_momentum(
    step: Any, *, total_steps: int, base: float, final: float = 1.0
) -> jax.Array:
    """Momentum of a target network, rising from ``base`` to ``final`` on a cosine.

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
    _check_range("base", base, low=0.0, high=1.0)
    _check_range("final", final, low=0.0, high=1.0)
    done = jnp.clip(jnp.asarray(step, jnp.float32) / total_steps, 0.0, 1.0)
    return final - (final - base) * (jnp.cos(math.pi * done) + 1.0) / 2.0


def ema_update(target: PyTree, online: PyTree, momentum: Any) -> PyTree:
    """``momentum * target + (1 - momentum) * online``, leaf by leaf.

    Args:
        target: parameters of the target network.
        online: parameters of the online network, same structure and shapes.
        momentum: scalar in [0, 1], see `ema_momentum`.

    Returns:
        The new target, computed and stored in float32 or wider: in bfloat16 a step of
        ``1 - momentum = 0.004`` would be lost in rounding.

    >>> import jax.numpy as jnp
    >>> float(ema_update({"w": jnp.array(1.0)}, {"w": jnp.array(0.0)}, 0.75)["w"])
    0.75
    """

    def blend(old: jax.Array, new: jax.Array) -> jax.Array:
        wide = jnp.promote_types(jnp.promote_types(old.dtype, new.dtype), jnp.float32)
        m = jnp.asarray(momentum, wide)
        return m * old.astype(wide) + (1 - m) * new.astype(wide)

    return jax.tree.map(blend, target, online)


def _sgd(
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float,
    weight_decay: float,
    weight_decay_norm_and_bias: bool,
    nesterov: bool,
) -> optax.GradientTransformation:
    return optax.chain(
        _decayed_weights(weight_decay, weight_decay_norm_and_bias),
        *_trace(momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def _decayed_weights(weight_decay: float, everywhere: bool):
    mask = None if everywhere else decay_mask
    return optax.add_decayed_weights(weight_decay, mask=mask)


def _trust_ratio(eta: float) -> optax.GradientTransformation:
    ratio = optax.scale_by_trust_ratio(trust_coefficient=eta)
    return optax.masked(ratio, decay_mask)


def _trace(momentum: float, nesterov: bool) -> list[optax.GradientTransformation]:
    # Without momentum the buffer would be a copy of the parameters that nobody reads.
    return [optax.trace(momentum, nesterov=nesterov)] if momentum else []


class _ClippedTrustRatioState(NamedTuple):
    step: jax.Array  # steps done, where the learning-rate schedule stands


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


def _label_by_subtree(names: tuple[str, ...]) -> Callable[[PyTree], PyTree]:
    def label(params: PyTree) -> PyTree:
        paths = jax.tree_util.tree_leaves_with_path(params)
        present = sorted({_top_level(path) for path, _ in paths})
        missing = [name for name in names if name not in present]
        if missing:
            raise ValueError(
                f"constant_learning_rate_for names {missing[0]!r}, but the parameters "
                f"have {', '.join(map(repr, present))}: use one of these"
            )
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "constant" if _top_level(path) in names else "scheduled",
            params,
        )

    return label


def _top_level(path: tuple) -> str:
    return jax.tree_util.keystr(path[:1], simple=True)


def _check_range(
    name: str, value: float, *, low: float, high: float = math.inf
) -> None:
    # Written so that NaN fails too.
    if not low <= value <= high or math.isinf(value):
        allowed = (
            f"[{low:g}, {high:g}]" if high < math.inf else f"finite and >= {low:g}"
        )
        raise ValueError(f"{name} must be {allowed}, got {value}")

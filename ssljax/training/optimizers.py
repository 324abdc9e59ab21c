"""Optimizers by name, and the moving average of a target network."""

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax.config.checks import check_range, nearest
from ssljax.training.lars import (
    decay_mask,
    decayed_weights,
    lars,
    lars_byol,
    lars_clip,
    trace,
)
from ssljax.training.schedules import ScalarOrSchedule

PyTree = Any

# Default trust coefficients of the implementations that the variants reproduce.
_DEFAULT_ETA = {"lars": 1e-3, "lars_byol": 1e-3, "lars_clip": 0.02}
OPTIMIZERS = ("sgd", "adamw", "lars", "lars_byol", "lars_clip")


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
    norm_and_bias_factor: float | None = None,
    learning_rate_factors: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
    """Return an optimizer by name, with the options that recipes set.

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
        eta: trust coefficient of the LARS variants; None is 0.001 ("lars_clip" 0.02).
        clip_norm: rescale the whole gradient to at most this L2 norm, before all else;
            None leaves it alone.
        constant_learning_rate_for: top-level subtrees of the parameters that stay at
            ``peak`` (SimSiam: ``("predictor",)``). The rest follows ``learning_rate``.
        peak: that constant rate. Needed where ``learning_rate`` is a schedule.
        norm_and_bias_factor: times ``learning_rate`` is the rate of the vectors
            (biases, BatchNorm); Barlow Twins: 0.0048 / 0.2. None is 1.
        learning_rate_factors: factors on ``learning_rate`` by top-level subtree of the
            parameters. With 0 that subtree is neither changed nor decayed, and has no
            optimizer state.

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
        raise ValueError(
            f"unknown optimizer {name!r}; allowed: {', '.join(OPTIMIZERS)}"
            f"{nearest(str(name), OPTIMIZERS)}"
        )
    if eta is not None and name not in _DEFAULT_ETA:
        raise ValueError(f"eta applies to LARS only, not to {name!r}; leave it out")
    check_range("momentum", momentum, low=0.0, high=1.0)
    check_range("weight_decay", weight_decay, low=0.0)
    for label, value in (("eta", eta), ("clip_norm", clip_norm)):
        if value is not None and not value > 0:
            raise ValueError(f"{label} must be positive or None, got {value}")
    if nesterov and momentum == 0:
        raise ValueError(
            "nesterov needs momentum > 0, got 0; raise momentum or switch nesterov off"
        )
    if not callable(learning_rate):
        check_range("learning_rate", learning_rate, low=0.0)

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
        variant = {"lars": lars, "lars_byol": lars_byol, "lars_clip": lars_clip}[name]
        return variant(eta=_DEFAULT_ETA[name] if eta is None else eta, **common)

    groups: dict[Hashable, optax.GradientTransformation] = {
        "scheduled": build(learning_rate)
    }
    labels: dict[str, str] = {}
    if constant_learning_rate_for:
        if isinstance(constant_learning_rate_for, str):
            raise ValueError(
                "constant_learning_rate_for must be a tuple of names, got "
                f"{constant_learning_rate_for!r}; write "
                f"({constant_learning_rate_for!r},)"
            )
        if peak is None:
            if callable(learning_rate):
                raise ValueError(
                    "constant_learning_rate_for needs peak, the constant rate, "
                    "where learning_rate is a schedule"
                )
            peak = learning_rate
        check_range("peak", peak, low=0.0)
        groups["constant"] = build(peak)
        labels |= dict.fromkeys(constant_learning_rate_for, "constant")
    for subtree, factor in (learning_rate_factors or {}).items():
        check_range(f"learning_rate_factors[{subtree!r}]", factor, low=0.0)
        if factor != 1:
            groups[subtree] = (
                build(_scaled(learning_rate, factor)) if factor else optax.set_to_zero()
            )
            labels[subtree] = subtree
    # One group alone keeps the state that it had before there were several.
    optimizer = groups["scheduled"]
    if labels:
        optimizer = optax.partition(groups, _label_by_subtree(labels))
    if norm_and_bias_factor is not None:
        check_range("norm_and_bias_factor", norm_and_bias_factor, low=0.0)
        # No LARS variant adapts the rate of vectors, so scaling their update is exact.
        optimizer = optax.chain(
            optimizer, optax.masked(optax.scale(norm_and_bias_factor), _vectors)
        )
    if clip_norm is not None:
        # Outside the partition: one norm over all parameters, not one per group.
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    return optimizer


def ema_update(target: PyTree, online: PyTree, momentum: Any) -> PyTree:
    """Compute ``momentum * target + (1 - momentum) * online``, leaf by leaf.

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


def _vectors(params: PyTree) -> PyTree:
    return jax.tree.map(lambda decayed: not decayed, decay_mask(params))


def _sgd(
    *,
    learning_rate: ScalarOrSchedule,
    momentum: float,
    weight_decay: float,
    weight_decay_norm_and_bias: bool,
    nesterov: bool,
) -> optax.GradientTransformation:
    return optax.chain(
        decayed_weights(weight_decay, weight_decay_norm_and_bias),
        *trace(momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def _scaled(rate: ScalarOrSchedule, factor: float) -> ScalarOrSchedule:
    return (lambda step: factor * rate(step)) if callable(rate) else factor * rate


def _label_by_subtree(labels: Mapping[str, str]) -> Callable[[PyTree], PyTree]:
    """Return a function that labels parameters by subtree, the rest "scheduled"."""

    def label(params: PyTree) -> PyTree:
        paths = jax.tree_util.tree_leaves_with_path(params)
        present = sorted({_top_level(path) for path, _ in paths})
        for name, group in labels.items():
            if name not in present:
                argument = (
                    "constant_learning_rate_for"
                    if group == "constant"
                    else "learning_rate_factors"
                )
                raise ValueError(
                    f"{argument} names {name!r}, but the parameters have "
                    f"{', '.join(map(repr, present))}; use one of these"
                )
        return jax.tree_util.tree_map_with_path(
            lambda path, _: labels.get(_top_level(path), "scheduled"), params
        )

    return label


def _top_level(path: tuple) -> str:
    return jax.tree_util.keystr(path[:1], simple=True)

"""A convolution whose form on CPUs is chosen by shape, with all of JAX's derivatives.

Accelerators compile what `jax.lax.conv_general_dilated` compiles, forward and backward.
XLA:CPU runs some convolutions, above all the gradient of a kernel, at a tenth of the
speed of matrix products; `ssljax.models.cpu_convolution` has other forms of them.

A convolution y of images x with a kernel w, and its two gradients, are the partial
derivatives of one trilinear function: the inner product of y with a cotangent g. Each
is a primitive here that is linear in either operand, and its transposes are the other
two. So forward mode, reverse mode and derivatives of any order stay among the three,
which a `custom_vjp` would not allow. Which form a primitive takes is decided when it is
lowered for a platform, from shapes and type alone.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ssljax.models import cpu_convolution
from ssljax.models.cpu_convolution import (
    Geometry,
    Surroundings,
    native,
    native_input_gradient,
    native_kernel_gradient,
)

__all__ = ["convolution"]


def convolution(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolve as `jax.lax.conv_general_dilated` does, quickly on CPUs too.

    A linen module takes it as ``nn.Conv(..., conv_general_dilated=convolution)``.
    Convolutions in groups, with dilation or in other layouts go to JAX's own.

    Args:
        lhs: images ``[N, H, W, C]``.
        rhs: kernel ``[h, w, C, O]``.
        window_strides: two steps of the window.
        padding: "SAME", "VALID" or two pairs of zeros before and behind.
        lhs_dilation: as in JAX; None or ones here.
        rhs_dilation: as in JAX; None or ones here.
        dimension_numbers: layouts; ``("NHWC", "HWIO", "NHWC")`` here.
        feature_group_count: as in JAX; 1 here.
        batch_group_count: as in JAX; 1 here.
        precision: of the products, for TPUs.
        preferred_element_type: as in JAX; None here.

    Returns:
        ``[N, H', W', O]``.

    >>> x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 1))
    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> y = convolution(x, kernel, (2, 2), "VALID", dimension_numbers=layout)
    >>> y.tolist()
    [[[[18.0]]]]
    """
    if not (
        lhs.ndim == rhs.ndim == 4
        and lhs.dtype == rhs.dtype
        and lhs.dtype in (jnp.float32, jnp.float64, jnp.bfloat16)
        and _in_channels_last(lhs, rhs, dimension_numbers)
        and feature_group_count == batch_group_count == 1
        and preferred_element_type is None
        and all(d is None or set(d) == {1} for d in (lhs_dilation, rhs_dilation))
        and 0 not in (*lhs.shape, *rhs.shape)
        and lhs.shape[-1] == rhs.shape[-2]
        and not any(_explicitly_sharded(a) for a in (lhs, rhs))
    ):
        return jax.lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )
    image, kernel = (lhs.shape[1], lhs.shape[2]), (rhs.shape[0], rhs.shape[1])
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(image, kernel, window_strides, padding)
    (top, bottom), (left, right) = padding
    down, across = window_strides
    geometry = Geometry(
        image, kernel, (down, across), ((top, bottom), (left, right)), precision
    )
    if min(geometry.map) < 1 or min(top, bottom, left, right) < 0:
        return native(lhs, rhs, geometry)
    x, w = _varying_together(lhs, rhs)
    return FORWARD.bind(x, w, geometry=geometry)


def _in_channels_last(lhs: jax.Array, rhs: jax.Array, dimension_numbers: Any) -> bool:
    found = jax.lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return found == jax.lax.conv_dimension_numbers(
        lhs.shape, rhs.shape, ("NHWC", "HWIO", "NHWC")
    )


def _explicitly_sharded(array: jax.Array) -> bool:
    """Return whether JAX would ask how the result is to be placed."""
    sharding: Any = jax.typeof(array).sharding
    return any(
        kind == jax.sharding.AxisType.Explicit for kind in sharding.mesh.axis_types
    )


def _varying_together(*arrays: jax.Array) -> list[jax.Array]:
    """Mark replicated operands as varying over `jax.shard_map`'s axes, like others."""
    axes = [_varying(a) for a in arrays]
    union = frozenset().union(*axes)
    return [
        jax.lax.pcast(a, tuple(sorted(union - own)), to="varying") if union - own else a
        for a, own in zip(arrays, axes, strict=True)
    ]


def _varying(array: jax.Array) -> frozenset[str]:
    aval: Any = jax.typeof(array)
    # The attribute was named `vma` up to JAX 0.9.
    kind = getattr(aval, "manual_axis_type", None)
    return aval.vma if kind is None else kind.varying


# --- The three primitives -----------------------------------------------------------

FORWARD = Primitive("ssljax_convolution")
INPUT_GRADIENT = Primitive("ssljax_convolution_input_gradient")
KERNEL_GRADIENT = Primitive("ssljax_convolution_kernel_gradient")


class _Rules(NamedTuple):
    """What distinguishes one primitive from the others."""

    primitive: Primitive
    native: Any
    """Its form for accelerators."""
    cpu: Any
    """Its form for CPUs."""
    shape: Any
    """The last four sizes of the result, from those of the operands."""
    axes: tuple[int, int]
    """Of either operand, the axis that a result axis comes from ..."""
    result_axes: tuple[int, int]
    """... and those axes of the result. A mapped axis of one operand can join it."""
    transposes: tuple[Any, Any]
    """The cotangent of either operand, from the result's and the other operand."""


# Operands are images [N, H, W, C], kernels [h, w, C, O] and maps [N, H', W', O], all
# with a further axis in front where both were mapped by `jax.vmap`.
_RULES = (
    _Rules(
        FORWARD,
        native,
        cpu_convolution.forward,
        lambda x, w, geometry: (x[-4], *geometry.map, w[-1]),
        (-4, -1),
        (-4, -1),
        (
            lambda g, x, w, **p: INPUT_GRADIENT.bind(g, w, **p),
            lambda g, x, w, **p: KERNEL_GRADIENT.bind(x, g, **p),
        ),
    ),
    _Rules(
        INPUT_GRADIENT,
        native_input_gradient,
        cpu_convolution.input_gradient,
        lambda g, w, geometry: (g[-4], *geometry.image, w[-2]),
        (-4, -2),
        (-4, -1),
        (
            lambda x, g, w, **p: FORWARD.bind(x, w, **p),
            lambda x, g, w, **p: KERNEL_GRADIENT.bind(x, g, **p),
        ),
    ),
    _Rules(
        KERNEL_GRADIENT,
        native_kernel_gradient,
        cpu_convolution.kernel_gradient,
        lambda x, g, geometry: (*geometry.kernel, x[-1], g[-1]),
        (-1, -1),
        (-2, -1),
        (
            lambda w, x, g, **p: INPUT_GRADIENT.bind(g, w, **p),
            lambda w, x, g, **p: FORWARD.bind(x, w, **p),
        ),
    ),
)


@functools.partial(jax.jit, static_argnames=("primitive", "geometry"))
def _compiled(a: Any, b: Any, *, primitive: Primitive, geometry: Geometry) -> Any:
    return primitive.bind(a, b, geometry=geometry)


def _abstract(a: Any, b: Any, *, rules: _Rules, geometry: Geometry) -> Any:
    shape = rules.shape(a.shape, b.shape, geometry)
    # An update keeps over which axes of `jax.shard_map` the operands vary.
    return a.update(shape=(*a.shape[:-4], *shape), weak_type=False)


def _mapped(
    operands: Any, axes: Any, *, rules: _Rules, geometry: Geometry
) -> tuple[jax.Array, int]:
    """Join a mapped axis of one operand with another, or put that of both in front."""
    a, b = operands
    if axes[0] is not None and axes[1] is not None:
        # Of two mapped axes the older is in front already, and the new one joins it.
        a, b = (jnp.moveaxis(o, x, 0) for o, x in zip(operands, axes, strict=True))
        size, nested = a.shape[0], a.ndim == 6
        if nested:
            a, b = (o.reshape(-1, *o.shape[2:]) for o in (a, b))
        y = rules.primitive.bind(a, b, geometry=geometry)
        return (y.reshape(size, -1, *y.shape[1:]) if nested else y), 0
    one = 0 if axes[1] is None else 1
    given, axis = operands[one], axes[one]
    size, rank = given.shape[axis], given.ndim - 1
    into = rank + rules.axes[one]
    given = jnp.moveaxis(given, axis, into)
    joined = (*given.shape[:into], -1, *given.shape[into + 2 :])
    pair = (given.reshape(joined), b) if one == 0 else (a, given.reshape(joined))
    y = rules.primitive.bind(*pair, geometry=geometry)
    out = y.ndim + rules.result_axes[one]
    return y.reshape(*y.shape[:out], size, -1, *y.shape[out + 1 :]), out


def _over_mapped(function: Any) -> Any:
    """Apply a function of four axes per operand also to operands that have five."""

    def apply(a: jax.Array, b: jax.Array, *, geometry: Geometry) -> jax.Array:
        run = functools.partial(function, geometry=geometry)
        return jax.vmap(run)(a, b) if a.ndim == 5 else run(a, b)

    return apply


def _lower_for_cpu(
    context: Any, a: Any, b: Any, *, rules: _Rules, geometry: Geometry
) -> Any:
    around = Surroundings(
        # Inside of `jax.shard_map` and `jax.pmap` nothing is left to split.
        devices=getattr(context.module_context.axis_context, "num_devices", 1),
        mapped=context.avals_in[0].ndim == 5,
    )
    form = _over_mapped(functools.partial(rules.cpu, around=around))
    return mlir.lower_fun(form, multiple_results=False)(
        context, a, b, geometry=geometry
    )


for _rules in _RULES:
    _primitive = _rules.primitive
    _primitive.def_impl(functools.partial(_compiled, primitive=_primitive))
    _primitive.def_abstract_eval(functools.partial(_abstract, rules=_rules))
    ad.defbilinear(_primitive, *_rules.transposes)
    batching.primitive_batchers[_primitive] = functools.partial(_mapped, rules=_rules)
    mlir.register_lowering(
        _primitive,
        mlir.lower_fun(_over_mapped(_rules.native), multiple_results=False),
    )
    mlir.register_lowering(
        _primitive,
        functools.partial(_lower_for_cpu, rules=_rules),
        platform="cpu",
    )

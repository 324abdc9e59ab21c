"""Functions whose derivatives are built when it is known which ones are asked for.

JAX transforms a function one level at a time, and each level is inside of what came
before: a solver has to choose between forward and reverse mode before it can know, and
a function in float64 is differentiated after float64 is off again. Here a function is a
primitive that notes the transformations, whatever loop, branch, checkpoint or `jax.jit`
they are in, and applies them to the function where it is run or lowered.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.core
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

_primitive = core.Primitive("derivable")
_primitive.multiple_results = True
Shapes = tuple[tuple[tuple[int, ...], Any], ...]


class Source(Protocol):
    """What a function is made from; hashable."""

    @property
    def compiled(self) -> bool:
        """Return whether to compile it where it is not inside of a `jax.jit`."""
        ...

    def build(self, modes: tuple[str, ...]) -> Callable[..., Sequence[jax.Array]]:
        """Return the function, fit for ``"jvp"`` and ``"vjp"``, the innermost first."""
        ...


class _Derivative(NamedTuple):
    """Tangents, or cotangents, along some of the operands of a function."""

    mode: str
    operands: int
    moving: tuple[int, ...]

    def apply(self, function: Callable) -> Callable:
        def derivative(*given: Any) -> list[jax.Array]:
            operands, vectors = given[: self.operands], given[self.operands :]

            def part(*values: Any) -> list[jax.Array]:
                filled = list(operands)
                for i, value in zip(self.moving, values, strict=True):
                    filled[i] = value
                return [x for x in function(*filled) if _moves(x.dtype)]

            at = [operands[i] for i in self.moving]
            if self.mode == "jvp":
                return jax.jvp(part, at, list(vectors))[1]
            return list(jax.vjp(part, *at)[1](list(vectors)))

        return derivative


class _Map(NamedTuple):
    """A function mapped over these axes of its operands; its results' are in front."""

    axes: tuple[int | None, ...]

    def apply(self, function: Callable) -> Callable:
        return jax.vmap(function, self.axes)


def call(source: Source, shapes: Shapes, *operands: Any) -> list[jax.Array]:
    """Call a function of arrays; differentiate, map and compile it as any other.

    Args:
        source: what the function is made from.
        shapes: shape and dtype of each of its results.
        operands: arrays.

    Returns:
        Its results.

    >>> class Cube:
    ...     compiled = False
    ...     def build(self, modes):
    ...         print(modes)
    ...         return lambda x: [x**3]
    >>> cube = lambda x: call(Cube(), (((), jnp.float32),), x)[0]
    >>> float(jax.jit(jax.jacfwd(jax.grad(cube)))(jnp.float32(2.0)))
    ('vjp', 'jvp')
    12.0
    """
    return _primitive.bind(*operands, source=source, steps=(), shapes=shapes, linear=0)


def _apply(source: Source, steps: tuple) -> Callable:
    modes = tuple(step.mode for step in steps if isinstance(step, _Derivative))
    function = source.build(modes)
    for step in steps:
        function = step.apply(function)
    return function


@functools.lru_cache(maxsize=256)
def _compiled(source: Source, steps: tuple) -> Callable:
    return jax.jit(_apply(source, steps))


def _run(*operands, source, steps, shapes, linear):
    del shapes, linear
    build = _compiled if source.compiled else _apply
    with jax.enable_x64(True):
        return build(source, steps)(*operands)


def _abstract(*operands, source, steps, shapes, linear):
    del operands, source, steps, linear
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in shapes]


def _differentiate(primals, tangents, *, source, steps, shapes, linear):
    same = {"source": source, "steps": steps, "shapes": shapes, "linear": linear}
    values = _primitive.bind(*primals, **same)
    moving = tuple(i for i, t in enumerate(tangents) if _is_there(t))
    fixed = len(primals) - linear
    if not moving:
        return values, [_no_tangent(x) for x in values]
    if moving[0] >= fixed:
        # Linear in all that moves: no further derivative.
        given = [ad.instantiate_zeros(t) for t in tangents[fixed:]]
        return values, _primitive.bind(*primals[:fixed], *given, **same)
    step = _Derivative("jvp", len(primals), moving)
    found = iter(
        _primitive.bind(
            *primals,
            *(tangents[i] for i in moving),
            source=source,
            steps=(*steps, step),
            shapes=tuple(s for s in shapes if _moves(s[1])),
            linear=len(moving),
        )
    )
    return values, [
        next(found) if _moves(dtype) else _no_tangent(value)
        for value, (_, dtype) in zip(values, shapes, strict=True)
    ]


def _transpose(cotangents, *operands, source, steps, shapes, linear):
    fixed = len(operands) - linear
    vectors = operands[fixed:]
    asked = [ad.is_undefined_primal(x) for x in vectors]
    avals = [
        x.aval if a else jax.typeof(x) for x, a in zip(vectors, asked, strict=True)
    ]
    # Tangents along an input have as their transpose cotangents of it, and vice versa;
    # maps around them stay.
    last = max(i for i, step in enumerate(steps) if isinstance(step, _Derivative))
    mode = "vjp" if steps[last].mode == "jvp" else "jvp"
    around = [
        _Map((*step.axes[: -len(vectors)], *(0 for _ in shapes)))
        for step in steps[last + 1 :]
    ]
    found = _primitive.bind(
        *operands[:fixed],
        *(ad.instantiate_zeros(x) for x in cotangents),
        source=source,
        steps=(*steps[:last], steps[last]._replace(mode=mode), *around),
        shapes=tuple((x.shape, x.dtype) for x in avals),
        linear=len(shapes),
    )
    return [None] * fixed + [
        x if a else None for x, a in zip(found, asked, strict=True)
    ]


def _batch(operands, axes, *, source, steps, shapes, linear):
    fixed = len(operands) - linear
    (size,) = {x.shape[a] for x, a in zip(operands, axes, strict=True) if a is not None}
    # Vectors are mapped in any case, so that a sum over shared ones is left to JAX.
    vectors = [
        batching.bdim_at_front(x, axis, size)
        for x, axis in zip(operands[fixed:], axes[fixed:], strict=True)
    ]
    step = _Map((*axes[:fixed], *(0 for _ in vectors)))
    found = _primitive.bind(
        *operands[:fixed],
        *vectors,
        source=source,
        steps=(*steps, step),
        shapes=tuple(((size, *shape), dtype) for shape, dtype in shapes),
        linear=linear,
    )
    return found, [0] * len(found)


def _lower(context, *operands, source, steps, shapes, linear):
    del shapes, linear
    # The program is lowered here, after the caller's own context may have ended.
    with jax.enable_x64(True):
        lower = mlir.lower_fun(_apply(source, steps), multiple_results=True)
        return lower(context, *operands)


def _no_tangent(value: Any) -> Any:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _moves(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def _is_there(tangent: Any) -> bool:
    return type(tangent) is not ad.Zero and tangent.dtype != jax.dtypes.float0


_primitive.def_impl(_run)
_primitive.def_abstract_eval(_abstract)
ad.primitive_jvps[_primitive] = _differentiate
ad.primitive_transposes[_primitive] = _transpose
batching.primitive_batchers[_primitive] = _batch
mlir.register_lowering(_primitive, _lower)

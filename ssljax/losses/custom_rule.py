"""`jax.custom_jvp` as a primitive, whose rule survives every transformation.

JAX 0.10 forgets the rule of a `jax.custom_jvp` inside of a `jax.lax.scan` or
`jax.lax.map` once that has been differentiated: the second derivative is that of the
function's own operations, in silence, be it zero or NaN. A primitive keeps its rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from ssljax.losses.levels import mapped, next_level, sizes_in_front

_rule = core.Primitive("custom_rule")
_rule.multiple_results = True


class CustomRule:
    """A function of arrays with a derivative rule of its own.

    Used as `jax.custom_jvp` is. The function must not close over values that are being
    differentiated or mapped.

    Attributes:
        function: the function; its derivative is never taken.
        static: positions of the arguments that are hashable and not arrays.

    >>> @CustomRule
    ... def constant(x):
    ...     return x
    >>> _ = constant.defjvp(lambda primals, tangents: (primals[0], 0 * tangents[0]))
    >>> float(constant(2.0)), float(jax.grad(constant)(2.0))
    (2.0, 0.0)
    """

    def __init__(self, function: Callable, static: tuple[int, ...] = ()) -> None:
        self.function, self.static = function, static
        self.rule: Callable | None = None
        self._programs: dict[Any, tuple[core.ClosedJaxpr, Any]] = {}
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def defjvp(self, rule: Callable) -> Callable:
        """Set the rule: static arguments, then primals and tangents, as JAX's own.

        Args:
            rule: returns the value and its tangents, which must be linear in the
                tangents given.

        Returns:
            The rule.
        """
        self.rule = rule
        return rule

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        fixed = tuple(args[i] for i in self.static)
        arrays = [x for i, x in enumerate(args) if i not in self.static]
        flat, tree = jax.tree.flatten(arrays)
        flat = [jnp.asarray(x) for x in flat]
        code, out = self._program(fixed, tree, flat)
        given = (self, fixed, tree)
        return jax.tree.unflatten(
            out, _rule.bind(*flat, code=code, of=given, levels=())
        )

    def _program(
        self, fixed: tuple, tree: Any, flat: list[jax.Array]
    ) -> tuple[core.ClosedJaxpr, Any]:
        """Trace the function once per kind of arguments."""
        kinds = tuple((x.shape, x.dtype) for x in flat)
        key = (fixed, tree, kinds, jax.config.jax_enable_x64)  # type: ignore[attr-defined]
        if key not in self._programs:
            specs = [jax.ShapeDtypeStruct(*kind) for kind in kinds]

            def call(*leaves: jax.Array) -> Any:
                found = self.function(*self._arguments(fixed, tree, leaves))
                return jax.tree.map(jnp.asarray, found)

            code, out = jax.make_jaxpr(call, return_shape=True)(*specs)
            self._programs[key] = code, jax.tree.structure(out)
        return self._programs[key]

    def _arguments(self, fixed: tuple, tree: Any, flat: Sequence[Any]) -> list[Any]:
        arguments = list(jax.tree.unflatten(tree, flat))
        for position, value in zip(self.static, fixed, strict=True):
            arguments.insert(position, value)
        return arguments


def _wide(operands: Sequence[Any]) -> Any:
    """Keep float64, which a caller's default may have ended by the time of lowering."""
    # Not by `jnp.result_type`, which says float32 of a float64 in a narrow caller.
    kinds = [getattr(x, "dtype", None) for x in operands]
    wide = any(kind is not None and kind.itemsize == 8 for kind in kinds)
    return jax.enable_x64(wide or jax.config.jax_enable_x64)  # type: ignore[attr-defined]


def _compute(*operands, code, of, levels):
    del of
    with _wide(operands):
        return mapped(core.jaxpr_as_fun(code), levels)(*operands)


def _abstract(*operands, code, of, levels):
    del of
    front = sizes_in_front([x.shape for x in operands], levels)
    return [x.update(shape=(*front, *x.shape)) for x in code.out_avals]


def _differentiate(primals, tangents, *, code, of, levels):
    owner, fixed, tree = of
    count = len(primals)
    tangents = [ad.instantiate_zeros(t) for t in tangents]

    def rule(*values: jax.Array) -> list[jax.Array]:
        values = tuple(jnp.asarray(x) for x in values)
        given = jax.tree.unflatten(tree, values[:count])
        turned = jax.tree.unflatten(tree, values[count:])
        out = owner.rule(*fixed, tuple(given), tuple(turned))
        return [jnp.asarray(x) for x in jax.tree.leaves(out)]

    doubled = tuple((*level, *level) for level in levels)
    with _wide(primals):
        found = mapped(rule, doubled)(*primals, *tangents)
    half = len(found) // 2
    return found[:half], found[half:]


def _batch(operands, axes, *, code, of, levels):
    moved, level = next_level(operands, axes)
    found = _rule.bind(*moved, code=code, of=of, levels=(*levels, level))
    return found, [0] * len(found)


def _lower(context, *operands, **parameters):
    # Also what the program is made of is lowered here, some of it from Python.
    with _wide(context.avals_in):
        lower = mlir.lower_fun(_compute, multiple_results=True)
        return lower(context, *operands, **parameters)


_rule.def_impl(_compute)
_rule.def_abstract_eval(_abstract)
ad.primitive_jvps[_rule] = _differentiate
batching.primitive_batchers[_rule] = _batch
mlir.register_lowering(_rule, _lower)

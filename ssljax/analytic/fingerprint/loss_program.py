"""What a loss does inside, read off its program: its precision, its eigenvectors."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# Decompositions whose derivative divides by differences of eigenvalues.
_DECOMPOSITIONS = frozenset({"eigh", "eig", "svd", "schur"})
# A function with its own derivative rule is trusted with the decompositions inside.
_RULED = ("custom_jvp_call", "custom_vjp_call", "custom_rule")
# Results feed the next iteration, so every argument may reach every result.
_LOOPS = ("scan", "while")
# How a value depends on the embeddings: not at all, or at least through a
# stop-gradient, or differentiably.
_NOT, _STOPPED, _FREELY = 0, 1, 2


class LossProgram:
    """The program of a pure loss of two embeddings in float64.

    Attributes:
        narrow: the first float type below 64 bits that depends on the embeddings, such
            as "bfloat16", or "".
        decomposed: the gradient goes through a decomposition such as
            `jnp.linalg.eigh`, and is not finite where two eigenvalues are equal.
        decomposed_in_full: the same for derivatives of the gradient, which also go
        through the parts behind stop-gradients.

    >>> with jax.enable_x64(True):
    ...     program = LossProgram(lambda a, b: jnp.linalg.eigh(a.T @ b)[0][0], (4, 2))
    >>> program.decomposed, program.narrow
    (True, '')
    """

    def __init__(self, loss: Callable[..., Any], shape: tuple[int, ...]) -> None:
        self.narrow = ""
        self._reach = _NOT
        spec = jax.ShapeDtypeStruct(shape, jnp.float64)
        closed, out = jax.make_jaxpr(loss, return_shape=True)(spec, spec)
        if [x.shape for x in jax.tree.leaves(out)] != [()]:
            shapes = [list(x.shape) for x in jax.tree.leaves(out)]
            raise ValueError(f"the loss must return one number, got shapes {shapes}")
        self._walk(closed.jaxpr, [_FREELY, _FREELY], ruled=False, live=True)

    @property
    def decomposed(self) -> bool:
        return self._reach == _FREELY

    @property
    def decomposed_in_full(self) -> bool:
        return self._reach >= _STOPPED

    def _walk(
        self, code: core.Jaxpr, given: Sequence[int], *, ruled: bool, live: bool
    ) -> list[int]:
        """Follow the embeddings through a program.

        Args:
            code: the program.
            given: how its arguments depend on the embeddings.
            ruled: it is inside of a function with a derivative rule of its own.
            live: the gradient goes through its results.

        Returns:
            How its results depend on the embeddings.
        """
        pulled = _pulled(code)
        reach = dict(zip(code.invars, given, strict=True))

        def of(atom: Any) -> int:
            return _NOT if isinstance(atom, core.Literal) else reach.get(atom, _NOT)

        for equation in code.eqns:
            name = equation.primitive.name
            arguments = [of(atom) for atom in equation.invars]
            most = max(arguments, default=_NOT)
            alive = live and not pulled.isdisjoint(equation.outvars)
            if name in _DECOMPOSITIONS and not ruled:
                self._reach = max(self._reach, most if alive else min(most, _STOPPED))
            if name == "stop_gradient":
                most = min(most, _STOPPED)
            results = [most] * len(equation.outvars)
            for inner in _programs(list(equation.params.values())):
                count = len(inner.invars)
                passed = arguments[len(arguments) - count :]
                if name in _LOOPS or len(passed) != count:
                    passed = [most] * count
                under = ruled or name in _RULED
                found = self._walk(inner, passed, ruled=under, live=alive)
                if name not in (*_LOOPS, "cond") and len(found) == len(results):
                    results = found
            for out, depends in zip(equation.outvars, results, strict=True):
                reach[out] = depends
                if depends and not self.narrow and _is_narrow(out.aval):
                    self.narrow = out.aval.dtype.name  # type: ignore[attr-defined]
        return [of(atom) for atom in code.outvars]


def checked_program(loss: Callable[..., Any], shape: tuple[int, ...]) -> LossProgram:
    """Return the program of a loss and refuse one that computes below float64.

    Args:
        loss: pure scalar function of two embeddings.
        shape: ``(N, M)`` of the embeddings.

    Returns:
        The program.

    Raises:
        ValueError: for a loss that computes in fewer than 64 bits, where rounding
            would pass for a force, or that does not return one number.
    """
    program = LossProgram(loss, shape)
    if program.narrow:
        raise ValueError(
            f"the loss computes in {program.narrow}, whose rounding would pass for a "
            "force; keep its inputs' float64: remove the cast (astype, dtype=, "
            f"preferred_element_type=) to {program.narrow}"
        )
    return program


def _pulled(code: core.Jaxpr) -> set[core.Var]:
    """Return the values that the results depend on, other than by stop-gradients."""
    pulled = {v for v in code.outvars if not isinstance(v, core.Literal)}
    for equation in reversed(code.eqns):
        stops = equation.primitive.name == "stop_gradient"
        if not stops and not pulled.isdisjoint(equation.outvars):
            pulled.update(v for v in equation.invars if not isinstance(v, core.Literal))
    return pulled


def _is_narrow(aval: Any) -> bool:
    dtype = getattr(aval, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
        return False
    return jnp.finfo(dtype).bits < 64


def _programs(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [code for part in value for code in _programs(part)]
    return []

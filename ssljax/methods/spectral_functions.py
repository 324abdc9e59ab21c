"""Scalar functions of an eigenvalue, written as text so that a recipe can name one."""

import ast
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.config.checks import ConfigError, nearest

NAMED = {
    "identity": "1",
    "whitening": "x ** -0.5",
    "shrinkage": "(x + 0.01) ** -0.5",
}
"""Expressions by name: the factor ``g(x)`` on the square root of the eigenvalue."""

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_CALLS = {
    "sqrt": jnp.sqrt,
    "exp": jnp.exp,
    "log": jnp.log,
    "tanh": jnp.tanh,
    "minimum": jnp.minimum,
    "maximum": jnp.maximum,
}


def spectral_function(text: str) -> Callable[[jax.Array], jax.Array]:
    """Parse a text as the function ``g(x)``.

    Args:
        text: a name (``identity``, ``whitening``, ``shrinkage``), or an expression of
            ``x`` with numbers, ``+ - * / **``, brackets and the functions sqrt, exp,
            log, tanh, minimum and maximum. Nothing else is evaluated.

    Returns:
        A function of an array, which keeps its shape and type.

    Raises:
        ConfigError: for any other name or expression.

    >>> g = spectral_function("x ** -0.45")
    >>> round(float(g(jnp.float32(2.0))), 4)
    0.732
    >>> spectral_function("whitenning")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ssljax.config.checks.ConfigError: method.options.g is 'whitenning': unknown ...
    """
    try:
        tree = ast.parse(NAMED.get(text.strip(), text), mode="eval").body
        # Evaluated once here, to refuse a bad expression before training.
        _evaluate(tree, jnp.ones(()), text)
    except ConfigError:
        raise
    except (SyntaxError, TypeError, ValueError, ArithmeticError):
        raise _refusal(text, "not an expression") from None

    def function(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(_evaluate(tree, x, text), x.shape).astype(x.dtype)

    return function


def _evaluate(node: ast.expr, x: jax.Array, text: str):
    match node:
        case ast.Constant(value=float() | int() as number) if type(number) is not bool:
            # As a float, because a power of large integers could take forever.
            return float(number)
        case ast.Name(id="x"):
            return x
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](
                _evaluate(left, x, text), _evaluate(right, x, text)
            )
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_evaluate(operand, x, text))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _CALLS:
            return _CALLS[name](*(_evaluate(argument, x, text) for argument in args))
        case ast.Call(func=ast.Name(id=name)) | ast.Name(id=name):
            raise _refusal(text, f"unknown {name}", name)
        case _:
            raise _refusal(text, f"{type(node).__name__} is not allowed")


def _refusal(text: str, reason: str, name: str = "") -> ConfigError:
    return ConfigError(
        f"method.options.g is {text!r}: {reason}; allowed: {', '.join(NAMED)}, or an "
        f"expression of x with numbers, + - * / ** and {', '.join(_CALLS)}"
        f"{nearest(name, [*NAMED, *_CALLS]) if name else ''}"
    )

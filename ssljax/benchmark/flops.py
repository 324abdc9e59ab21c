"""Count the floating-point operations of a step's convolutions and matrix products.

XLA's own count is that of one compiled program: it contains what a fusion computes
twice, leaves out the taps that fall on padding, and counts the body of a loop once. The
count here is of the program as written: it is the same on every device, and PyTorch's
counter has the same rules.
"""

import math
from collections.abc import Iterator
from typing import Any

from ssljax.models.convolution import FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT

# Where the maps of a convolution and its kernel are among operands and result.
OWN_CONVOLUTIONS = {
    FORWARD: (lambda e: e.outvars[0], lambda e: e.invars[1]),
    INPUT_GRADIENT: (lambda e: e.invars[0], lambda e: e.invars[1]),
    KERNEL_GRADIENT: (lambda e: e.invars[1], lambda e: e.outvars[0]),
}


def matrix_flops(jaxpr: Any) -> float:
    """Count multiplications and additions of all products in a program.

    A convolution counts ``2 x outputs x taps x input channels`` with taps on padding
    included, and taps on the zeros between the rows of a dilated input excluded. The
    body of a scan counts as often as it runs, that of a while loop once, and of a
    condition's branches the most expensive one.

    Args:
        jaxpr: a jaxpr, closed or not, as ``jax.jit(f).trace(x).jaxpr`` has it.

    >>> import jax, jax.numpy as jnp
    >>> f = jax.jit(lambda x, w: jax.lax.scan(lambda x, _: (x @ w, None), x, length=3))
    >>> matrix_flops(f.trace(jnp.ones((2, 4)), jnp.ones((4, 4))).jaxpr)
    192.0
    """
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        name = equation.primitive.name
        if name == "dot_general":
            total += _product(equation)
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        elif equation.primitive in OWN_CONVOLUTIONS:
            total += _own_convolution(equation)
        elif name == "cond":
            total += max(map(matrix_flops, equation.params["branches"]))
        else:
            times = equation.params["length"] if name == "scan" else 1
            if name == "shard_map":  # its program is one device's
                times = equation.params["mesh"].size
            total += times * sum(map(matrix_flops, _inside(equation.params)))
    return total


def _inside(parameters: dict[str, Any]) -> Iterator[Any]:
    """Yield the programs that an equation calls, those of derivative rules excepted."""
    for value in parameters.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(one, "eqns") or hasattr(getattr(one, "jaxpr", None), "eqns"):
                yield one


def _product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    out = math.prod(equation.outvars[0].aval.shape)
    return 2.0 * out * math.prod(left[axis] for axis in contracted)


def _own_convolution(equation: Any) -> float:
    """Count a convolution of `ssljax.models.convolution`, or a gradient of it."""
    find_map, find_kernel = OWN_CONVOLUTIONS[equation.primitive]
    maps, kernel = find_map(equation).aval.shape, find_kernel(equation).aval.shape
    return 2.0 * math.prod(maps) * math.prod(kernel[-4:-1])


def _convolution(equation: Any) -> float:
    parameters = equation.params
    kernel = equation.invars[1].aval.shape
    numbers = parameters["dimension_numbers"].rhs_spec
    # Channels per group, and the taps of one output.
    taps = kernel[numbers[1]] * math.prod(kernel[axis] for axis in numbers[2:])
    out = math.prod(equation.outvars[0].aval.shape)
    return 2.0 * out * taps / math.prod(parameters["lhs_dilation"])

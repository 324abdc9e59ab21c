"""One public function of the theory module, and how the contract test calls it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A function of floating arrays with inputs at which it is smooth.

    Attributes:
        name: ``package.function``, as it is imported below ``ssljax.analytic``.
        call: ``call(*inputs)``, an array; pure, so that JAX can transform it.
        inputs: NumPy arrays or numbers, in float64.
        twice: second derivatives exist.
        jit: ``jax.jit`` of it works where the caller's default is float32 too; False
            for what is integrated.
        reason: why the function cannot be differentiated, or "" where it can.
        step: of the central differences, relative to an input's size.
        double: largest relative error of derivatives in float64.
        single: the same where the caller's default is float32.
        edge: one-sided differences, for inputs at the end of their range.
        bad: calls without arguments that must raise, with a part of the message.
    """

    name: str
    call: Callable[..., Any] | None = None
    inputs: tuple = ()
    twice: bool = True
    jit: bool = True
    reason: str = ""
    step: float = 1e-5
    double: float = 1e-6
    single: float = 1e-4
    edge: bool = False
    bad: tuple[tuple[Callable[[], Any], str], ...] = field(default=())

    @property
    def integrated(self) -> bool:
        """Return whether it solves differential equations, with adaptive steps."""
        return not self.jit

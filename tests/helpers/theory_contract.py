"""Measure every public function of the theory module under JAX's transformations.

    python tests/helpers/theory_contract.py > docs/figures/derivatives.md

writes the table: a row per function, a column per transformation, in each cell the
largest relative error against central differences of the function itself.
"""

import importlib
import pkgutil
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contract_case import Case

CELLS = ("value", "grad", "jvp", "second", "jit", "vmap", "x64 off")


def all_cases() -> Iterator[Case]:
    """Collect the cases of all `contract_cases_*` modules beside this one."""
    here = [str(Path(__file__).parent)]
    for module in sorted(m.name for m in pkgutil.iter_modules(here)):
        if module.startswith("contract_cases_"):
            yield from importlib.import_module(module).CASES


def measure(case: Case) -> dict[str, float | str]:
    """Return a relative error for each cell, or why the cell has none."""
    if case.reason or case.call is None:
        return dict.fromkeys(CELLS, case.reason or "not a function of numbers")
    with jax.enable_x64(True):
        inputs = tuple(jnp.asarray(x, jnp.float64) for x in case.inputs)
        scalar, weights = _scalar(case.call, inputs)
        along = _direction(inputs)
        slope = _difference(lambda h: scalar(*_moved(inputs, along, h)), case)
        gradient = jax.grad(scalar, _all(inputs))
        found = gradient(*inputs)
        forward = jax.jvp(scalar, inputs, along)[1]
        compiled = jax.jit(gradient)(*inputs)
        stacked = tuple(jnp.stack([x, x]) for x in inputs)
        mapped = jax.vmap(case.call)(*stacked)
        value = np.asarray(case.call(*inputs))
        cells: dict[str, float | str] = {
            "value": _finite(value),
            "grad": _gap(_dot(found, along), slope),
            "jvp": _gap(forward, slope),
            "second": "not twice differentiable",
            "jit": _gaps(compiled, found),
            "vmap": _gaps([x[1] for x in jax.tree.leaves(mapped)], [value]),
        }
        if case.twice:
            cells["second"] = _second(scalar, gradient, inputs, along, case)
    cells["x64 off"] = _narrow(case, weights, along, float(slope), found)
    return cells


def _second(
    scalar: Callable, gradient: Callable, inputs: tuple, along: tuple, case: Case
) -> float:
    """Compare forward over reverse with differences of the gradient."""

    def of_gradient(h: float) -> Any:
        return _dot(gradient(*_moved(inputs, along, h)), along)

    bend = _difference(of_gradient, case)
    found = jax.jvp(lambda *x: _dot(gradient(*x), along), inputs, along)[1]
    # Where a function is linear in a direction the first derivative is the yardstick.
    return _gap(found, bend, least=1e-3 * float(abs(_dot(gradient(*inputs), along))))


def _narrow(
    case: Case, weights: list, along: tuple, slope: float, wide: tuple
) -> float | str:
    """Compare with the derivatives that a caller in float32 gets."""
    inputs = tuple(np.asarray(x, np.float32) for x in case.inputs)
    along = tuple(np.asarray(v, np.float32) for v in along)

    def scalar(*given: Any) -> Any:
        leaves = jax.tree.leaves(case.call(*given))  # type: ignore[misc]
        return sum(
            jnp.sum(jnp.asarray(leaf) * np.asarray(w, np.float32))
            for leaf, w in zip(leaves, weights, strict=True)
        )

    found = jax.grad(scalar, _all(inputs))(*inputs)
    if any(x.dtype != jnp.float32 for x in found):
        raise TypeError(f"{case.name}: gradients are not float32 outside of float64")
    worst = _gaps(found, wide)
    forward = jax.jvp(scalar, inputs, along)[1]
    worst = max(worst, _gap(forward, slope, least=_size(wide, along)))
    if case.jit:
        worst = max(
            worst, _gaps(jax.jit(jax.grad(scalar, _all(inputs)))(*inputs), wide)
        )
    return worst


def _scalar(call: Callable, inputs: tuple) -> tuple[Callable, list]:
    """Return a fixed combination of all outputs, so that one gradient sees them all."""
    rng = np.random.default_rng(0)
    shapes = [x.shape for x in jax.tree.leaves(jax.eval_shape(call, *inputs))]
    weights = [rng.uniform(0.5, 1.5, shape) for shape in shapes]

    def scalar(*given: Any) -> jax.Array:
        leaves = jax.tree.leaves(call(*given))
        return sum(
            (jnp.sum(x * w) for x, w in zip(leaves, weights, strict=True)),
            start=jnp.zeros(()),
        )

    return scalar, weights


def _direction(inputs: tuple) -> tuple:
    rng = np.random.default_rng(1)
    return tuple(
        jnp.asarray(rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1.0, 1.0], x.shape))
        * jnp.maximum(jnp.abs(x), 1e-3)
        for x in inputs
    )


def _moved(inputs: tuple, along: tuple, by: float) -> tuple:
    return tuple(x + by * v for x, v in zip(inputs, along, strict=True))


def _difference(of: Callable[[float], Any], case: Case) -> Any:
    """Return a central difference, extrapolated so that its error is of order four."""

    def central(h: float) -> Any:
        return (of(h) - of(-h)) / (2.0 * h)

    def one_sided(h: float) -> Any:
        return (4.0 * of(h) - 3.0 * of(0.0) - of(2.0 * h)) / (2.0 * h)

    if case.edge:
        return (4.0 * one_sided(0.5 * case.step) - one_sided(case.step)) / 3.0
    return (4.0 * central(0.5 * case.step) - central(case.step)) / 3.0


def _all(inputs: tuple) -> tuple[int, ...]:
    return tuple(range(len(inputs)))


def _dot(gradient: Any, along: tuple) -> jax.Array:
    pairs = zip(gradient, along, strict=True)
    return sum((jnp.sum(g * v) for g, v in pairs), start=jnp.zeros(()))


def _size(gradient: Any, along: tuple) -> float:
    """Return the size of the terms of a directional derivative, before they cancel."""
    pairs = zip(gradient, along, strict=True)
    return float(sum(np.sum(np.abs(np.asarray(g) * np.asarray(v))) for g, v in pairs))


def _finite(value: np.ndarray) -> float:
    return 0.0 if np.isfinite(value).all() else float("nan")


def _gap(found: Any, expected: Any, least: float = 0.0) -> float:
    scale = max(abs(float(expected)), least, 1e-12)
    return abs(float(found) - float(expected)) / scale


def _gaps(found: Any, expected: Any) -> float:
    """Return the largest error of arrays, relative to the largest entry of each."""
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        other = np.asarray(other)
        if other.size:
            scale = max(float(np.abs(other).max()), 1e-12)
            worst = max(worst, float(np.abs(np.asarray(one) - other).max()) / scale)
    return worst


def table(cases: list[Case]) -> str:
    """Return the table in Markdown, the reasons of empty cells below it."""
    reasons: dict[str, int] = {}
    rows = [("function", *CELLS)]
    for case in cases:
        print(case.name, file=sys.stderr, flush=True)
        cells = measure(case)
        shown = [_shown(cells[name], reasons) for name in CELLS]
        rows.append((case.name, *shown))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes, ""])


def _shown(cell: float | str, reasons: dict[str, int]) -> str:
    if isinstance(cell, str):
        return f"({reasons.setdefault(cell, len(reasons) + 1)})"
    return f"{cell:.0e}" if cell else "0"


def main() -> None:
    """Print the page."""
    print("# Derivatives of the theory module\n")
    print(
        "Relative errors against extrapolated central differences, in float64; the\n"
        "last column is for a caller whose default is float32. Written by\n"
        f"`python tests/helpers/theory_contract.py`, JAX {jax.__version__}, Python "
        f"{platform.python_version()}, {jax.default_backend()}.\n"
    )
    print(table(list(all_cases())))


if __name__ == "__main__":
    main()

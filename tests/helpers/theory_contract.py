"""Measure every public function of the theory module under JAX's transformations.

    python tests/helpers/theory_contract.py [KEPT] > docs/figures/derivatives.md

writes the table in about an hour. Rows are kept in the file KEPT as they are measured,
and a later call with it measures the others alone. There is a row per function, a
column per transformation, in each cell the largest relative error against central
differences of the function itself.
"""

import importlib
import json
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

CELLS = ("value", "grad", "jvp", "second", "vmap", "x64 off")


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
        call, along = case.call, _direction(inputs)
        scalar, weights = _scalar(call, inputs)
        gradient = jax.grad(scalar, _all(inputs))

        # One program for all of them, since compiling is most of a row's cost.
        @jax.jit
        def everything(inputs: tuple, shifts: jax.Array) -> dict[str, Any]:
            def at(h: jax.Array) -> tuple[jax.Array, jax.Array]:
                given = _moved(inputs, along, h)
                value, slopes = jax.value_and_grad(scalar, _all(inputs))(*given)
                return value, _dot(slopes, along)

            values, slopes = jax.lax.map(at, shifts)
            found = {
                "values": values,
                "slopes": slopes,
                "gradient": gradient(*inputs),
                "jvp": jax.jvp(scalar, inputs, along)[1],
                "mapped": jax.vmap(call)(*(jnp.stack([x, x]) for x in inputs)),
            }
            if case.twice:
                found["second"] = jax.jvp(
                    lambda *x: _dot(gradient(*x), along), inputs, along
                )[1]
            if case.twice and not case.integrated:
                found["in a scan"] = _twice_through_a_map(scalar, inputs, along)
            return found

        shifts, combine = _stencil(case)
        found = jax.tree.map(np.asarray, everything(inputs, shifts))
        value = [np.asarray(x) for x in jax.tree.leaves(call(*inputs))]
        wide, slope = found["gradient"], combine(found["values"])
        inside = _dot(wide, along)
        cells: dict[str, float | str] = {
            "value": 0.0 if all(np.isfinite(x).all() for x in value) else float("nan"),
            "grad": _gap(inside, slope),
            "jvp": _gap(found["jvp"], slope),
            "second": "not twice differentiable",
            "vmap": _gaps([x[1] for x in jax.tree.leaves(found["mapped"])], value),
        }
        if case.twice:
            # Of a function that is linear in a direction the slope is the yardstick.
            least = 1e-3 * abs(float(inside))
            expected = combine(found["slopes"])
            cells["second"] = max(
                _gap(found[name], expected, least)
                for name in ("second", "in a scan")
                if name in found
            )
    cells["x64 off"] = _narrow(case, weights, along, slope, wide)
    return cells


def _twice_through_a_map(scalar: Callable, inputs: tuple, along: tuple) -> jax.Array:
    """Return the second derivative, both in reverse, where JAX may lose a rule."""

    def mapped(*given: jax.Array) -> jax.Array:
        return jax.lax.map(lambda x: scalar(*x), tuple(x[None] for x in given))[0]

    def slope(*given: jax.Array) -> jax.Array:
        return _dot(jax.grad(mapped, _all(inputs))(*given), along)

    return _dot(jax.grad(slope, _all(inputs))(*inputs), along)


def _narrow(
    case: Case, weights: list, along: tuple, slope: float, wide: tuple
) -> float:
    """Compare with the derivatives that a caller in float32 gets, not compiled."""
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
    forward = jax.jvp(scalar, inputs, along)[1]
    gap = _gap(forward, slope, least=_size(wide, along))
    return max(_gaps(found, wide), gap)


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


def _stencil(case: Case) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
    """Return shifts, and the difference of sixth order of the values there.

    Of fourth order at the edge of a range.
    """
    # Adaptive steps make noise of the size of their tolerance.
    h = 2e-2 if case.integrated and case.step == Case.step else case.step
    if case.edge:
        shifts = h * np.array([0.0, 0.25, 0.5, 1.0, 2.0])

        def one_sided(f0: float, f1: float, f2: float, step: float) -> float:
            return float((4.0 * f1 - 3.0 * f0 - f2) / (2.0 * step))

        return (
            shifts,
            lambda f: (
                (
                    4.0 * one_sided(f[0], f[2], f[3], 0.5 * h)
                    - one_sided(f[0], f[3], f[4], h)
                )
                / 3.0
            ),
        )
    shifts = h / 3.0 * np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])

    def central(f: np.ndarray) -> float:
        near, middle, far = f[3] - f[2], f[4] - f[1], f[5] - f[0]
        return float((45.0 * near - 9.0 * middle + far) / (20.0 * h))

    return shifts, central


def _all(inputs: tuple) -> tuple[int, ...]:
    return tuple(range(len(inputs)))


def _dot(gradient: Any, along: tuple) -> jax.Array:
    pairs = zip(gradient, along, strict=True)
    return sum((jnp.sum(g * v) for g, v in pairs), start=jnp.zeros(()))


def _size(gradient: Any, along: tuple) -> float:
    """Return the size of the terms of a directional derivative, before they cancel."""
    pairs = zip(gradient, along, strict=True)
    return float(sum(np.sum(np.abs(np.asarray(g) * np.asarray(v))) for g, v in pairs))


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


def table(cases: list[Case], kept: Path | None = None) -> str:
    """Return the table in Markdown, the reasons of empty cells below it.

    Args:
        cases: one per row.
        kept: file of rows measured before, as JSON lines, to which new ones are added.
    """
    known: dict[str, dict[str, float | str]] = {}
    if kept is not None and kept.exists():
        known = dict(map(json.loads, kept.read_text("utf-8").splitlines()))
    reasons: dict[str, int] = {}
    rows = [("function", *CELLS)]
    for case in cases:
        print(case.name, file=sys.stderr, flush=True)
        cells = known.get(case.name) or measure(case)
        if kept is not None and case.name not in known:
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps([case.name, cells]) + "\n")
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
        "Relative errors against differences of sixth order, in float64, all inside\n"
        "of one `jax.jit`; second derivatives are forward over reverse and, through a\n"
        "`jax.lax.map`, reverse over reverse; the last column is for a caller whose\n"
        "default is float32, not compiled, so that both ways to call a function are\n"
        "shown. Written by\n"
        f"`python tests/helpers/theory_contract.py`, JAX {jax.__version__}, Python "
        f"{platform.python_version()}, {jax.default_backend()}.\n"
    )
    kept = Path(sys.argv[1]) if sys.argv[1:] else None
    print(table(list(all_cases()), kept))


if __name__ == "__main__":
    main()

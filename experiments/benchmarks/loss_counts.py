"""FLOPs and memory of every loss with its gradient, counted by the compiler.

Command:  python experiments/benchmarks/loss_counts.py --json FILE
          python experiments/benchmarks/loss_counts.py --table BEFORE AFTER
          (the methods that differ, for docs/throughput.md)
Time:     two minutes on 2 CPU cores; nothing runs, so that other work on the machine
          changes nothing
Result:   per method and shape the FLOPs as a multiple of one product [N, D] x [D, N] or
          [D, N] x [N, D], whichever is the smaller matrix, and temporary memory. LAPACK
          (eigendecompositions, Cholesky factors) is not counted, and the body of a loop
          counts once
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from loss_throughput import SHAPES, loss_and_gradient

from ssljax import methods
from ssljax.config.checks import ConfigError
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json


def count(
    shapes: Sequence[tuple[int, int]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row per method and shape."""
    rows = []
    for n, d in shapes:
        z = jax.ShapeDtypeStruct((n, d), jnp.float32)
        for name in names:
            try:
                lowered = jax.jit(loss_and_gradient(name, n, d)).lower(z, z)
            except (ConfigError, ValueError) as error:
                print(f"{name:<22} N {n:>5} D {d:>5}  left out: {error}", flush=True)
                continue
            compiled: Any = lowered.compile()
            flops = compiled.cost_analysis()["flops"]
            row = {"method": name, "n": n, "d": d, "flops": flops}
            row["products"] = flops / (2 * n * d * min(n, d))
            row["temporary"] = compiled.memory_analysis().temp_size_in_bytes
            rows.append(row)
            print(
                f"{name:<22} N {n:>5} D {d:>5}  {flops / 1e9:9.1f} GFLOP = "
                f"{row['products']:7.1f} products, {row['temporary'] / 1e6:7.0f} MB",
                flush=True,
            )
    return rows


def table(before: Path, after: Path) -> str:
    """Return the methods whose FLOPs or memory differ by 2 % or more, as Markdown."""
    old, new = (json.loads(file.read_text())["rows"] for file in (before, after))
    found = {(row["method"], row["n"], row["d"]): row for row in new}
    lines = [
        ["method", "N", "D", "GFLOP", "products", "before", "MB", "before"],
        ["---"] * 8,
    ]
    for was in old:
        now = found[was["method"], was["n"], was["d"]]
        gaps = [now[what] / was[what] - 1.0 for what in ("flops", "temporary")]
        if max(map(abs, gaps)) < 0.02:
            continue
        numbers = [f"{now['flops'] / 1e9:,.1f}"]
        numbers += [f"{row['products']:,.1f}" for row in (now, was)]
        numbers += [f"{row['temporary'] / 1e6:,.0f}" for row in (now, was)]
        lines.append([was["method"], str(was["n"]), str(was["d"]), *numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Count, or print the table of two files."""
    parser = argparse.ArgumentParser(description="FLOPs of every loss")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--table", nargs=2, type=Path, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--methods", nargs="+", default=list(methods.METHODS))
    arguments = parser.parse_args()
    if arguments.table:
        print(table(*arguments.table))
        return 0
    made = this_launch(["python", *sys.argv])
    rows = count(SHAPES, arguments.methods)
    if arguments.json is not None:
        write_json(arguments.json, {"made": made, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())

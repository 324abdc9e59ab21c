"""Time of every loss beside a matrix product of the same size.

Command:  python experiments/benchmarks/loss_throughput.py [--json FILE]
          python experiments/benchmarks/loss_throughput.py --shapes 256x8192
              --methods vicreg w_mse --keep OLD --json FILE
          (rows of the methods that are not named are copied from an older file)
          python experiments/benchmarks/loss_throughput.py --table FILE [FILE ...]
              [--before FILE ...]
          (makes the table of docs/throughput.md from kept files)
Time:     about half an hour on 2 CPU cores, most of it for eigendecompositions of the
          8192 x 8192 covariances of closed-form predictors; `--shapes 4096x2048`, or
          any other N x D, measures less
Result:   for N = 4096, D = 2048 and N = 256, D = 8192 a line per method: seconds of the
          loss with its gradient, and the ratio to one product [N, D] x [D, N] or
          [D, N] x [N, D], whichever is the smaller matrix, timed before and after it
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ssljax import methods
from ssljax.config import Config, MethodConfig
from ssljax.config.checks import ConfigError
from ssljax.models import Outputs
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

SHAPES = ((4096, 2048), (256, 8192))
REPEATS = 4
LONG = 5.0  # seconds; a run that takes longer is not repeated


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the time of the fastest of a few runs, without compilation."""
    compiled = jax.jit(function).lower(*arguments).compile()
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        best = min(best, time.perf_counter() - start)
        if best > LONG:
            break
    return best


def matrix_product(z: jax.Array) -> jax.Array:
    """Compute the smaller Gram matrix, the unit of the table."""
    small = z if z.shape[0] <= z.shape[1] else z.T
    return jnp.matmul(small, small.T, precision=jax.lax.Precision.HIGHEST)


def loss_and_gradient(name: str, n: int, d: int) -> Callable[..., Any]:
    """Loss of a method on two views, with its gradient."""
    # W-MSE's covariance [D, D] wants as many samples as there are.
    sub_batch = {"w_mse": n, "cw_rgp": min(n, 64)}.get(name)
    options: dict[str, float | int | str] = {}
    if sub_batch is not None:
        options["sub_batch"] = sub_batch
    config = methods.resolve(Config(method=MethodConfig(name, options=options)))
    loss_of, bound = methods.bind_loss(config), methods.bind_predictors(config)

    def loss(z1: jax.Array, z2: jax.Array) -> jax.Array:
        predictors: list[jax.Array] = []
        if bound is not None:
            predictors, _ = bound(jnp.zeros((d, d), jnp.float32), [z1, z2])
        constant = [jax.lax.stop_gradient(z) for z in (z1, z2)]
        outputs = Outputs(
            [z1, z2],
            [z1, z2],
            constant,
            jnp.zeros(n, jnp.int32),
            predictors,
            jax.random.key(0),
        )
        return loss_of(outputs)

    return jax.value_and_grad(loss, argnums=(0, 1))


def _shape(text: str) -> tuple[int, int]:
    n, d = map(int, text.split("x"))
    return n, d


def measure(
    shapes: Sequence[tuple[int, int]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """A row per method and shape."""
    rows = []
    for n, d in shapes:
        z1, z2 = jax.random.normal(jax.random.key(0), (2, n, d))
        for name in names:
            before = seconds(matrix_product, z1)
            try:
                taken = seconds(loss_and_gradient(name, n, d), z1, z2)
            except (ConfigError, ValueError) as error:
                print(f"{name:<22} N {n:>5} D {d:>5}  left out: {error}", flush=True)
                continue
            # Both, as other work on the machine slows them alike.
            product = min(before, seconds(matrix_product, z1))
            rows.append(
                {"method": name, "n": n, "d": d, "seconds": taken}
                | {"matrix_products": taken / product}
            )
            print(
                f"{name:<22} N {n:>5} D {d:>5}  {taken:8.3f} s  "
                f"{taken / product:7.1f} matrix products",
                flush=True,
            )
    return rows


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def kept(rows: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """Add the rows of other methods from an older file, with the commit they are of."""
    older = json.loads(file.read_text())
    measured = {(row["method"], row["n"], row["d"]): row for row in rows}
    commit = {"commit": older["made"]["commit"]}
    return [
        measured.get((row["method"], row["n"], row["d"])) or commit | row
        for row in older["rows"]
    ]


def table(files: Sequence[Path], before: Sequence[Path] = ()) -> str:
    """Return measurements as Markdown: a line per method, columns per shape."""
    shapes = [json.loads(file.read_text())["rows"] for file in files]
    earlier = [json.loads(file.read_text())["rows"] for file in before]
    earlier += [[] for _ in shapes[len(earlier) :]]
    columns = []
    for rows, old in zip(shapes, earlier, strict=True):
        size = f"N = {rows[0]['n']}, D = {rows[0]['d']}"
        columns += [f"{size}: s", "products"] + ["before"] * bool(old)
    lines = [["method", *columns], ["---"] * (1 + len(columns))]
    for name in dict.fromkeys(row["method"] for rows in shapes for row in rows):
        cells = []
        for rows, old in zip(shapes, earlier, strict=True):
            (row,) = [row for row in rows if row["method"] == name] or [{}]
            cells += [
                _rounded(row[what]) if row else "-"
                for what in ("seconds", "matrix_products")
            ]
            # A row that was copied has no other before.
            again = bool(row) and "commit" not in row
            was = [_rounded(r["matrix_products"]) for r in old if r["method"] == name]
            cells += (was if again else [""]) * bool(old)
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="time of every loss")
    parser.add_argument(
        "--shapes", nargs="+", type=_shape, default=SHAPES, help="N x D, as 4096x2048"
    )
    parser.add_argument("--methods", nargs="+", default=list(methods.METHODS))
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument(
        "--table",
        nargs="+",
        type=Path,
        help="print files of --json and measure nothing",
    )
    parser.add_argument(
        "--before", nargs="+", type=Path, default=[], help="older files for --table"
    )
    parser.add_argument("--keep", type=Path, help="copy all other rows from this file")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.table, arguments.before))
        return 0
    made = this_launch(["python", *sys.argv])
    rows = measure(arguments.shapes, arguments.methods)
    if arguments.keep is not None:
        rows = kept(rows, arguments.keep)
    if arguments.json is not None:
        write_json(arguments.json, {"made": made, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())

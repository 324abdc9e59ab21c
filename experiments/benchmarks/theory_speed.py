"""Time of the closed forms that `ssljax.analytic` promises to be fast.

Command:  python experiments/benchmarks/theory_speed.py [--json FILE]
Time:     a few seconds on 2 CPU cores
Result:   a line per case: milliseconds of a warm call and the bound on them; the exit
          status is 1 where a bound is missed
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic import stepwise

REPEATS = 200


def milliseconds(function: Callable[[], Any]) -> float:
    """The fastest of some runs, compilation left out."""
    jax.block_until_ready(function())
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function())
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def aligned_modes() -> float:
    """Stepwise learning of 256 modes at 1,000 times."""
    gamma = jnp.arange(1.0, 257.0) ** -1.5
    s0, times = jnp.full(256, 1e-6), jnp.linspace(0.0, 1e4, 1000)
    return milliseconds(lambda: stepwise.aligned_singular_values(s0, gamma, times))


# Name, function that returns milliseconds, bound on a CPU.
CASES: tuple[tuple[str, Callable[[], float], float], ...] = (
    ("stepwise.aligned_singular_values [1000, 256]", aligned_modes, 10.0),
)


def main() -> int:
    """Time every case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    rows = []
    for name, function, bound in CASES:
        found = function()
        rows.append({"case": name, "milliseconds": found, "bound": bound})
        verdict = "ok" if found <= bound else "SLOW"
        print(f"{name:<50} {found:8.2f} ms, bound {bound:g} ms  {verdict}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return int(any(row["milliseconds"] > row["bound"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

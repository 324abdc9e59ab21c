"""Time of the closed forms that `ssljax.analytic` promises to be fast.

Command:  python experiments/benchmarks/theory_speed.py [--json FILE]
Time:     a few seconds on 2 CPU cores
Result:   a line per case: milliseconds of a warm call, the median and the fastest of
          50, the bound on the median and the load of the machine; the exit status is 1
          where a bound is missed
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic import implicit_variance, stepwise
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

REPEATS = 50
GAMMA = jnp.arange(1.0, 257.0) ** -1.5
S0, TIMES = jnp.full(256, 1e-6), jnp.linspace(0.0, 1e4, 1000)
LAMBDA0, SHORT = jnp.logspace(-4.0, -0.3, 256), jnp.linspace(0.0, 40.0, 1000)


def milliseconds(function: Callable[[], Any]) -> list[float]:
    """Return the times of some runs in ascending order, without compilation."""
    jax.block_until_ready(function())
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function())
        found.append(1e3 * (time.perf_counter() - start))
    return sorted(found)


# Name and call: 1,000 times of 256 modes each, within 10 ms on a CPU.
BOUND = 10.0
CASES: tuple[tuple[str, Callable[[], Any]], ...] = (
    (
        "stepwise.aligned_singular_values",
        lambda: stepwise.aligned_singular_values(S0, GAMMA, TIMES),
    ),
    (
        "stepwise.merged_vicreg_singular_values",
        lambda: stepwise.merged_vicreg_singular_values(S0, GAMMA, 2.0 * GAMMA, TIMES),
    ),
    (
        "stepwise.left_preconditioned_eigenvalues",
        lambda: stepwise.left_preconditioned_eigenvalues(S0, GAMMA, TIMES, eps=0.01),
    ),
    (
        "implicit_variance.predictor_eigenvalues",
        lambda: implicit_variance.predictor_eigenvalues(LAMBDA0, SHORT),
    ),
    (
        "... of IsoLoss",
        lambda: implicit_variance.predictor_eigenvalues(
            LAMBDA0, SHORT, loss="isoloss_euclidean"
        ),
    ),
)


def main() -> int:
    """Time every case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    made = this_launch(["python", *sys.argv])
    rows = []
    for name, call in CASES:
        found = milliseconds(call)
        median, load = statistics.median(found), os.getloadavg()[0]
        rows.append(
            {
                "case": name,
                "median_milliseconds": median,
                "fastest_milliseconds": found[0],
                "bound": BOUND,
                "load": load,
            }
        )
        verdict = "ok" if median <= BOUND else "SLOW"
        print(
            f"{name:<42} median {median:6.2f} ms, fastest {found[0]:6.2f} ms, "
            f"bound {BOUND:g} ms, load {load:.1f}  {verdict}",
            flush=True,
        )
    if arguments.json:
        write_json(arguments.json, {"made": made, "rows": rows})
    return int(any(row["median_milliseconds"] > row["bound"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

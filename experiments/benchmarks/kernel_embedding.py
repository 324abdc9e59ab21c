"""Time of the closed-form embedding of a contrastive kernel, and how it grows.

Command:  python experiments/benchmarks/kernel_embedding.py [--json FILE] [--dim 10]
Time:     about two minutes on 2 CPU cores
Result:   a line per number of pairs n = 500, 1000, 2000, 4000: seconds from the three
          [n, n] kernels to the modes and the embedding of the 2n views, compilation
          apart; the loss of that embedding, which is 0 where it is exact; and the power
          of n with which the seconds grow
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax import losses
from ssljax.analytic.ntk import relu_ntk
from ssljax.analytic.stepwise import kernel_embedding
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

SIZES = (500, 1000, 2000, 4000)
FEATURES = 1200


def kernels(pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a ReLU tangent kernel of noisy views, with a slowly decaying spectrum."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, FEATURES + 1) ** -0.5
    x = rng.normal(size=(pairs, FEATURES)) * spectrum
    xp = x + 0.5 * rng.normal(size=(pairs, FEATURES)) * spectrum
    views = np.concatenate([x, xp])
    kernel = np.asarray(relu_ntk(views))
    return kernel[:pairs, :pairs], kernel[:pairs, pairs:], kernel[pairs:, pairs:]


def measure(pairs: int, dim: int) -> dict[str, Any]:
    """Return the time of the second of two runs, which leaves compilation out."""
    k_xx, k_xxp, k_xpxp = kernels(pairs)
    seconds = []
    embedded = [np.empty(0)]
    for _ in range(2):
        start, cpu = time.perf_counter(), time.process_time()
        embed = kernel_embedding(k_xx, k_xxp, k_xpxp, dim)
        embedded = [embed(k_xx, k_xxp), embed(k_xxp.T, k_xpxp)]
        seconds.append((time.perf_counter() - start, time.process_time() - cpu))
    with jax.enable_x64(True):
        loss = float(losses.linearized_barlow_twins(*map(jax.numpy.asarray, embedded)))
    return {
        "n": pairs,
        "dim": dim,
        "seconds": seconds[1][0],
        "cpu_seconds": seconds[1][1],
        "seconds_with_compilation": seconds[0][0],
        "loss": loss,
        "load": os.getloadavg()[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="time of the kernel embedding")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument(
        "--dim", type=int, default=10, help="dimension of the embedding"
    )
    arguments = parser.parse_args()
    made = this_launch(["python", *sys.argv])
    rows = []
    for pairs in SIZES:
        row = measure(pairs, arguments.dim)
        rows.append(row)
        print(
            f"n {pairs:>5}  {row['seconds']:8.2f} s ({row['cpu_seconds']:.2f} s of CPU "
            f"time, {row['seconds_with_compilation']:.2f} s with compilation)  "
            f"loss {row['loss']:.1e}",
            flush=True,
        )
    counts, seconds = [r["n"] for r in rows], [r["seconds"] for r in rows]
    power = np.polyfit(np.log(counts), np.log(seconds), 1)[0]
    print(f"seconds grow as n^{power:.2f}")
    if arguments.json is not None:
        record = {"made": made, "rows": rows, "power": float(power)}
        write_json(arguments.json, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Closed-form embedding of 20,000 pairs of CIFAR-10 crops under a tangent kernel.

Command:  python experiments/benchmarks/large_kernel.py [--json FILE] [--pairs 20000]
          [--dim 10]; needs CIFAR-10, see TFDS_DATA_DIR in the README
Time:     about ten minutes on 2 free CPU cores
Result:   a line for n = 2000 and one for n = --pairs: CPU seconds from images to the
          embedding of the 2n views, and those spent in the kernel function; peak memory
          of the process; residual; the loss of that embedding, which is 0 where it is
          exact; CPU seconds for 1000 held-out images. At n = 2000 also the largest
          difference from `kernel_embedding`, which takes the whole matrix; at the other
          one from the embedding of 500 views by a kernel in float64
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax import data, losses
from ssljax.analytic.ntk import relu_ntk
from ssljax.analytic.stepwise import kernel_embedding, kernel_embedding_of
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

SMALL, HELD_OUT, CROP = 2000, 1000, 20


def crops(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one random crop of every image, half of them flipped, as rows."""
    corners = rng.integers(0, 33 - CROP, size=(len(images), 2))
    flipped = rng.random(len(images)) < 0.5
    rows = np.stack(
        [
            image[i : i + CROP, j : j + CROP][:, :: -1 if flip else 1].ravel()
            for image, (i, j), flip in zip(images, corners, flipped, strict=True)
        ]
    )
    return (rows.astype(np.float32) - 120.0) / 60.0


def measure(pairs: int, dim: int) -> dict[str, Any]:
    """Embed two crops each of that many images, and held-out ones."""
    rng = np.random.default_rng(0)
    images = data.load("cifar10", split=f"train[:{pairs}]").images
    tests = data.load("cifar10", split=f"test[:{HELD_OUT}]").images
    assert images is not None and tests is not None
    x, xp, held = crops(images, rng), crops(images, rng), crops(tests, rng)
    compiled = jax.jit(relu_ntk)
    inside = [0.0]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        start = time.process_time()
        found = np.asarray(compiled(a, b))
        inside[0] += time.process_time() - start
        return found

    start = time.process_time()
    embed = kernel_embedding_of(kernel, x, xp, dim)
    row: dict[str, Any] = {
        "n": pairs,
        "dim": dim,
        "inputs": x.shape[1],
        "cpu_seconds": time.process_time() - start,
        "cpu_seconds_in_kernel": inside[0],
        "storage": embed.kernel.storage,
        "products": embed.products,
        "residual": embed.residual,
        "gamma": embed.gamma.tolist(),
    }
    with jax.enable_x64(True):
        first, second = np.split(embed.views, 2)
        row["loss"] = float(
            losses.linearized_barlow_twins(
                jax.numpy.array(first), jax.numpy.array(second)
            )
        )
    start = time.process_time()
    assert np.isfinite(embed(held)).all()
    row["cpu_seconds_held_out"] = time.process_time() - start
    if pairs == SMALL:
        views = np.concatenate([x, xp]).astype(np.float64)
        k = np.asarray(relu_ntk(views))
        dense = kernel_embedding(
            k[:pairs, :pairs], k[:pairs, pairs:], k[pairs:, pairs:], dim
        )
        expected = np.asarray(dense(k[:, :pairs], k[:, pairs:]))
        row["gap_to_dense"] = float(np.abs(embed.views - expected).max())
    else:
        gap = embed(x[:500]) - embed.views[:500]
        row["gap_to_float64_kernel"] = float(np.abs(gap).max())
    row["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row["load"] = os.getloadavg()[0]
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--pairs", type=int, default=20_000, help="pairs of views")
    parser.add_argument("--dim", type=int, default=10, help="of the embedding")
    arguments = parser.parse_args()
    made = this_launch(["python", *sys.argv])
    rows = []
    for pairs in sorted({SMALL, arguments.pairs}):
        row = measure(pairs, arguments.dim)
        rows.append(row)
        gap = row.get("gap_to_dense", row.get("gap_to_float64_kernel"))
        print(
            f"n {pairs:>6}  {row['cpu_seconds']:.0f} s of CPU time "
            f"({row['cpu_seconds_in_kernel']:.0f} s in the kernel function), "
            f"{row['peak_megabytes']:.0f} MB, {row['storage']}, {row['products']} "
            f"products, residual {row['residual']:.1e}, loss {row['loss']:.1e}, "
            f"gap {gap:.1e}, held out {row['cpu_seconds_held_out']:.1f} s",
            flush=True,
        )
    if arguments.json is not None:
        write_json(arguments.json, {"made": made, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Tangent kernels of the package's ResNets on CIFAR-10: CPU time and memory.

Command:  python experiments/benchmarks/network_ntk.py [--json FILE]; needs CIFAR-10,
          see TFDS_DATA_DIR in the README
Time:     about five minutes on 2 CPU cores
Result:   a line per case, each in a process of its own: CPU seconds with compilation,
          peak memory, the smallest eigenvalue over the largest, and the gap: the
          largest difference from the first two rows that the first function gave for
          these images, over their largest entry

All cases are encoder and projector 128-64 at the start of training, in float64, and
average over a few random +-1 directions of the 64 outputs instead of over all of them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import data
from ssljax.analytic.network_ntk import network_ntk
from ssljax.analytic.ntk import empirical_ntk
from ssljax.models import MLP, Network, initialise, resnet
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

# Encoder, images, directions, function.
CASES = (
    ("resnet_tiny", 500, 4, "network_ntk"),
    ("resnet_tiny", 500, 4, "empirical_ntk"),
    ("resnet18", 4, 4, "network_ntk"),
    ("resnet18", 4, 4, "empirical_ntk"),
)
OUTPUTS = 64


def measure(arch: str, count: int, directions: int, function: str) -> dict[str, Any]:
    """Compute one kernel."""
    images = data.load("cifar10", split=f"train[:{count}]").images
    assert images is not None
    x = (images.astype(float) - 120.0) / 60.0
    network = Network(
        resnet(arch, stem="small", dtype=jnp.float64),
        MLP((128, OUTPUTS), dtype=jnp.float64),
        MLP(()),
    )
    with jax.enable_x64(True):
        drawn = initialise(network, jax.random.key(0), x.shape[1:])
        # Statistics too: in float32, BatchNorm's epsilon would lose digits.
        variables = jax.tree.map(lambda v: np.asarray(v, np.float64), drawn)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(directions, OUTPUTS))
    start = time.process_time()
    if function == "network_ntk":
        kernel = network_ntk(network, variables, x, directions=signs)
    else:

        def apply(params: Any, x: jax.Array) -> Any:
            whole = {**variables, "params": params}
            return network.apply(whole, x, train=False, method="project")[1]

        kernel = empirical_ntk(apply, variables["params"], x, directions=signs)
    kernel = np.asarray(kernel)
    seconds = time.process_time() - start
    values = np.linalg.eigvalsh(kernel)
    return {
        "encoder": arch,
        "images": count,
        "directions": directions,
        "function": function,
        "parameters": sum(v.size for v in jax.tree.leaves(variables["params"])),
        "cpu_seconds": seconds,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "smallest_eigenvalue": float(values[0] / values[-1]),
        "load": os.getloadavg()[0],
        "first_rows": kernel[:2].tolist(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(json.dumps(measure(*CASES[arguments.case])))
        return 0
    made = this_launch(["python", *sys.argv])
    # OpenBLAS's threads count as busy while they wait for each other.
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, int], np.ndarray] = {}
    for index, (arch, count, _, _) in enumerate(CASES):
        command = [sys.executable, __file__, "--case", str(index)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=alone
        )
        row = json.loads(done.stdout.splitlines()[-1])
        found = np.array(row.pop("first_rows"))
        expected = first.setdefault((arch, count), found)
        row["gap"] = float(np.abs(found - expected).max() / np.abs(found).max())
        rows.append(row)
        print(
            f"{row['encoder']:<12} {row['images']:>4} images  {row['directions']} "
            f"directions  {row['function']:<14} {row['cpu_seconds']:7.1f} s of CPU "
            f"time, {row['peak_megabytes']:6.0f} MB, smallest eigenvalue "
            f"{row['smallest_eigenvalue']:.1e}, gap {row['gap']:.1e}",
            flush=True,
        )
    if arguments.json is not None:
        write_json(arguments.json, {"made": made, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())

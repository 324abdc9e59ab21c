"""Speed of every convolution of the encoders on a CPU, XLA's form beside ours.

Command:  python experiments/benchmarks/convolution.py [--json FILE] [--dtype bfloat16]
          python experiments/benchmarks/convolution.py --table FILE
          (the second one makes the table of docs/performance.md from a kept file)
Time:     about five minutes on 2 CPU cores
Result:   a line per layer: thousand million operations per second and core of the
          forward pass, of the gradient of the images and of the gradient of the kernel,
          the last as XLA writes it and as this package does. Both take turns; the
          ratios are medians over turns. The time is what the cores worked, so that
          another program on the machine does not change it much.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.models import cpu_convolution
from ssljax.models.cpu_convolution import Geometry, Surroundings
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

# Images, their size, channels in and out, kernel, stride.
LAYERS = (
    # ResNet-18 on CIFAR.
    (64, 32, 3, 64, 3, 1),
    (64, 32, 64, 64, 3, 1),
    (64, 32, 64, 128, 3, 2),
    (64, 32, 64, 128, 1, 2),
    (64, 16, 128, 128, 3, 1),
    (64, 16, 128, 256, 3, 2),
    (64, 8, 256, 256, 3, 1),
    (64, 8, 256, 512, 3, 2),
    (64, 4, 512, 512, 3, 1),
    # The same at a quarter of the width.
    (128, 32, 3, 16, 3, 1),
    (128, 32, 16, 16, 3, 1),
    (128, 32, 16, 32, 3, 2),
    (128, 32, 16, 32, 1, 2),
    (128, 16, 32, 32, 3, 1),
    (128, 8, 64, 64, 3, 1),
    (128, 4, 128, 128, 3, 1),
    # ResNet-50 on ImageNet.
    (8, 224, 3, 64, 7, 2),
    (8, 56, 64, 64, 3, 1),
    (8, 56, 64, 256, 1, 1),
    (8, 28, 128, 128, 3, 1),
    (8, 14, 256, 256, 3, 1),
    (8, 56, 256, 512, 1, 2),
)


def measure(
    layer: tuple[int, int, int, int, int, int], dtype: Any, turns: int
) -> dict[str, Any]:
    """Measure one layer's forms in turn."""
    images, size, channels, features, kernel, stride = layer
    pad = (kernel // 2, kernel // 2)
    geometry = Geometry((size, size), (kernel, kernel), (stride, stride), (pad, pad))
    rng = np.random.default_rng(0)
    x, w, g = (
        jnp.asarray(rng.normal(size=s), dtype)
        for s in (
            (images, size, size, channels),
            (kernel, kernel, channels, features),
            (images, *geometry.map, features),
        )
    )
    around = Surroundings()
    forms: dict[str, tuple[Callable[..., Any], Any, Any]] = {
        "forward": (lambda x, w: cpu_convolution.native(x, w, geometry), x, w),
        "input gradient": (
            lambda g, w: cpu_convolution.native_input_gradient(g, w, geometry),
            g,
            w,
        ),
        "kernel gradient, XLA": (
            lambda x, g: cpu_convolution.native_kernel_gradient(x, g, geometry),
            x,
            g,
        ),
        "kernel gradient": (
            lambda x, g: cpu_convolution.kernel_gradient(x, g, geometry, around),
            x,
            g,
        ),
    }
    compiled = {n: jax.jit(f).lower(a, b).compile() for n, (f, a, b) in forms.items()}
    cores: dict[str, list[float]] = {name: [] for name in forms}
    clock: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(turns + 1):
        for name, (_, a, b) in forms.items():
            start, work = time.perf_counter(), time.process_time()
            jax.block_until_ready(compiled[name](a, b))
            cores[name].append(time.process_time() - work)
            clock[name].append(time.perf_counter() - start)
    operations = 2 * g.size * channels * kernel**2
    row: dict[str, Any] = {"layer": layer}
    row |= {n: operations / min(t[1:]) / 1e9 for n, t in cores.items()}
    pairs = zip(
        clock["kernel gradient, XLA"][1:], clock["kernel gradient"][1:], strict=True
    )
    row["times as fast"] = statistics.median(theirs / ours for theirs, ours in pairs)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    columns = [name for name in rows[0] if name != "layer"]
    lines = [f"| layer | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 1)}"]
    for row in rows:
        images, size, channels, features, kernel, stride = row["layer"]
        name = f"{images} x {size}², {channels} → {features}, {kernel}x{kernel}"
        name += f"/{stride}" if stride > 1 else ""
        numbers = [f"{row[c]:.0f}" for c in columns[:-1]] + [f"{row[columns[-1]]:.1f}"]
        lines.append(f"| {name} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the layers, or print the table of kept measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--layers", type=int, default=len(LAYERS), help="the first ones"
    )
    args = parser.parse_args()
    if args.table:
        print(table(json.loads(args.table.read_text())["rows"]))
        return
    rows = []
    for layer in LAYERS[: args.layers]:
        rows.append(measure(layer, args.dtype, args.turns))
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if args.json:
        write_json(
            args.json, {"made": this_launch(["python", *sys.argv]), "rows": rows}
        )


if __name__ == "__main__":
    main()

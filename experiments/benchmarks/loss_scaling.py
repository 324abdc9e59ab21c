"""Time and memory of losses against batch, embedding size and devices.

Command:  python experiments/benchmarks/loss_scaling.py [--json FILE] [--figure FILE]
          python experiments/benchmarks/loss_scaling.py --draw FILE --figure FILE
          (the second one draws a kept file again)
Time:     about three minutes on 2 CPU cores
Result:   seconds and temporary memory of a loss with its gradient, for N from 64 to
          4096 at D = 512 and for D from 128 to 8192 at N = 256; and for 1 to 64 virtual
          devices, compiled only, memory and communication of each. A size that would
          take longer than --longest seconds, by the square of the step from the size
          before (its cube for an eigendecomposition), is left out, and named
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from hlo import collectives, totals
from loss_throughput import loss_and_gradient, seconds
from virtual_devices import add_option, answered, rows_on

from ssljax import methods
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json
from ssljax.training import devices

NAMES = (
    "byol",
    "simclr",
    "barlow_twins",
    "vicreg",
    "tcr",
    "intl",
    "w_mse",
    "directcopy_cosine",
)
STEPS = (64, 256, 1024, 4096)
BATCHES = tuple((n, 512) for n in STEPS)
SIZES = tuple((256, 2 * d) for d in STEPS)
DEVICES, SHARED = (1, 8, 64), (1024, 4096)
SHARED_NAMES = ("byol", "simclr", "barlow_twins", "vicreg")


def measure(
    shapes: Sequence[tuple[int, int]], axis: str, longest: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row per loss and shape, and the shapes that are left out."""
    rows, left_out = [], []
    for name in NAMES:
        taken, before = 0.0, shapes[0]
        options = methods.METHODS[name].options
        decomposes = axis == "size" and options.get("exponent", 1.0) != 1.0
        for n, d in shapes:
            growth = max(n / before[0], d / before[1]) ** (3 if decomposes else 2)
            if taken * growth > longest:
                left_out.append(f"{name} {n}x{d}")
                print(f"{name:<18} N {n:>5} D {d:>5}  left out", flush=True)
                continue
            z1, z2 = jax.random.normal(jax.random.key(0), (2, n, d))
            function = loss_and_gradient(name, n, d)
            compiled: Any = jax.jit(function).lower(z1, z2).compile()
            temporary = compiled.memory_analysis().temp_size_in_bytes
            taken, before = seconds(function, z1, z2), (n, d)
            rows.append(
                {"axis": axis, "method": name, "n": n, "d": d}
                | {"seconds": taken, "temporary": temporary}
            )
            print(
                f"{name:<18} N {n:>5} D {d:>5}  {taken:9.4f} s "
                f"{temporary / 1e6:8.1f} MB",
                flush=True,
            )
    return rows, left_out


def shared(count: int) -> list[dict[str, Any]]:
    """Return memory and communication of one of so many devices."""
    n, d = SHARED
    mesh = devices.make_mesh(count=count, batch_size=n)
    rows = devices.over_batch(mesh)
    z = jax.ShapeDtypeStruct((n, d), jnp.float32, sharding=rows)
    measured = []
    for name in SHARED_NAMES:
        step = jax.jit(
            loss_and_gradient(name, n, d),
            out_shardings=(devices.replicated(mesh), rows),
        )
        compiled: Any = step.lower(z, z).compile()
        sent = totals(collectives(compiled.as_text()))
        measured.append(
            {"axis": "devices", "method": name, "n": n, "d": d, "devices": count}
            | {"temporary": compiled.memory_analysis().temp_size_in_bytes}
            | {"communicated": sum(total.bytes for total in sent.values())}
        )
    return measured


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw time and memory over batch, embedding size and devices."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "ssljax", "svg.fonttype": "none"})
    from matplotlib import pyplot

    n, d = SHARED
    panels = (
        ("batch", "n", f"batch N, D = {BATCHES[0][1]}", "seconds"),
        ("size", "d", f"embedding size D, N = {SIZES[0][0]}", "seconds"),
        ("devices", "devices", f"devices, N = {n}, D = {d}", "communicated"),
    )
    figure, axes = pyplot.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    for column, (axis, of, label, upper) in enumerate(panels):
        for row, what in enumerate((upper, "temporary")):
            panel = axes[row, column]
            for k, name in enumerate(NAMES):
                found = [r for r in rows if r["axis"] == axis and r["method"] == name]
                # No communication at all does not fit on a logarithmic axis.
                found = [r for r in found if r[what] > 0]
                scale = 1.0 if what == "seconds" else 1e-6
                panel.loglog(
                    [r[of] for r in found],
                    [scale * r[what] for r in found],
                    "osD^vPX<>"[k] + "-",
                    color=f"C{k}",
                    markersize=4,
                    label=name,
                )
            ticks = sorted({r[of] for r in rows if r["axis"] == axis})
            panel.set_xticks(ticks, list(map(str, ticks)))
            panel.minorticks_off()
            panel.set_xlabel(label)
            panel.set_ylabel(
                {
                    "seconds": "loss and gradient, s",
                    "communicated": "communicated per device, MB",
                    "temporary": "temporary memory per device, MB",
                }[what]
            )
            panel.grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    metadata: Any = {"Date": None} if file.suffix == ".svg" else None
    figure.savefig(file, metadata=metadata, dpi=110)


def main() -> int:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--figure", type=Path, help="draw them, as svg or png")
    parser.add_argument("--draw", type=Path, help="a file of --json, instead of runs")
    parser.add_argument("--longest", type=float, default=20.0, help="seconds")
    add_option(parser)
    arguments = parser.parse_args()
    if answered(arguments, shared):
        return 0
    if arguments.draw is not None:
        rows = json.loads(arguments.draw.read_text())["rows"]
    else:
        made = this_launch(["python", *sys.argv])
        rows, left_out = measure(BATCHES, "batch", arguments.longest)
        more, others = measure(SIZES, "size", arguments.longest)
        rows += more
        for count in DEVICES:
            rows += rows_on(count, __file__)
        if arguments.json is not None:
            kept = {"made": made, "rows": rows, "left_out": left_out + others}
            write_json(arguments.json, kept)
    if arguments.figure is not None:
        draw(rows, arguments.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())

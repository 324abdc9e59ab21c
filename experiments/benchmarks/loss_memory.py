"""Memory and communication of the losses alone, on many virtual devices.

Command:  python experiments/benchmarks/loss_memory.py [--devices 8 64 256]
              [--json FILE]
Time:     about a minute on 2 CPU cores; nothing runs, the loss is only compiled
Result:   for a batch of N pairs of D numbers, shared by the devices, the temporary
          memory of the loss with its gradient on one device, as a multiple of the
          matrix that the loss is made of, and what it communicates, for docs/pods.md
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from hlo import collectives, totals
from virtual_devices import add_option, answered, rows_on

from ssljax import losses
from ssljax.training import devices

Loss = Callable[[jax.Array, jax.Array], jax.Array]
NT_XENT: Loss = functools.partial(losses.nt_xent, temperature=0.1)
# Loss, N, D and the matrix it needs: all pairs [2N, 2N], whose rows the devices share,
# or [D, D], whole on each of them.
CASES: tuple[tuple[str, Loss, int, int, str], ...] = (
    ("nt_xent", NT_XENT, 4096, 128, "pairs"),
    ("nt_xent", NT_XENT, 16384, 128, "pairs"),
    ("nt_xent", NT_XENT, 65536, 128, "pairs"),
    ("barlow_twins", losses.barlow_twins, 4096, 8192, "dimensions"),
    ("barlow_twins", losses.barlow_twins, 16384, 8192, "dimensions"),
    ("vicreg", losses.vicreg, 4096, 8192, "dimensions"),
    ("vicreg", losses.vicreg, 16384, 8192, "dimensions"),
    ("negative_cosine", losses.negative_cosine, 16384, 256, "none"),
)


def measure(count: int) -> list[dict[str, Any]]:
    """Return a row per case on that many devices."""
    mesh = devices.make_mesh(count=count, batch_size=count)
    rows = devices.over_batch(mesh)
    measured = []
    for name, loss, n, d, kind in CASES:
        z = jax.ShapeDtypeStruct((n, d), jnp.float32, sharding=rows)
        step = jax.jit(
            jax.value_and_grad(loss, argnums=(0, 1)),
            out_shardings=(devices.replicated(mesh), rows),
        )
        compiled: Any = step.lower(z, z).compile()
        temporary = compiled.memory_analysis().temp_size_in_bytes
        matrix = {"pairs": 16 * n * n / count, "dimensions": 4 * d * d, "none": 0}[kind]
        found = totals(collectives(compiled.as_text()))
        measured.append(
            {"loss": name, "n": n, "d": d, "devices": count, "temporary": temporary}
            | {"matrix": matrix, "matrices": temporary / matrix if matrix else None}
            | {"collectives": {k: v._asdict() for k, v in found.items()}}
        )
    return measured


def line(row: dict[str, Any]) -> str:
    """Return a row as text, in MB of 10^6 bytes."""
    times = "" if row["matrices"] is None else f" = {row['matrices']:.2f} matrices"
    sent = ", ".join(
        f"{total['count']} {kind} {total['bytes'] / 1e6:.2f} MB"
        for kind, total in row["collectives"].items()
    )
    return (
        f"{row['loss']:<16} N {row['n']:>6} D {row['d']:>5} on {row['devices']:>3}: "
        f"temporary {row['temporary'] / 1e6:9.1f} MB{times}, {sent}"
    )


def main() -> int:
    """Compile every case on every number of devices."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--devices", nargs="+", type=int, default=[8, 64, 256])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    add_option(parser)
    arguments = parser.parse_args()
    if answered(arguments, measure):
        return 0
    rows = []
    for count in arguments.devices:
        rows += rows_on(count, __file__)
        print(*map(line, rows[-len(CASES) :]), sep="\n", flush=True)
    if arguments.json is not None:
        measured = {"jax": jax.__version__, "rows": rows}
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

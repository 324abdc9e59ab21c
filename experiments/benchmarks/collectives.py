"""Communication, work and memory of the compiled step on many devices, without them.

Command:  python experiments/benchmarks/collectives.py [RECIPE ...]
              [--devices 8 64 256 v5e:16x16] [--batch N] [--arch NAME]
              [--image-size PX] [--json FILE]
Time:     about 5 minutes per line on 2 busy CPU cores, 10 for a slice of TPUs
Result:   a line per recipe and devices: work and memory of one device, and how many
          collectives of each kind with how many bytes, for docs/pods.md

The step is lowered from shapes alone and compiled for that many virtual CPU devices, or
for a slice such as v5e:16x16 by the TPU's own compiler, which needs the package libtpu
and no TPU. Nothing runs.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from hlo import KINDS, Collective, collectives, totals
from jax.sharding import AxisType, Mesh

from ssljax import methods
from ssljax.config import Config
from ssljax.recipes import load_recipe
from ssljax.runs.setup import assemble
from ssljax.training import devices, engines
from ssljax.training.state import Setup, init_state
from ssljax.training.step import batch_shapes

RECIPES = [f"imagenet/{name}" for name in ("simclr", "byol", "barlow_twins", "vicreg")]
EXAMPLES = 1_281_167  # ImageNet's training images
CLASSES = 1000


def setup_of(arguments: argparse.Namespace, recipe: str, count: int) -> Setup:
    """Return the static parts of a recipe for shapes like ImageNet's, without data."""
    config: Config = load_recipe(recipe)
    size = arguments.image_size
    config = replace(
        config,
        model=replace(config.model, arch=arguments.arch),
        augment=replace(config.augment, size=size),
        batch_size=arguments.batch * count,
    )
    side = round(size * 8 / 7)  # 256 for views of 224, as the recipes have it
    return assemble(
        methods.resolve(config),
        image_shape=(side, side, 3),
        num_classes=CLASSES,
        examples=EXAMPLES,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def mesh_of(name: str) -> Mesh:
    """Return that many virtual CPU devices, or all devices of a TPU slice by name."""
    if name.isdigit():
        jax.config.update("jax_num_cpu_devices", int(name))
        available = jax.devices()
    else:
        from jax.experimental import topologies

        available = topologies.get_topology_desc(name, platform="tpu").devices
    return Mesh(np.array(available), ("data",), axis_types=(AxisType.Auto,))


def measure(arguments: argparse.Namespace, recipe: str, name: str) -> dict[str, Any]:
    """Compile the step of a recipe for these devices and count work and traffic."""
    mesh = mesh_of(name)
    setup = setup_of(arguments, recipe, mesh.size)
    state = devices.abstract(
        jax.eval_shape(lambda: init_state(setup)), devices.replicated(mesh)
    )
    batch = devices.abstract(batch_shapes(setup), devices.over_batch(mesh))
    step = engines.compiled_step(setup, mesh, resident=False)
    compiled = step.lower(state, batch).compile()
    found, memory = collectives(compiled.as_text()), compiled.memory_analysis()
    work = compiled.cost_analysis()
    return {
        "recipe": recipe.replace("/", "_"),
        "compiler": "cpu" if name.isdigit() else name,
        "devices": mesh.size,
        "batch_per_device": arguments.batch,
        "flops": work["flops"],
        "bytes_accessed": work["bytes accessed"],
        "arguments": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
        "state": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        "gradients": sum(4 * x.size for x in jax.tree.leaves(state.params)),
        "collectives": {k: v._asdict() for k, v in totals(found).items()},
        "largest": [one._asdict() for one in largest(found)],
    }


def largest(found: list[Collective], count: int = 12) -> list[Collective]:
    """Print the collectives with the most bytes."""
    return sorted(found, key=lambda one: -one.bytes)[:count]


def line(row: dict[str, Any]) -> str:
    """Return a row as text, in MB of 10^6 bytes."""
    parts = [
        f"{row['recipe']:<22} {row['compiler']:<10} {row['devices']:>4} x "
        f"{row['batch_per_device']:<4} {row['flops'] / 1e9:>8.1f} GFLOP, temporary "
        f"{row['temporary'] / 1e6:>8.1f} MB, gradients {row['gradients'] / 1e6:.1f} MB"
    ]
    for kind in KINDS:
        if kind in row["collectives"]:
            total = row["collectives"][kind]
            parts.append(f"{total['count']} {kind} {total['bytes'] / 1e6:.2f} MB")
    return ", ".join(parts)


def in_new_process(arguments: argparse.Namespace, recipe: str, name: str) -> Any:
    """Run `measure` in its own process: a process sets its number of devices once."""
    options = ["--arch", arguments.arch, "--image-size", str(arguments.image_size)]
    options += ["--batch", str(arguments.batch), "--one", name]
    done = subprocess.run(
        [sys.executable, __file__, recipe, *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        # The compiler has said why, in memory mostly.
        print(f"{recipe} on {name}: not compiled", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Measure every recipe on every number of devices."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--devices", nargs="+", default=["8", "64", "256"])
    parser.add_argument("--batch", type=int, default=16, help="images per device")
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224, help="of the views")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        jax.config.update("jax_platforms", "cpu")
        print(json.dumps(measure(arguments, arguments.recipes[0], arguments.one)))
        return 0
    rows = []
    for recipe in arguments.recipes:
        for name in arguments.devices:
            row = in_new_process(arguments, recipe, name)
            if row is not None:
                rows.append(row)
                print(line(row), flush=True)
    if arguments.json is not None:
        measured = {"jax": jax.__version__, "rows": rows}
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Read the train step that an accelerator's compiler makes, without the accelerator.

Command:  python experiments/benchmarks/accelerator_step.py RECIPE [--target h100]
              [--devices N] [--batch N] [--set model.stem-padding=None ...]
              [--views-only] [--text DIR] [--json FILE]
Needs:    for a slice of TPUs such as --target v5e:2x4     pip install libtpu
          for --target h100     pip install jax-cuda12-plugin jax-cuda12-pjrt, of the
                                version of the installed jaxlib
Time:     1 to 2 minutes of a CPU core for an H100, 10 and more for a TPU
Result:   a table of the step by kind of work: operations, memory traffic, FLOPs, the
          time that both take at the device's peak, and on TPUs the cycles that the
          compiler estimates; then memory per device, and the collectives.

Nothing runs and nothing is timed. The time at the peak is a lower bound, and the cycles
are the compiler's estimates, not measurements. H100 programs are compiled without
autotuning, which needs the card: layouts, fusions and traffic are as on the card, the
choice of kernels is not.
"""

import argparse
import functools
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from accelerators import devices_of, peak_of  # first: sets what JAX reads at its start

# isort: split
import jax
import numpy as np
from hlo import collectives, totals
from hlo_work import Operation, by_kind, operations
from jax.sharding import AxisType, Mesh

from ssljax import methods
from ssljax.commands.parse import parse
from ssljax.config import Config
from ssljax.recipes import load_recipe
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json
from ssljax.runs.setup import assemble
from ssljax.training import devices, engines
from ssljax.training.state import Setup, init_state
from ssljax.training.step import batch_shapes, view_batch

# Side of the stored images, classes and number of images, for the recipes' data sets.
DATA = {
    "cifar10": (32, 10, 50_000),
    "stl10": (96, 10, 105_000),
    "imagenet_resized/64x64": (64, 1000, 1_281_167),
    "imagenet2012": (256, 1000, 1_281_167),
}
# For H100: the machine code is not read, so it need not be fast.
_FAST_COMPILE: dict[str, Any] = {"xla_backend_optimization_level": 0}


@dataclass(frozen=True)
class _Asked:
    config: Config


def setup_of(recipe: str, batch: int, changes: list[str]) -> Setup:
    """Return the static parts of a recipe, without its data.

    Args:
        recipe: name of a recipe on one of `DATA`.
        batch: images in the global batch.
        changes: settings such as ``model.stem-padding=None``.

    Raises:
        ValueError: for another data set.
    """
    words = [word for one in changes for word in f"--config.{one}".split("=", 1)]
    asked: _Asked = parse(
        _Asked, words, command="--set", default=_Asked(load_recipe(recipe))
    )
    config = methods.resolve(replace(asked.config, batch_size=batch))
    if config.data.name not in DATA:
        raise ValueError(
            f"{recipe} uses the data set {config.data.name}; choose a recipe on "
            f"{', '.join(DATA)}"
        )
    side, classes, images = DATA[config.data.name]
    return assemble(
        config,
        image_shape=(side, side, 3),
        num_classes=classes,
        examples=images,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )


def compiled_step(setup: Setup, mesh: Mesh, *, views_only: bool) -> Any:
    """Return the compiled step of a setup, or its views alone, from shapes."""
    batch = devices.abstract(batch_shapes(setup), devices.over_batch(mesh))
    state = devices.abstract(
        jax.eval_shape(lambda: init_state(setup)), devices.replicated(mesh)
    )
    if views_only:
        views = jax.jit(functools.partial(view_batch, setup=setup))
        lowered = views.lower(state.step, {"image": batch["image"]})
    else:
        step = engines.compiled_step(setup, mesh, resident=False)
        lowered = step.lower(state, batch)
    on_gpu = mesh.devices.flat[0].platform in ("gpu", "cuda")
    return lowered.compile(compiler_options=_FAST_COMPILE if on_gpu else None)


def at_peak(found: list[Operation], target: str) -> float:
    """Return the seconds of operations one after the other, each at the peak."""
    peak = peak_of(target)
    return sum(
        one.times * max(one.bytes / peak.bandwidth, one.flops / peak.flops)
        for one in found
    )


def summary(text: str, target: str) -> dict[str, Any]:
    """Return the work in the text of a compiled program, by kind and in total."""
    found = operations(text)
    kinds = {
        kind: work._asdict()
        | {"seconds_at_peak": at_peak([o for o in found if o.kind == kind], target)}
        for kind, work in by_kind(found).items()
    }
    total = {
        field: sum(kind[field] for kind in kinds.values())
        for field in ("operations", "bytes", "flops", "cycles", "seconds_at_peak")
    }
    sent = {kind: sum_._asdict() for kind, sum_ in totals(collectives(text)).items()}
    return {"kinds": kinds, "total": total, "collectives": sent}


def measure(arguments: argparse.Namespace, recipe: str) -> dict[str, Any]:
    """Compile the step of a recipe and read it."""
    found = devices_of(arguments.target, arguments.devices)
    mesh = Mesh(np.array(found), ("data",), axis_types=(AxisType.Auto,))
    setup = setup_of(recipe, arguments.batch * mesh.size, arguments.set)
    start = time.process_time()
    compiled = compiled_step(setup, mesh, views_only=arguments.views_only)
    text, memory = compiled.as_text(), compiled.memory_analysis()
    if arguments.text is not None:
        name = f"{recipe}_{arguments.target}".replace("/", "_").replace(":", "_")
        (arguments.text / f"{name}.txt").write_text(text)
    # The TPU's compiler has its own count of the work; that for GPUs has none.
    counted = compiled.cost_analysis() or {}
    return {
        "recipe": recipe,
        "changes": arguments.set,
        "target": arguments.target,
        "device": found[0].device_kind,
        "devices": mesh.size,
        "batch_per_device": arguments.batch,
        "views_only": arguments.views_only,
        "compile_cpu_seconds": round(time.process_time() - start, 1),
        "compiler_counts": {
            name: counted[name]
            for name in ("flops", "bytes accessed")
            if name in counted
        },
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "donated": memory.alias_size_in_bytes,
            "temporary": memory.temp_size_in_bytes,
        },
        **summary(text, arguments.target),
    }


def table(row: dict[str, Any]) -> str:
    """Return a row of `measure` as a table in Markdown."""
    lines = [
        f"{' '.join([row['recipe'], *row['changes']])} on {row['devices']} x "
        f"{row['device']}, {row['batch_per_device']} images each",
        "",
        "| work | operations | GB | GFLOP | ms at the peak | estimated Mcycles |",
        "|---|---|---|---|---|---|",
    ]
    for kind, work in [*row["kinds"].items(), ("all", row["total"])]:
        cycles = f"{work['cycles'] / 1e6:.2f}" if row["total"]["cycles"] else "-"
        lines.append(
            f"| {kind} | {work['operations']} | {work['bytes'] / 1e9:.2f} | "
            f"{work['flops'] / 1e9:,.0f} | {1e3 * work['seconds_at_peak']:.2f} | "
            f"{cycles} |"
        )
    memory = {name: f"{size / 1e9:.2f} GB" for name, size in row["memory"].items()}
    lines += ["", "Memory: " + ", ".join(f"{k} {v}" for k, v in memory.items())]
    for kind, sent in row["collectives"].items():
        lines.append(f"{kind}: {sent['count']}, {sent['bytes'] / 1e6:.2f} MB")
    return "\n".join(lines)


def main() -> int:
    """Read the step of every recipe asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipes", nargs="+", metavar="RECIPE")
    parser.add_argument("--target", default="h100", help="h100, or a slice as v5e:2x4")
    parser.add_argument("--devices", type=int, help="default: one H100, a whole slice")
    parser.add_argument("--batch", type=int, default=512, help="images per device")
    parser.add_argument("--set", nargs="*", default=[], help="settings, NAME=VALUE")
    parser.add_argument("--views-only", action="store_true", help="compile no network")
    parser.add_argument("--text", type=Path, help="keep the programs in this folder")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    made = this_launch(["python", *sys.argv])
    rows = []
    for recipe in arguments.recipes:
        try:
            rows.append(measure(arguments, recipe))
        except ValueError as error:  # of which a ConfigError is one
            parser.error(str(error))
        print(table(rows[-1]), end="\n\n", flush=True)
        if arguments.json is not None:
            # Without --set: what docs/results.md compares with the recipe of later.
            configs = {
                row["recipe"]: asdict(methods.resolve(load_recipe(row["recipe"])))
                for row in rows
            }
            write_json(arguments.json, {"made": made, "configs": configs, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())

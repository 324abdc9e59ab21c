"""Estimate ResNet-50 training at 224 pixels on a v5e-256 and on eight H100.

Command:  python experiments/benchmarks/pod_estimates.py
Time:     at once
Result:   the tables of docs/pods.md, from the constants below, the figures of
          collectives.py, loss_memory.py and host_speed.py that lie in
          experiments/results/many_devices.json, and the step that
          accelerator_step.py compiled for an H100
"""

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parents[1] / "results" / "many_devices.json"
EFFICIENCY = 0.6  # assumed: part of the roofline that a step reaches
JPEG = 147_897_477_120 / 1_281_167  # bytes: ILSVRC2012_img_train.tar, over its images
PIXELS = 2 * 224 * 224 * 3  # bytes of the two views that the host cuts of an image
H100_STEP = FIGURES.with_name("accelerator_step_h100_imagenet_simclr.json")
SLICE = "v5e:16x16"  # whose compiled step the estimates are made from


@dataclass(frozen=True)
class Machine:
    """Constants of a machine; docs/pods.md says where each comes from."""

    name: str
    devices: int
    hosts: int
    cores: int
    """Of a host, as its operating system counts them."""
    flops: float
    """Peak per device in bfloat16."""
    memory: float
    """Bytes per device."""
    bandwidth: float
    """Bytes per second to that memory."""
    gather: float
    """Bytes per second at which a device receives in an all-gather."""
    hops: float
    """Seconds until the first byte of an all-gather has been everywhere."""
    batch: int
    """Global batch of the estimate."""


V5E = Machine(
    "v5e-256", 256, 64, 112, 197e12, 16e9, 819e9, 2 * 1e11, 16 * 1e-6, batch=4096
)
H100 = Machine("8 x H100", 8, 1, 224, 989e12, 80e9, 3.35e12, 370e9, 10e-6, batch=2048)
MACHINES = (V5E, H100)


@dataclass(frozen=True)
class Step:
    """Seconds of the parts of a step, and the images per second that result."""

    compute: float
    memory: float
    bytes_sent: float
    latency: float
    images: float
    """Per second, over all devices."""

    @property
    def work(self) -> float:
        """Without communication, at the assumed efficiency."""
        return max(self.compute, self.memory) / EFFICIENCY

    @property
    def sent(self) -> float:
        return self.bytes_sent + self.latency


def step_of(machine: Machine, rows: list[dict[str, Any]], recipe: str) -> Step:
    """Estimate a recipe's step on a machine, without overlap of communication and work.

    Args:
        machine: where it runs.
        rows: of ``collectives.py``.
        recipe: name of the recipe.
    """
    row = row_of(rows, recipe)
    each = machine.batch / machine.devices
    compute = each / 16 * row["flops"] / machine.flops
    traffic = row["bytes_accessed"]
    if each != 16:
        # From SimCLR's slope, in proportion to the work; the state is read and written
        # and the gradients of its size are read.
        few = row_of(rows, "simclr")
        work = each * row["flops"] / few["flops"]
        traffic = v5e_traffic(rows) * work + 3 * row["state"]
    memory = traffic / machine.bandwidth
    found = row["collectives"]
    # An all-reduce is a reduce-scatter and an all-gather; n - 1 of n parts travel.
    passes = {"all-reduce": 2}
    travel = (machine.devices - 1) / machine.devices
    bytes_ = sum(passes.get(k, 1) * total["bytes"] for k, total in found.items())
    count = sum(passes.get(k, 1) * total["count"] for k, total in found.items())
    sent = bytes_ * travel / machine.gather
    latency = count * machine.hops
    seconds = max(compute, memory) / EFFICIENCY + sent + latency
    return Step(compute, memory, sent, latency, machine.batch / seconds)


def v5e_traffic(rows: list[dict[str, Any]]) -> float:
    """Return the bytes of memory traffic that another image costs SimCLR on a v5e."""
    few, many = row_of(rows, "simclr"), row_of(rows, "simclr", 64)
    return (many["bytes_accessed"] - few["bytes_accessed"]) / 48


def key(row: dict[str, Any]) -> tuple[str, str, int]:
    """Return recipe, compiler and images per device of a row."""
    recipe = row["recipe"].removeprefix("imagenet_")
    return recipe, row["compiler"], row["batch_per_device"]


def row_of(rows: list[dict[str, Any]], recipe: str, batch: int = 16) -> dict[str, Any]:
    """Return the row of a recipe on the slice."""
    (row,) = (r for r in rows if key(r) == (recipe, SLICE, batch))
    return row


def table(head: str, lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    cells = [part.strip() for part in head.split("|")]
    rows = [cells, ["---"] * len(cells), *map(list, lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def compiled_table(rows: list[dict[str, Any]]) -> str:
    """Return the compilers' figures for one step on one device."""

    def line(row: dict[str, Any]) -> list[str]:
        found = row["collectives"]
        rest = [found[k] for k in ("collective-permute", "all-to-all") if k in found]
        moved = [
            f"{total['count']}, {total['bytes'] / 1e6:,.1f}" if total else "0"
            for total in (found.get("all-reduce"), found.get("all-gather"))
        ]
        compiler = "CPU" if row["compiler"] == "cpu" else "v5e"
        return [
            f"{key(row)[0]}, {row['batch_per_device']}",
            f"{compiler}, {row['devices']}",
            f"{row['flops'] / 1e9:,.0f}",
            f"{row['bytes_accessed'] / 1e9:,.1f}",
            f"{row['temporary'] / 1e9:,.2f}",
            *moved,
            f"{sum(t['count'] for t in rest)}, "
            f"{sum(t['bytes'] for t in rest) / 1e6:,.2f}"
            if rest
            else "0",
        ]

    return table(
        "recipe, images per device | compiler, devices | GFLOP | memory traffic, GB | "
        "temporary, GB | all-reduce: number, MB | all-gather | others",
        map(line, rows),
    )


def step_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of work and communication."""

    def line(machine: Machine, recipe: str) -> list[str]:
        step = step_of(machine, rows, recipe)
        milliseconds = (step.compute, step.memory, step.work)
        return [
            f"{machine.name}, {machine.batch}",
            recipe,
            *(f"{1e3 * seconds:.1f}" for seconds in milliseconds),
            f"{1e3 * step.bytes_sent:.1f} + {1e3 * step.latency:.1f}",
            f"{100 * step.sent / (step.sent + step.work):.0f} %",
            f"{step.images:,.0f}",
        ]

    recipes = dict.fromkeys(key(row)[0] for row in rows)
    return table(
        "machine, batch | recipe | compute, ms | memory, ms | step at 60 %, ms | "
        "communication: bytes + latency, ms | of the whole | images/s",
        (line(machine, recipe) for machine in MACHINES for recipe in recipes),
    )


def input_table(rows: list[dict[str, Any]], host: dict[str, float]) -> str:
    """Return the table of the input that SimCLR's step needs from every host."""
    sources = {
        "originals": ("crops_per_core", JPEG),
        "copies of 256 px": (
            "crops_of_copies_per_core",
            JPEG * host["kilobytes_of_copies"] / host["kilobytes"],
        ),
    }

    def line(machine: Machine, source: str) -> list[str]:
        images = step_of(machine, rows, "simclr").images
        each = images / machine.hosts
        name, size = sources[source]
        # At the fastest and the slowest measurement.
        rates = host[name], host[f"{name}_slow"]
        cores = dict.fromkeys(math.ceil(each / rate) for rate in rates)
        return [
            machine.name,
            source,
            f"{each:,.0f}",
            f"{each * size / 1e6:,.0f}",
            f"{' to '.join(map(str, cores))} of {machine.cores}",
            f"{images / machine.devices * PIXELS / 1e6:,.0f}",
            f"{1_281_167 / images:,.0f}",
        ]

    return table(
        "machine | crops of | images/s per host | JPEG MB/s per host | cores that "
        "decode | pixels to a device, MB/s | seconds per epoch",
        (line(machine, source) for machine in MACHINES for source in sources),
    )


def second_look_table(rows: list[dict[str, Any]], host: dict[str, float]) -> str:
    """Return SimCLR's step on H100 by the traffic of v5e's compiler and of its own."""
    (own,) = json.loads(H100_STEP.read_text())["rows"]
    scaled, images = step_of(H100, rows, "simclr"), own["batch_per_device"]
    # Bytes of an image, and seconds at the peak. Of its own program these are the sum
    # over operations, each of which is limited by memory or by arithmetic.
    found = {
        "v5e's compiler": (v5e_traffic(rows), max(scaled.compute, scaled.memory)),
        "H100's compiler": (
            own["total"]["bytes"] / images,
            own["total"]["seconds_at_peak"] * H100.batch / H100.devices / images,
        ),
    }

    def line(source: str) -> list[str]:
        traffic, peak = found[source]
        rate = H100.batch / (peak / EFFICIENCY + scaled.sent)
        cores = [
            " to ".join(str(math.ceil(rate / host[n])) for n in (name, f"{name}_slow"))
            for name in ("crops_per_core", "crops_of_copies_per_core")
        ]
        times = (f"{1e3 * seconds:.1f}" for seconds in (peak, peak / EFFICIENCY))
        return [source, f"{traffic / 1e6:,.0f}", *times, f"{rate:,.0f}", *cores]

    return table(
        "traffic of | MB an image | at the peak, ms | step at 60 %, ms | images/s | "
        "cores, originals | cores, copies",
        map(line, found),
    )


def checkpoint_table(rows: list[dict[str, Any]], host: dict[str, float]) -> str:
    """Return the sizes of checkpoints, and seconds at the measured rates."""
    waits, saves, restores = (
        host[f"{name}_seconds"] / host["state_megabytes"]
        for name in ("blocked", "saved", "restored")
    )

    def line(recipe: str) -> list[str]:
        size = row_of(rows, recipe)["state"] / 1e6
        seconds = (f"{size * rate:.1f}" for rate in (waits, saves, restores))
        return [recipe, f"{size:,.0f}", *seconds]

    return table(
        "recipe | state, MB | the loop waits, s | on the disk after, s | restored, s",
        map(line, dict.fromkeys(key(row)[0] for row in rows)),
    )


def batch_table(figures: dict[str, Any]) -> str:
    """Return the largest batch that fits in memory, and the share of the loss."""
    rows = figures["rows"]
    few, many = row_of(rows, "simclr"), row_of(rows, "simclr", 64)
    image = (many["temporary"] - few["temporary"]) / 48
    # A recipe whose loss is of that kind, for the size of its state.
    recipes = {"N x N": "simclr", "D x D": "barlow_twins", "pairs only": "byol"}

    def line(machine: Machine, loss: str) -> list[str]:
        factor = 9 / 4 * 16 / machine.devices  # bytes per N^2, of float32 [2N, 2N]
        matrices = 2 * 4 * 8192**2 if loss == "D x D" else 0
        row = row_of(rows, recipes[loss])
        constant = few["temporary"] - 16 * image + matrices + row["arguments"]
        constant += row["gradients"] - few["gradients"]
        room = machine.memory - constant
        share = image / machine.devices
        if loss == "N x N":
            n = (math.sqrt(share**2 + 4 * factor * room) - share) / (2 * factor)
            of_loss = factor * n * n
        else:
            n, of_loss = room / share, matrices
        rounded = int(n) // (8 * machine.devices) * 8 * machine.devices
        return [machine.name, loss, f"{rounded:,}", f"{of_loss / 1e9:.2f}"]

    return table(
        "machine | loss | largest batch | GB of the loss on each device",
        (line(machine, loss) for machine in MACHINES for loss in recipes),
    )


def tables() -> dict[str, str]:
    """Return every table of the page, by name."""
    figures = json.loads(FIGURES.read_text())
    rows = figures["rows"]
    return {
        "compiled": compiled_table(rows),
        "step": step_table(rows),
        "input": input_table(rows, figures["host"]),
        "second look": second_look_table(rows, figures["host"]),
        "checkpoint": checkpoint_table(rows, figures["host"]),
        "batch": batch_table(figures),
    }


if __name__ == "__main__":
    print("\n\n".join(tables().values()))
    sys.exit(0)

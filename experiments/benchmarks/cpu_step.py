"""A SimCLR step on CPUs beside the same step in PyTorch with lightly.

Command:  python experiments/benchmarks/cpu_step.py [--peer PYTHON] [--dtype bfloat16]
          (PYTHON is a Python that has torch, torchvision and lightly)
Time:     about five minutes on 2 CPU cores
Result:   for three encoders the seconds of a whole step, augmentation included, of this
          package, of this package with XLA's own convolutions, and of the peer with and
          without its augmentation. Steps of all of them take turns, so that they see
          the same machine, and the ratios are medians over turns.
"""

import argparse
import functools
import importlib
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Encoder, width and batch.
CASES = (("resnet18", 1.0, 32), ("resnet18", 0.25, 128), ("resnet_tiny", 1.0, 256))


def serve(arch: str, width: float, batch: int, dtype: Any, native: bool) -> None:
    """Take one step per line of input, and print its seconds."""
    import jax
    import numpy as np

    from ssljax.config import ModelConfig
    from ssljax.data import from_arrays
    from ssljax.methods import resolve
    from ssljax.recipes.load import load_recipe
    from ssljax.runs.setup import prepare
    from ssljax.training import devices, engines
    from ssljax.training.state import init_state

    if native:
        module: Any = importlib.import_module("ssljax.models.resnet")
        module.convolution = None
    config = load_recipe("cifar10/simclr")
    last = {"resnet18": 512, "resnet_tiny": 128}[arch] * width
    config = replace(
        config,
        model=ModelConfig(arch, width=width, dtype=dtype),
        method=replace(config.method, projector=f"{last:.0f}-128"),
        batch_size=batch,
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8)
    setup = prepare(resolve(config), from_arrays(images, np.zeros(batch, np.int32)))
    mesh = devices.make_mesh(count=1, batch_size=batch)
    step = engines.compiled_step(setup, mesh, resident=True)
    state = jax.jit(functools.partial(init_state, setup))()
    data = {"image": images, "label": np.zeros(batch, np.int32)}
    data = jax.device_put(data)
    indices = jax.device_put(np.arange(batch))
    start = time.perf_counter()
    state, _ = jax.block_until_ready(step(state, data, indices))
    print("ready", time.perf_counter() - start, flush=True)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        state, metrics = step(state, data, indices)
        jax.block_until_ready((state, metrics))
        print(time.perf_counter() - start, time.process_time() - cpu, flush=True)


class Server:
    """A process that takes a step when asked."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.start = self._answer()[1:]

    def _answer(self) -> list[str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended early")
        return line.split()

    def ask(self, what: str) -> tuple[float, float]:
        """Return the seconds of one step: of the clock, and of all cores together."""
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        wall, cores = self._answer()
        return float(wall), float(cores)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def measure(
    case: tuple[str, float, int], peer: str | None, dtype: str, turns: int
) -> dict[str, Any]:
    """Measure one encoder."""
    from ssljax.models import ARCHS

    arch, width, batch = case
    own = [sys.executable, __file__, "--serve", arch, str(width), str(batch), dtype]
    servers = {
        "ours": (Server([*own, "ours"]), ""),
        "native": (Server([*own, "native"]), ""),
    }
    if peer is not None:
        spec = ARCHS[arch]
        widths = [str(round(width * w)) for w in spec.stage_widths]
        command = [peer, str(HERE / "cpu_step_peer.py"), "--batch", str(batch)]
        command += ["--stem-stride", str(spec.stem_stride), "--dtype", dtype]
        command += ["--sizes", *map(str, spec.stage_sizes), "--widths", *widths]
        theirs = Server(command)
        servers["peer"] = (theirs, "augment")
        servers["peer, views given"] = (theirs, "")
        last = Server([*command, "--channels-last"])
        servers["peer, channels last"] = (last, "augment")
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for turn in range(turns + 1):
        for name, (server, what) in servers.items():
            found = server.ask(what)
            if turn:
                seconds[name].append(found)
    for server in {id(s): s for s, _ in servers.values()}.values():
        server.close()
    row: dict[str, Any] = {"arch": arch, "width": width, "batch": batch, "dtype": dtype}
    row["compile"] = {
        name: float(servers[name][0].start[0]) for name in ("ours", "native")
    }
    for name, found in seconds.items():
        row[name] = {
            "seconds": min(wall for wall, _ in found),
            "core_seconds": min(cores for _, cores in found),
            "images_per_second": batch / min(wall for wall, _ in found),
            # Of the speeds, turn by turn.
            "ours_over_this": statistics.median(
                other[0] / mine[0]
                for mine, other in zip(seconds["ours"], found, strict=True)
            ),
        }
    return row


def main() -> None:
    """Run the cases and print a line for each program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="a Python with torch, torchvision and lightly")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        arch, width, batch, dtype, form = args.serve
        serve(arch, float(width), int(batch), dtype, form == "native")
        return
    rows = []
    for case in args.cases:
        row = measure(CASES[case], args.peer, args.dtype, args.turns)
        rows.append(row)
        print(f"{row['arch']} x {row['width']}, batch {row['batch']}, {args.dtype}")
        print(f"  compile: {row['compile']}")
        for name, found in row.items():
            if isinstance(found, dict) and "seconds" in found:
                print(
                    f"  {name}: {found['seconds']:.3f} s, of cores "
                    f"{found['core_seconds']:.3f} s, {found['images_per_second']:.0f} "
                    f"images/s; ours is {found['ours_over_this']:.2f} x as fast",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

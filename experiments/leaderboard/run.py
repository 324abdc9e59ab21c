"""Every method at one small, equal budget: a table that reruns on a laptop.

Command:  python experiments/leaderboard/run.py --out DIR
          python experiments/leaderboard/run.py --again simclr --out DIR
Time:     about a minute for each method and seed on two idle CPU cores
Result:   experiments/results/leaderboard_SIZE.json and docs/leaderboard.md (by
          python docs/generate/write_pages.py)

Each method has the options, the augmentation and the depth of heads of its recipe for
CIFAR-10. Data, encoder, epochs, batch size and optimizer are the same for all, no layer
of a head is wider than `WIDEST`, and nothing is tuned. The record is written after each
run. Repeating the command resumes it, also in a new DIR: runs whose
settings are in the record are not repeated. ``--again`` repeats some from scratch and
says whether their numbers are those of the record, to the digit.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measures import embedded, measures_of_rank, probed
from reproduction import RESULTS, Row, Size, digest, over_seeds, replaced, run_or_read

from ssljax import methods
from ssljax.config import Config, DataConfig, ModelConfig, OptimizerConfig
from ssljax.evaluation import knn_accuracy, panel
from ssljax.methods import METHODS
from ssljax.protocols.spectrum import embed_views
from ssljax.recipes import load_recipe
from ssljax.runs.encoder import Restored, restore
from ssljax.runs.environment import Launch, this_launch
from ssljax.runs.files import write_json
from ssljax.runs.setup import load_split

WIDEST = 256
"""Layers of heads that are wider in the recipe have this many channels."""
BASELINE = "untrained"
BESIDE = "simclr"
"""The baseline is the network of this method's runs, before the first step."""
NEIGHBOURS = 20
VIEWED = 1000
"""Images of the test set whose two views give alignment and uniformity."""
COLUMNS = (
    "linear",
    "knn",
    "effective_rank",
    "rankme",
    "alignment",
    "uniformity",
    "seconds",
)
EQUAL = {
    "model.arch": "resnet_tiny",
    "model.dtype": "float32",
    "batch_size": 128,
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 0.002,
    "optimizer.scale_by_batch": False,
    "optimizer.weight_decay": 1e-4,
    "optimizer.warmup_epochs": 1.0,
    "probe.enabled": False,
    "monitor.every_epochs": 0.0,
}
SIZES = {
    "cpu": Size(
        seeds=3,
        settings={
            **EQUAL,
            "data.examples": 5000,
            "data.test_examples": 2000,
            "data.image_size": 16,
            "model.width": 0.5,
            "epochs": 20.0,
        },
    ),
    "toy": Size(
        settings={
            **EQUAL,
            "data.name": "shapes",
            "data.examples": 128,
            "data.test_examples": 64,
            "data.image_size": 8,
            "model.width": 0.125,
            "epochs": 2.0,
        },
    ),
}

_panel = jax.jit(panel, static_argnames="top")


def narrowed(widths: str | None) -> str | None:
    """Return a head's layer widths, none above `WIDEST`.

    >>> narrowed("2048-128"), narrowed("off_diagonal"), narrowed(None)
    ('256-128', 'off_diagonal', None)
    """
    if widths is None:
        return None
    parts = [
        str(min(int(part), WIDEST)) if part.isdigit() else part
        for part in widths.split("-")
    ]
    return "-".join(parts)


def recipe_of(method: str) -> str:
    """Return the name of the recipe whose options a method has here."""
    return f"cifar10/{method}"


def config_of(method: str, size: Size, seed: int) -> Config:
    """Return the settings of one run."""
    recipe = methods.resolve(load_recipe(recipe_of(method)))
    fresh = replace(
        recipe,
        data=DataConfig("cifar10"),
        model=ModelConfig(),
        optimizer=OptimizerConfig(),
        seed=seed,
    )
    heads = {
        "method.projector": narrowed(recipe.method.projector),
        "method.predictor": narrowed(recipe.method.predictor),
    }
    return replaced(fresh, heads | size.settings)


def measure(folder: Path, *, baseline: bool) -> Row:
    """Return accuracies of the features, and the spectrum of the projections.

    Args:
        folder: of a finished run.
        baseline: measure the network before its first step too, as ``untrained_...``.
    """
    row = _measured(restore(folder))
    if baseline:
        start = restore(folder, untrained=True)
        row |= {f"{BASELINE}_{k}": v for k, v in _measured(start).items()}
    return row


def _measured(run: Restored) -> Row:
    train, test = (load_split(run.config, train=one) for one in (True, False))
    assert train.labels is not None and test.labels is not None
    (x, _), (y, z) = embedded(run, train), embedded(run, test)
    data = x, train.labels[: len(x)], y, test.labels[: len(y)]
    classes = train.num_classes or 0
    knn = knn_accuracy(*data, ks=(NEIGHBOURS,), num_classes=classes)[NEIGHBOURS]
    ranks = measures_of_rank(z, top=1)
    seen = embed_views(run, test, images=VIEWED, views=2, seed=run.config.seed)
    pairs = _panel(seen.pairs[:, 0], seen.pairs[:, 1], top=1)
    return {
        "knn": round(100 * float(knn), 2),
        "linear": probed(*data, num_classes=classes),
        "effective_rank": round(float(ranks["effective_rank"]), 3),
        "rankme": round(float(ranks["rankme"]), 3),
        "alignment": round(float(pairs["alignment"]), 4),
        "uniformity": round(float(pairs["uniformity"]), 4),
    }


def table_of(runs: Sequence[Row]) -> list[Row]:
    """Return a row per method, means over its seeds, the best linear probe first."""
    start = [
        {"method": BASELINE, "seed": run["seed"]}
        | {c: run[f"{BASELINE}_{c}"] for c in COLUMNS if f"{BASELINE}_{c}" in run}
        for run in runs
        if run["method"] == BESIDE
    ]
    rows = over_seeds([*runs, *start], COLUMNS, by="method")
    return sorted(rows, key=lambda row: -row["linear"])


def write(path: Path, made: Launch, size_name: str, runs: Sequence[Row]) -> None:
    """Write the record of all runs so far."""
    size = SIZES[size_name]
    names = dict.fromkeys(run["method"] for run in runs)
    recipes = {
        recipe_of(name): asdict(methods.resolve(load_recipe(recipe_of(name))))
        for name in names
    }
    record = {
        "made": asdict(made),
        "configs": recipes,
        "settings": {"size": size_name, "widest": WIDEST, **size.settings},
        "methods": table_of(runs),
        "runs": list(runs),
    }
    write_json(path, record)


def same(kept: Row, again: Row) -> bool:
    """Return whether two runs gave the same numbers.

    >>> same({"knn": 1.0, "seconds": 3}, {"knn": 1.0, "seconds": 4})
    True
    """
    passing = ("seconds", "commit")
    numbers = [{k: v for k, v in r.items() if k not in passing} for r in (kept, again)]
    return numbers[0] == numbers[1]


def line(row: Row) -> str:
    """Return a run as a line for the terminal."""
    return (
        f"{row['method']:<22} seed {row['seed']}  linear {row['linear']:5.2f} %  "
        f"kNN {row['knn']:5.2f} %  effective rank {row['effective_rank']:6.2f}  "
        f"{row['seconds']:.0f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=list(SIZES), default="cpu")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="NAME")
    parser.add_argument("--again", nargs="+", choices=list(METHODS), metavar="NAME")
    parser.add_argument("--seeds", type=int, help="runs of each method")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--json", type=Path, help="the record; by default in results/")
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    path = arguments.json or RESULTS / f"leaderboard_{arguments.size}.json"
    command = ["python", *sys.argv]
    made = this_launch(command)
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    known = {(run["method"], run["seed"]): run for run in record.get("runs", ())}

    def run(method: str, seed: int, out: Path) -> Row:
        numbers = run_or_read(
            config_of(method, size, seed),
            out / f"{method}_{seed}",
            partial(measure, baseline=method == BESIDE),
            command=command,
        )
        return {"method": method, "seed": seed, **numbers}

    seeds = range(arguments.seeds or size.seeds)
    differ = 0
    for name in arguments.again or ():
        for seed in seeds:
            row, kept = (
                run(name, seed, arguments.out / "again"),
                known.get((name, seed)),
            )
            equal = kept is not None and same(kept, row)
            differ += not equal
            print(f"{line(row)}  {'same' if equal else f'DIFFERS from {kept}'}")
    if arguments.again:
        return int(differ > 0)
    for seed in seeds:
        for name in arguments.methods or METHODS:
            kept = known.get((name, seed), {})
            if kept.get("config_digest") != digest(config_of(name, size, seed)):
                known[name, seed] = run(name, seed, arguments.out)
                order = list(METHODS)
                ordered = sorted(known, key=lambda key: (key[1], order.index(key[0])))
                write(path, made, arguments.size, [known[key] for key in ordered])
            print(line(known[name, seed]), flush=True)
    spent = float(np.sum([run["seconds"] for run in known.values()]))
    print(f"{len(known)} runs, {spent / 60:.0f} minutes in sum: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

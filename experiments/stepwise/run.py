"""Stepwise learning (Simon et al. 2023): do ResNets learn one eigenmode at a time?

Command:  python experiments/stepwise/run.py --size cpu --out DIR
          python experiments/stepwise/run.py --size full --out DIR
Time:     cpu: see `seconds` in the record; full: an accelerator,
          not yet measured
Result:   experiments/results/stepwise_SIZE.json, its figure in DIR

All arms train a ResNet by gradient descent on the whole training set, from a small
start unless they say otherwise. The arms `pairs` minimise the paper's form of Barlow
Twins on two fixed views per image, for which the tangent kernel predicts modes and
times. The others draw new views in each step. The same command reads the runs that are
finished; an interrupted run starts again.
"""

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arms import (
    COMPARED,
    LINEAR,
    PAIRS,
    RECIPE,
    SHAPES,
    SIZES,
    USUAL,
    Arms,
    config_of,
)
from reproduction import Claim, Experiment, Row, judged, run_experiment
from small_start import TRAJECTORY, train
from steps import (
    agreement,
    find_steps,
    held_out_overlap,
    leading,
    moments,
    predict_steps,
)

from ssljax.analytic.comparison import subspace_overlap
from ssljax.methods import METHODS
from ssljax.reports.style import house_style, new_figure, plain_numbers, to_png
from ssljax.runs.folder import RunFolder

KEYS = (
    "steps_found",
    "modes",
    "rank_correlation",
    "time_agreement",
    "overlap_before",
    "overlap_after",
    "chance",
    "gain_h",
)


def measure(folder: Path) -> Row:
    """Return the numbers of one run: its steps, and the kernels' predictions."""
    config = RunFolder(folder).load_config()
    found = np.load(folder / TRAJECTORY)
    steps, kernel = found["steps"], found["kernel_before"]
    linear = config.method.name == f"small_{LINEAR}"
    views = found["views"].astype(float)
    if METHODS[config.method.name].loss_name in ("nt_xent", "normalized_mse"):
        # These losses see directions alone.
        views = views / np.linalg.norm(views, axis=-1, keepdims=True)
    values = np.stack([moments(*z, centre=not linear) for z in views])
    detected = find_steps(steps, values)
    held_out = found["held_out"].astype(float)
    modes = max(1, detected.learned)
    hidden = found["hidden"].astype(float)
    dimensions = hidden.sum(axis=1) ** 2 / (hidden**2).sum(axis=1)
    over_time: Row = {
        "steps": steps[::2].tolist(),
        "eigenvalues": _rounded(values[::2]),
        "participation_h": _rounded(dimensions[::2]),
    }
    row: Row = {
        "learning_rate": config.optimizer.learning_rate,
        "start_scale": config.method.options["start_scale"],
        "training_steps": int(steps[-1]),
        "steps_found": detected.one_by_one,
        "modes": modes,
        "gain_h": float(dimensions[-1] / dimensions[0]),
        "over_time": over_time,
        "predicted": [],
        "mode_times": [],
        "held_out": _rounded(held_out),
    }
    for when in ("before", "after"):
        overlap, chance = held_out_overlap(
            found[f"kernel_{when}"], held_out, modes, centre=not linear
        )
        row |= {f"overlap_{when}": overlap, "chance": chance}
    if linear:
        count = len(kernel) - len(held_out)
        predicted = predict_steps(
            kernel[:count, :count],
            views[:, :, : count // 2].reshape(len(views), count, -1),
            config.optimizer.learning_rate,
        )
        row |= agreement(predicted.times, steps, predicted.shares)
        over_time["shares"] = _rounded(predicted.shares[::2])
    return row


def _rounded(values: np.ndarray) -> Any:
    """Return numbers to four digits, so that the record stays small."""
    return [_rounded(v) if np.ndim(v) else float(f"{v:.4g}") for v in values]


def claims_of(arms: Sequence[Row], rows: Sequence[Row], size: Arms) -> list[Claim]:
    """Compare the paper's claims with the means over seeds."""
    mean = {row["arm"]: row for row in arms}

    def worst(key: str, names: Sequence[str]) -> float:
        return min(mean[name].get(key, float("nan")) for name in names)

    def gain(name: str) -> float:
        return mean[name]["overlap_after"] - mean[name]["overlap_before"]

    compared = [row for row in rows if row["arm"] in COMPARED]
    between = [
        _overlap_of(a, b)
        for a, b in combinations(compared, 2)
        if a["seed"] == b["seed"]
    ]
    fixed, chance = (PAIRS, SHAPES), mean[PAIRS]["chance"]
    by_chance = max(mean[name]["chance"] for name in COMPARED)
    return [
        judged(
            "Eigenvalues reach half of their plateau one at a time, in order",
            "leading modes that do, fewer of CIFAR-10 and `shapes`, fixed pairs",
            worst("steps_found", fixed),
            full=4.0,
            part=2.0,
        ),
        judged(
            "The modes are learned in the order that the initial NTK predicts",
            "rank correlation of predicted and measured times, smaller of the two",
            worst("rank_correlation", fixed),
            full=0.9,
            part=0.7,
        ),
        judged(
            "They are learned at the critical times that it predicts",
            "measured over predicted time or its inverse, mean over modes, smaller of "
            "the two",
            worst("time_agreement", fixed),
            full=0.9,
            part=0.7,
        ),
        judged(
            "A small start makes the steps clearest",
            "modes learned one at a time, from a small minus from the usual start",
            mean[PAIRS]["steps_found"] - mean[USUAL]["steps_found"],
            full=2.0,
            part=1.0,
        ),
        judged(
            "Barlow Twins, SimCLR and VICReg all learn stepwise",
            "modes learned one at a time, fewest of the three, new views in each step",
            worst("steps_found", COMPARED),
            full=3.0,
            part=2.0,
        ),
        judged(
            "BYOL does not show it as they do",
            "modes learned one at a time, fewest of the three minus BYOL's",
            worst("steps_found", COMPARED) - mean["byol"]["steps_found"],
            full=3.0,
            part=1.0,
        ),
        judged(
            "The embedding is kernel PCA with the NTK after training",
            f"overlap on held-out images, fixed pairs (chance {chance:.2g})",
            mean[PAIRS]["overlap_after"],
            full=0.8,
            part=0.5,
        ),
        judged(
            "The same for Barlow Twins, SimCLR and VICReg",
            "least overlap of the three on held-out images (chance at most "
            f"{by_chance:.2g})",
            worst("overlap_after", COMPARED),
            full=0.8,
            part=0.5,
        ),
        judged(
            "The NTK after training predicts the embedding better than that before",
            "gain in overlap on held-out images, least of the three methods",
            min(map(gain, COMPARED)),
            full=0.05,
            part=0.0,
        ),
        judged(
            "The three methods learn similar embeddings",
            f"least overlap of two on held-out images (chance at most {by_chance:.2g})",
            float(min(between)),
            full=0.7,
            part=0.4,
        ),
        judged(
            "Hidden layers gain dimensions as well",
            "participation ratio of the features h, last over first, mean of the three",
            float(np.mean([mean[name]["gain_h"] for name in COMPARED])),
            full=1.5,
            part=1.1,
        ),
    ]


def _overlap_of(a: Row, b: Row) -> float:
    """Return the overlap of two runs' embeddings, in the modes that both learned."""
    modes = min(a["modes"], b["modes"])
    spans = (leading(np.array(r["held_out"]), modes, centre=True) for r in (a, b))
    return subspace_overlap(*spans)[0]


def line(row: Row) -> str:
    """Return a run's numbers as a line for the terminal."""
    text = (
        f"{row['steps_found']} of {row['modes']} modes one at a time  overlap with the "
        f"NTK's {row['overlap_before']:.2f} before, {row['overlap_after']:.2f} after"
    )
    if "rank_correlation" not in row:
        return text
    return (
        f"{text}  times: rank correlation {row['rank_correlation']:.2f}, "
        f"agreement {row['time_agreement']:.2f}"
    )


def draw(path: Path, curves: dict[str, Row]) -> None:
    """Draw every arm's eigenvalues over steps, and predicted times beside measured."""
    rows = -(-(len(curves) + 1) // 4)
    with house_style():
        figure = new_figure(10.5, 2.4 * rows)
        panels = figure.subplots(rows, 4, squeeze=False).ravel()
        times = panels[len(curves)]
        for index, (arm, curve) in enumerate(curves.items()):
            axes, values = panels[index], np.array(curve["eigenvalues"])
            axes.plot(curve["steps"], values)
            axes.set(title=arm.replace("_", " "), xlabel="step", ylabel="eigenvalues")
            if not curve["predicted"]:
                axes.set_yscale("log")
                axes.set_ylim(values.max() * 1e-6, values.max() * 3)
                plain_numbers(axes.yaxis)
                continue
            for mode, step in enumerate(curve["predicted"]):
                if step < curve["steps"][-1]:
                    axes.axvline(step, color=f"C{mode}", linestyle=":", linewidth=0.9)
            times.plot(
                curve["predicted"],
                curve["mode_times"],
                "o",
                color=f"C{index}",
                markersize=4,
                label=arm.replace("_", " "),
            )
        times.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
        times.set(title="modes", xlabel="predicted step", ylabel="measured step")
        times.legend(loc="lower right")
        for axes in panels[len(curves) + 1 :]:
            axes.set_axis_off()
        path.write_bytes(to_png(figure))


EXPERIMENT = Experiment(
    paper="stepwise",
    recipe=RECIPE,
    sizes=SIZES,
    arms_of=lambda size: list(size.arms),
    config_of=config_of,
    measure=measure,
    keys=KEYS,
    line=line,
    claims_of=claims_of,
    draw=draw,
    train=train,
    averaged=("predicted", "mode_times"),
)

if __name__ == "__main__":
    sys.exit(run_experiment(EXPERIMENT, __doc__))

"""From VICReg to SimCLR in three steps (Garrido et al. 2023): how far are they apart?

Command:  python experiments/duality/run.py --size cpu --out DIR
          python experiments/duality/run.py --size full --out DIR
Time:     cpu: see `seconds` in the record; full: an accelerator,
          not yet measured
Result:   experiments/results/duality_SIZE.json, its figure in DIR

The arms are VICReg, VICReg-exp (logsumexp for squares), VICReg-ctr (samples for
dimensions) and SimCLR (negatives from both views). All have VICReg's settings but for
the loss. Every method is trained with as many values of its own setting, and the best
of each are compared; the first value of each is trained at other embedding dimensions
too. Run folders are in DIR; the same command resumes them.

The size cpu has no record yet. Fifteen epochs bring the probe on h from 23.3 %, that of
the untrained network, to between 24.0 and 29.4 % (one seed): too little to tell whether
the methods are equally good.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measures import checkpoints, embedded, line_of_probes, probes, spectra
from reproduction import (
    MEASURED_AFTER,
    TOY,
    Claim,
    Experiment,
    Row,
    Size,
    draw_curves,
    judged,
    replaced,
    run_experiment,
)

from ssljax import losses
from ssljax.analytic.duality import fourth_power_bounds, fourth_powers, welch_bound
from ssljax.config import Config
from ssljax.recipes import load_recipe
from ssljax.reports.style import house_style, new_figure, to_png
from ssljax.runs.setup import load_split

RECIPE = "cifar10/vicreg"
PATH = ("vicreg", "vicreg_exp", "vicreg_ctr", "simclr")
KEYS = (
    "probe_h",
    "probe_z",
    "rank_z",
    "participation_z",
    "rank_h",
    "l_c",
    "l_nc",
    "bound_share",
)


def loss_settings(method: str, value: float) -> dict[str, Any]:
    """Return a method with the setting that is tuned.

    Args:
        method: one of `PATH`.
        value: VICReg's covariance weight, of the others the temperature.
    """
    options = {"temperature": value}
    if method == "vicreg":
        options = {"covariance_weight": value}
    elif method == "vicreg_ctr":
        # The balance of invariance and repulsion that SimCLR has.
        options |= {"invariance_weight": 1 / value, "variance_weight": 1 / value}
    return {"method.name": method, "method.options": options}


@dataclass(frozen=True, kw_only=True)
class Duality(Size):
    """A size, with the values of each method and the embedding dimensions."""

    values: Mapping[str, tuple[float, ...]]
    """For `loss_settings`, as many for every method."""
    hidden: str
    """Hidden layers of the projector, whatever the embedding dimension."""
    dimensions: tuple[int, ...]
    """The first is the one at which the methods are compared."""


TUNED = "one setting of each method, with as many values each: the arms"
SIZES = {
    "cpu": Duality(
        settings={
            "data.examples": 2000,
            "data.test_examples": 2000,
            "data.image_size": 16,
            "model.arch": "resnet_tiny",
            "model.width": 0.25,
            "model.dtype": "float32",
            "model.stem_padding": None,
            "optimizer.name": "adamw",
            "optimizer.learning_rate": 0.002,
            "optimizer.scale_by_batch": False,
            "optimizer.warmup_epochs": 1.0,
            "epochs": 15.0,
            "batch_size": 128,
            "checkpoint.every_epochs": 1.0,
        },
        values={
            "vicreg": (1.0, 4.0),
            "vicreg_exp": (0.1, 0.3),
            "vicreg_ctr": (0.1, 0.3),
            "simclr": (0.1, 0.3),
        },
        hidden="256",
        dimensions=(64, 16),
        seeds=2,
        tuned=TUNED,
    ),
    "full": Duality(
        settings={
            "epochs": 200.0,
            "checkpoint.every_epochs": 20.0,
        },
        values={
            "vicreg": (1.0, 4.0, 0.25),
            "vicreg_exp": (0.1, 0.2, 0.5),
            "vicreg_ctr": (0.15, 0.1, 0.3),
            "simclr": (0.15, 0.1, 0.3),
        },
        hidden="2048-2048",
        dimensions=(2048, 256, 512, 1024, 8192),
        seeds=3,
        tuned=f"{TUNED}; the recipe's 1000 epochs are cut to 200",
    ),
    "toy": Duality(
        settings={
            **TOY,
            "model.stem_padding": None,
            "optimizer.warmup_epochs": 0.0,
        },
        values={
            "vicreg": (1.0,),
            "vicreg_exp": (0.1,),
            "vicreg_ctr": (0.1,),
            "simclr": (0.1,),
        },
        hidden="16",
        dimensions=(8, 4),
    ),
}


def arms_of(size: Duality) -> dict[str, dict[str, Any]]:
    """Return each arm's settings: the loss, its value and the projector."""
    arms = {}
    for dimension in size.dimensions:
        for method in PATH:
            values = size.values[method]
            for value in values if dimension == size.dimensions[0] else values[:1]:
                projector = {"method.projector": f"{size.hidden}-{dimension}"}
                arm = named(method, value, dimension)
                arms[arm] = loss_settings(method, value) | projector
    return arms


def named(method: str, value: float, dimension: int) -> str:
    """Return the name of an arm."""
    return f"{method}_{value:g}_dim_{dimension}"


def config_of(arm: str, size: Duality, seed: int) -> Config:
    """Return the settings of one run."""
    return replaced(
        load_recipe(RECIPE),
        {
            **size.settings,
            "seed": seed,
            # The same views and networks whatever the method's own.
            "augment.preset": "vicreg",
            "method.forward": "separate",
            "method.projector_norm": "hidden",
            "method.projector_bias": False,
            **MEASURED_AFTER,
            **arms_of(size)[arm],
        },
    )


def criteria(z: np.ndarray) -> Row:
    """Measure both criteria of embeddings that are centred, then of length 1.

    Args:
        z: projections, ``[N, D]``, N > D.

    Returns:
        ``l_c``: L_c over the least that it can be (1 is the optimum); ``l_nc``: L_nc
        over the fourth powers of the columns' norms (0 is); ``bound_share``: the least
        that these can be, over what they are; ``identity_error``: relative error of
        ``L_nc + columns = L_c + rows``.
    """
    z = z - z.mean(axis=0)
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    l_c, l_nc = (
        float(criterion(z))
        for criterion in (losses.sample_contrastive, losses.dimension_contrastive)
    )
    rows, columns = map(float, fourth_powers(z))
    right = l_c + rows
    return {
        "l_c": l_c / welch_bound(*z.shape),
        "l_nc": l_nc / columns,
        "bound_share": fourth_power_bounds(*z.shape)[0] / columns,
        "identity_error": abs(l_nc + columns - right) / right,
    }


def measure(folder: Path) -> Row:
    """Return the numbers of one run: probes, and ranks and criteria over time."""
    states = checkpoints(folder)
    test = load_split(states[-1].config, train=False)
    over_time = spectra(states)
    found = [criteria(embedded(state, test)[1]) for state in states]
    over_time |= {key: [one[key] for one in found] for key in found[0]}
    row = probes(states[-1])
    row |= {key: over_time[key][-1] for key in ("rank_z", "participation_z")}
    row |= {key: found[-1][key] for key in ("l_c", "l_nc", "bound_share")}
    row["identity_error"] = max(over_time["identity_error"])
    row["tested"] = test.size
    row["over_time"] = over_time
    return row


def gap(rows: Sequence[Row], arm: str, base: str) -> tuple[float, float]:
    """Return the mean difference of two arms' probes on h and its standard error.

    Runs of one seed have the same images and start from the same encoder, so that their
    differences are averaged. For one seed the error is that of the test images, as if
    both arms had been measured on images of their own.

    >>> rows = [{"arm": a, "seed": s, "probe_h": a * s} for a in (1, 3) for s in (1, 2)]
    >>> gap(rows, 3, 1)
    (3.0, 1.0)
    >>> rows = [{"arm": a, "seed": 0, "probe_h": 50, "tested": 5000} for a in (1, 2)]
    >>> gap(rows, 2, 1)
    (0.0, 1.0)
    """
    of_arm, of_base = (
        {row["seed"]: row for row in rows if row["arm"] == name} for name in (arm, base)
    )
    each = [of_arm[s]["probe_h"] - of_base[s]["probe_h"] for s in sorted(of_arm)]
    if len(each) > 1:
        error = np.std(each, ddof=1) / np.sqrt(len(each))
    else:
        (one,), (other,) = of_arm.values(), of_base.values()
        variances = [
            row["probe_h"] * (100 - row["probe_h"]) / row["tested"]
            for row in (one, other)
        ]
        error = np.sqrt(sum(variances))
    return float(np.mean(each)), float(error)


def best_of(arms: Sequence[Row], size: Duality) -> dict[str, str]:
    """Return each method's arm with the best probe on h."""
    mean = {row["arm"]: row["probe_h"] for row in arms}
    names = {
        method: [named(method, value, size.dimensions[0]) for value in values]
        for method, values in size.values.items()
    }
    return {method: max(names[method], key=lambda arm: mean[arm]) for method in PATH}


def claims_of(arms: Sequence[Row], rows: Sequence[Row], size: Duality) -> list[Claim]:
    """Compare the paper's claims with the means over seeds."""
    mean = {row["arm"]: row for row in arms}
    first, last = size.dimensions[0], min(size.dimensions)
    at = best_of(arms, size)
    probes_h = [mean[arm]["probe_h"] for arm in at.values()]
    claims = []
    for base, arm in pairwise(PATH):
        found, error = gap(rows, at[arm], at[base])
        claims.append(
            judged(
                f"{arm} is as good as {base}",
                f"minus the size of the gap, {at[arm]} minus {at[base]}, probe on h: "
                f"{found:+.2f} ± {error:.2f} points",
                -abs(found),
                full=-2.0,
                part=-5.0,
            )
        )
    claims.append(
        judged(
            "All four methods reach the same accuracy",
            "minus the spread of the probes on h, points",
            min(probes_h) - max(probes_h),
            full=-2.0,
            part=-5.0,
        )
    )
    for method in PATH:
        value = size.values[method][0]
        found, error = gap(
            rows, named(method, value, last), named(method, value, first)
        )
        claims.append(
            judged(
                f"The embedding dimension hardly matters to {method}",
                f"probe on h, {last} minus {first} dimensions, {found:+.2f} ± "
                f"{error:.2f} points",
                found,
                full=-2.0,
                part=-5.0,
            )
        )
    path = [row for row in rows if row["arm"] in at.values()]
    pairs = np.array(
        [np.log([row["over_time"]["l_c"], row["over_time"]["l_nc"]]) for row in path]
    )
    return claims + [
        judged(
            "A method of either kind lowers both criteria",
            "correlation of log L_c and log L_nc over checkpoints, runs and methods",
            np.corrcoef(*np.concatenate(pairs, axis=1))[0, 1],
            full=0.9,
            part=0.5,
        ),
        judged(
            "The criteria differ by the norms alone",
            "digits to which the identity holds at every checkpoint",
            -np.log10(max(row["identity_error"] for row in rows) + 1e-16),
            full=5.0,
            part=3.0,
        ),
        judged(
            "The columns' fourth powers are within a factor of ten of their bound",
            "bound over the sum, the smallest of the four methods",
            min(mean[arm]["bound_share"] for arm in at.values()),
            full=0.1,
            part=0.05,
        ),
        judged(
            "None of the four collapses",
            "smallest effective rank of z",
            min(mean[arm]["rank_z"] for arm in at.values()),
            full=10.0,
            part=4.0,
        ),
    ]


def draw(path: Path, curves: Mapping[str, Row]) -> None:
    """Draw both criteria over time, and the probe on h by embedding dimension."""
    with house_style():
        figure = new_figure(10.0, 3.2)
        l_c, l_nc, rank = figure.subplots(1, 3)
        draw_curves(l_c, curves, "l_c", label="L_c over its least value", log=True)
        draw_curves(l_nc, curves, "l_nc", label="L_nc over its diagonal", log=True)
        draw_curves(rank, curves, "rank_z", label="effective rank of z")
        figure.legend(*l_c.get_legend_handles_labels(), loc="outside right upper")
        path.write_bytes(to_png(figure))


EXPERIMENT = Experiment(
    paper="duality",
    recipe=RECIPE,
    sizes=SIZES,
    arms_of=arms_of,
    config_of=config_of,
    measure=measure,
    keys=KEYS,
    line=line_of_probes,
    claims_of=claims_of,
    draw=draw,
)

if __name__ == "__main__":
    sys.exit(run_experiment(EXPERIMENT, __doc__))

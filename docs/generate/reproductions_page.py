"""The page of reproductions: claims of papers, and the numbers measured here.

Its records are the files in ``experiments/results`` that have ``claims``, see
``experiments/reproduction.py``.
"""

import json
from pathlib import Path
from typing import Any

from tables import mean_with_sd, table

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
FIGURES = Path(__file__).resolve().parents[1] / "figures"
TITLES = {
    "duality": "Duality (Garrido et al., ICLR 2023)",
    "implicit_variance": "Implicit variance (Halvagal et al., NeurIPS 2023)",
    "prediction_head": "Prediction head (Wen and Li, NeurIPS 2022)",
    "stepwise": "Stepwise learning (Simon et al., ICML 2023)",
    "spectral_transformation": "Spectral transformation, INTL (Weng et al., ICLR 2024)",
}
_HEAD = """\
<!-- Written by `python docs/generate/write_pages.py` from experiments/results/. -->

# Reproductions

One command per paper trains the arms of its experiment and writes what came out. A
claim is *reproduced*, *partly* reproduced or *not*, by a threshold in the script; every
number is a mean over the seeds. The size `cpu` has a narrow ResNet and a part of
CIFAR-10 at 16 pixels for minutes: it can show what a loss does to the spectrum,
but not the papers' accuracies. The size `full` needs an accelerator. Commits, configs
and seeds of all runs are in the records and on [the page of results](results.md).
"""
_ARM_COLUMNS = {
    "rank_z": "effective rank of z",
    "participation_z": "participation ratio of z",
    "probe_z": "probe on z %",
    "probe_h": "probe on h %",
    "off_diagonal": "norm of the off-diagonal of E",
    "steps_found": "modes learned one at a time",
    "modes": "modes learned",
    "rank_correlation": "rank correlation with predicted order",
    "time_agreement": "agreement with predicted times",
    "overlap_before": "overlap, NTK before",
    "overlap_after": "overlap, NTK after",
    "chance": "overlap by chance",
    "gain_h": "participation ratio of h, last / first",
    "alignment": "cosine of u and E u",
    "l_c": "L_c over its least",
    "l_nc": "L_nc over its diagonal",
}


def page(results: Path = RESULTS) -> str:
    """Return the page of a folder of results."""
    parts = [_HEAD]
    for path in sorted(results.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        if "claims" in record:
            parts += _one(path, record)
    return "\n".join(parts).rstrip() + "\n"


def _one(path: Path, record: dict[str, Any]) -> list[str]:
    settings, arms = record["settings"], record["arms"]
    paper, _, size = path.stem.rpartition("_")
    command = " ".join(record["made"]["command"][:4])
    seeds = max(arm["seeds"] for arm in arms)
    minutes = sum(run["seconds"] for run in record["runs"]) / 60
    lines = [
        f"## {TITLES.get(paper, paper)}, size {size}",
        "",
        f"`{command} --out DIR`: {seeds} {'seed' if seeds == 1 else 'seeds'}, "
        f"{len(record['runs'])} runs, {minutes:.0f} minutes of wall-clock time in sum. "
        f"Settings that replace those of `{settings['recipe']}` are in "
        f"[{path.name}](../experiments/results/{path.name}). "
        f"Tuned: {settings['tuned']}.",
        "",
        table(
            ("claim of the paper", "here", "number", "reproduced if", "verdict"),
            [
                (
                    claim["claim"],
                    claim["measured"],
                    f"{claim['value']:.3g}",
                    claim["reproduced_if"],
                    f"**{claim['verdict']}**",
                )
                for claim in record["claims"]
            ],
        ),
        "",
    ]
    shown = {k: v for k, v in _ARM_COLUMNS.items() if any(k in arm for arm in arms)}
    rows = [
        (arm["arm"].replace("_", " "), *(mean_with_sd(arm, key) for key in shown))
        for arm in arms
    ]
    lines += [table(("arm", *shown.values()), rows), ""]
    if (FIGURES / f"{path.stem}.png").is_file():
        lines += [f"![Curves and spectra of all arms](figures/{path.stem}.png)", ""]
    notes = record.get("notes", ())
    return lines + [f"- {note}" for note in notes] + [""] * bool(notes)

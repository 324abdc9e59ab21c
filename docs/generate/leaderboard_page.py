"""The page of the leaderboard: every method at one small, equal budget.

Its record is written by ``experiments/leaderboard/run.py``.
"""

import json
from pathlib import Path
from typing import Any

from results_page import stamp
from tables import mean_with_sd, table

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "experiments" / "results" / "leaderboard_cpu.json"
_HEAD = """\
<!-- Written by `python docs/generate/write_pages.py` from experiments/results/. -->

# Leaderboard

Every method of the package at one small, equal budget, so that a laptop can run the
table again:

```sh
python experiments/leaderboard/run.py --out DIR   # the same command resumes it
python experiments/leaderboard/run.py --again simclr --out DIR   # from scratch
```

"""
_COLUMNS = {
    "linear": "linear probe %",
    "knn": "kNN %",
    "effective_rank": "effective rank",
    "rankme": "RankMe",
    "alignment": "alignment",
    "uniformity": "uniformity",
}
_MEANING = """\
Accuracies are of the frozen encoder's features on held-out images: a logistic
regression, and kNN with 20 neighbours by cosine. Ranks, alignment and uniformity are of
the projections of held-out images. `untrained` is SimCLR's network before its first
step, `supervised` the same encoder trained on the labels.

What such a scale can say: that a method trains, whether it keeps its dimensions or
loses them, and how far it comes from an untrained network within minutes. What it
cannot say: which method is best. The methods' papers train hundreds of times longer, at
settings that were tuned for each of them; here nothing is tuned, differences below
about two standard deviations are chance, and a method that needs a long schedule or
wide heads stands lower than it deserves.
"""


def page(record: Path = RECORD) -> str:
    """Return the page of a record."""
    found: dict[str, Any] = json.loads(record.read_text("utf-8"))
    settings, rows = found["settings"], found["methods"]
    runs = found["runs"]
    seeds = max(row["seeds"] for row in rows)
    seconds = [run["seconds"] for run in runs]
    heads = ("method", "seeds", *_COLUMNS.values())
    cells = [
        (
            row["method"],
            str(row["seeds"]),
            *(mean_with_sd(row, key) for key in _COLUMNS),
        )
        for row in rows
    ]
    noun = "seed" if seeds == 1 else "seeds"
    budget = (
        f"{settings['data.examples']:,} images of CIFAR-10 at "
        f"{settings['data.image_size']} pixels, a tiny ResNet of width "
        f"{settings['model.width']:g}, {settings['epochs']:g} epochs of batches of "
        f"{settings['batch_size']}, AdamW at {settings['optimizer.learning_rate']:g}; "
        f"no layer of a head is wider than {settings['widest']}. Loss options and "
        f"augmentation are those of the recipe for CIFAR-10. {seeds} {noun}, "
        f"{len(runs)} runs, {sum(seconds) / 60:.0f} minutes in sum, at most "
        f"{max(seconds) / 60:.1f} a run."
    )
    parts = (_HEAD.rstrip(), budget, table(heads, cells), stamp(found["made"]))
    return "\n\n".join((*parts, _MEANING))

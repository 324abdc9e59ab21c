"""The files that a finished and evaluated run leaves, without training one."""

import json

from ssljax.config.serialize import to_json
from ssljax.methods import resolve


def write_run(folder, config, *, accuracy=None, logged=(20.0, 30.0), steps=(5, 10)):
    """Write the files that a finished and evaluated run leaves."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(to_json(resolve(config)))
    records = [
        {
            "step": step,
            "epoch": step / 5,
            "loss": 3.0 / step,
            "probe_accuracy": value,
            "spectrum/rankme": 6.0 + step,
            "spectrum/eigenvalues": [2.0, 1.0, 0.5 / step, 0.0],
        }
        for step, value in zip(steps, logged, strict=True)
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines)
    if accuracy is not None:
        common = {"split": "test", "train_examples": 900, "test_examples": 100}
        knn = {"protocol": "knn k=5 (cosine, T=0.1)"} | common
        rows = [
            {"representation": "encoder", "accuracy": accuracy} | knn,
            {"representation": "raw pixels", "accuracy": 1.0} | knn,
            {"representation": "encoder", "protocol": "spectrum", "accuracy": None}
            | common,
        ]
        (folder / "evaluation.json").write_text(json.dumps({"step": 10, "rows": rows}))
    return folder

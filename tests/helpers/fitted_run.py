"""Run folders whose logged eigenvalues are known, for the fit of a theory."""

import json
from dataclasses import replace

import numpy as np
from written_run import write_run

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.methods import resolve
from ssljax.runs.flow_time import flow_times

EXAMPLES = 640
STEPS = np.arange(0, 401, 10)
"""Steps of the panels: 10 epochs of 40 steps."""


def config_of(method="barlow_twins", *, rate=0.01, **options):
    config = Config(
        method=MethodConfig(method, options=options),
        optimizer=OptimizerConfig(
            learning_rate=rate,
            scale_by_batch=False,
            momentum=0.5,
            weight_decay=0.0,
            warmup_epochs=2,
        ),
        epochs=10,
        batch_size=16,
    )
    if method.startswith(("isoloss", "directpred")):
        config = replace(config, method=replace(config.method, target_momentum=0.0))
    return resolve(config)


def times_of(config, steps=STEPS):
    return flow_times(config, EXAMPLES, steps)


def write_fitted_run(folder, config, values, *, steps=STEPS, metric="eigenvalues"):
    """Write a run whose panels hold ``values`` [panels, modes]."""
    write_run(folder, config)
    rows = [
        {"step": int(step), "loss": 1.0, f"spectrum/{metric}": list(map(float, row))}
        for step, row in zip(steps, values, strict=True)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "data.json").write_text(json.dumps({"examples": EXAMPLES}))
    return folder

"""Protocol `online`: the probe that was trained during pretraining, on test images."""

from typing import Any

import numpy as np

from ssljax.evaluation.table import left_out, majority_row
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import embed_sets, encoder_on_devices, key_of
from ssljax.protocols.frozen import ENCODER


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return the accuracy of the online probe on the frozen encoder's features.

    The probe took one step per training step, on augmented views and while the encoder
    moved. Nothing is fitted here.

    Args:
        asked: the run and its images.
    """
    run = asked.run
    common = {
        "representation": ENCODER,
        "split": asked.test.split,
        "train_examples": run.data.examples,
        "test_examples": asked.test.size,
        "seed": run.config.seed,
    }
    name = "online (probe of pretraining)"
    why_not = _why_not(asked)
    if why_not:
        return [common | left_out(name, why_not)]
    encoder = {ENCODER: (key_of(run), lambda: encoder_on_devices(run))}
    (of_test,) = embed_sets(asked.folder, encoder, (asked.test,), pixels=False)
    labels = of_test.labels
    assert labels is not None
    probe = run.state.probe["params"]
    kernel, bias = np.asarray(probe["kernel"]), np.asarray(probe["bias"])
    predictions = (of_test.features[ENCODER] @ kernel + bias[None]).argmax(axis=1)
    row = {
        "protocol": name,
        "test_examples": len(labels),
        "accuracy": round(100.0 * float(np.mean(predictions == labels)), 2),
        "detail": f"trained for {run.step} steps on augmented views of the encoder as "
        "it changed; nothing searched",
    }
    found = [common | row]
    if asked.train.labels is not None:
        constant = majority_row(asked.train.labels, labels)
        sizes = {"train_examples": asked.train.size, "test_examples": len(labels)}
        found.append(common | sizes | constant)
    return found


def _why_not(asked: Asked) -> str:
    """Return why the probe cannot be applied to the test images, or nothing."""
    run, test = asked.run, asked.test
    if not run.state.probe:
        return "this run has no probe (no labels, or probe.enabled was off)"
    known = run.setup.num_classes
    if test.num_classes != known or (
        run.data.class_names
        and test.class_names
        and tuple(run.data.class_names) != tuple(test.class_names)
    ):
        return f"the probe knows the {known} classes of {run.data.name}"
    return ""

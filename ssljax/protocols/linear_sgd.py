"""The papers' linear evaluation: a classifier trained on augmented images."""

from typing import Any

from ssljax.protocols.asked import Asked
from ssljax.protocols.children import task_of
from ssljax.protocols.trained import rows_of_task

EPOCHS = 100.0
LEARNING_RATE = 0.3


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return the rows of a linear classifier on the frozen encoder.

    Defaults are those of Barlow Twins' code: 100 epochs of SGD, batch 256, learning
    rate 0.3 with a cosine.

    Args:
        asked: the run and its images.

    Source: facebookresearch/barlowtwins, ``evaluate.py``; its weight decay is 1e-6.
    """
    task = task_of(
        asked,
        "linear_sgd",
        size=asked.train.size,
        epochs=EPOCHS,
        rate=LEARNING_RATE,
        frozen=True,
    )
    return rows_of_task(asked, task)

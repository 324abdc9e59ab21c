"""The papers' linear evaluation: a classifier trained on augmented images."""

from typing import Any

from ssljax.protocols.asked import Asked
from ssljax.protocols.children import Task, batch_for
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
    settings = asked.settings
    task = Task(
        protocol="linear_sgd",
        what="",
        frozen=True,
        epochs=settings.epochs or EPOCHS,
        rates=tuple(settings.learning_rates or (LEARNING_RATE,)),
        batch_size=settings.batch_size or batch_for(asked.train.size),
    )
    return rows_of_task(asked, task)

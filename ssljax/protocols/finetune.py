"""Fine-tuning: encoder and classifier are trained together on all labels."""

from typing import Any

from ssljax.protocols.asked import Asked
from ssljax.protocols.children import task_of
from ssljax.protocols.trained import rows_of_task

EPOCHS = 30.0
LEARNING_RATE = 0.05


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return the rows of the whole network trained on all labels.

    Args:
        asked: the run and its images.

    Source: Chen et al. 2020, "A simple framework for contrastive learning of visual
    representations", appendix B.5, whose learning rate for a batch of 256 is 0.05,
    without weight decay or warm-up.
    """
    task = task_of(
        asked,
        "finetune",
        size=asked.train.size,
        epochs=EPOCHS,
        rate=LEARNING_RATE,
    )
    return rows_of_task(asked, task)

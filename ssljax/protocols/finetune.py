"""Fine-tuning: encoder and classifier are trained together on all labels."""

from typing import Any

from ssljax.protocols.asked import Asked
from ssljax.protocols.children import Task, batch_for
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
    settings = asked.settings
    task = Task(
        protocol="finetune",
        what="",
        frozen=False,
        epochs=settings.epochs or EPOCHS,
        rates=tuple(settings.learning_rates or (LEARNING_RATE,)),
        batch_size=settings.batch_size or batch_for(asked.train.size),
    )
    return rows_of_task(asked, task)

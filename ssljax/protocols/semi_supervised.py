"""Fine-tuning on few labels: 1 % and 10 %, or the images of a published list."""

import re
from typing import Any

import numpy as np

from ssljax.config.paths import as_path
from ssljax.protocols.asked import Asked
from ssljax.protocols.children import task_of
from ssljax.protocols.images import labels
from ssljax.protocols.label_lists import (
    balanced,
    check_classes,
    read_list,
    write_list,
)
from ssljax.protocols.trained import rows_of_task

LEARNING_RATE = 0.05
FEW = 0.01
EPOCHS = {True: 60.0, False: 30.0}
"""For at most 1 % of the labels, and for more."""


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return the rows of the whole network trained on some of the labels.

    The images of a share are drawn once, with as many of each class as possible, and
    written to ``protocols/semi_supervised/lists``; later evaluations read them there.

    Args:
        asked: the run and its images.

    Raises:
        ConfigError: if a class has no image among those chosen.

    Source: Chen et al. 2020, "A simple framework for contrastive learning of visual
    representations", appendix B.5: learning rate 0.05 for a batch of 256, 60 epochs
    for 1 % and 30 for 10 %, without weight decay or warm-up.
    """
    # All lists are checked before the first training begins.
    found = []
    for what, chosen in _lists(asked):
        few = len(chosen) <= FEW * asked.train.size
        task = task_of(
            asked,
            "semi_supervised",
            size=len(chosen),
            epochs=EPOCHS[few],
            rate=LEARNING_RATE,
            what=what,
        )
        found.append((task, chosen))
    return [row for task, each in found for row in rows_of_task(asked, task, each)]


def _lists(asked: Asked) -> list[tuple[str, np.ndarray]]:
    """Return the name and the rows of every list, each with an image of every class."""
    source, seed = asked.train, asked.seed
    given = asked.settings.label_list
    known = labels(source)
    if given is not None:
        path = as_path(given)
        chosen = read_list(path, source)
        check_classes(chosen, known, source, f"{path}")
        return [(path.name.replace(" ", "_"), chosen)]
    place = asked.folder.path / "protocols" / "semi_supervised" / "lists"
    made = []
    for share in asked.settings.fractions:
        what = f"{100 * share:g} %"
        of = f"{source.name}-{source.split}-{source.size}_images"
        name = f"{of}-{100 * share:g}_percent-seed_{seed}.txt"
        path = place / re.sub(r"[^\w.-]+", "_", name)
        if path.exists():
            chosen = read_list(path, source)
        else:
            chosen = balanced(known, share, source, seed=seed)
            with asked.folder.refusing("make room or make it writable"):
                write_list(path, chosen, source, f"{what}, class-balanced, seed {seed}")
        check_classes(chosen, known, source, what)
        made.append((what, chosen))
    return made

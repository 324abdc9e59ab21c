"""Report a run: encode its test images, then build the page."""

from pathlib import Path
from typing import Any

from ssljax.config.checks import ConfigError
from ssljax.data import DataError, Source
from ssljax.data.host_crop import HostCrops
from ssljax.data.subsets import subset_indices
from ssljax.evaluation import confusion, extract, knn_predict
from ssljax.protocols.images import evaluation_images, features, labels
from ssljax.reports.build import build_report
from ssljax.runs.contact import draw_views
from ssljax.runs.encoder import Restored, as_function, restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.setup import crops_on_host

NEIGHBOURS = 20
"""Of the kNN classifier behind the confusion matrix."""
BANK = 10_000
"""Training images that it looks at, at most."""


def report(
    workdir: str | Path, *, train: Source | None = None, test: Source | None = None
) -> Path:
    """Write ``report.html`` and ``report/*.png`` into a run folder.

    Where the images or a checkpoint are gone, the page says so and shows the rest.

    Args:
        workdir: folder of a run.
        train: training images; None loads the config's.
        test: held-out images; None loads the config's.

    Returns:
        Path of the page.

    Raises:
        ConfigError: if there is no run, its ``config.json`` cannot be used, or the
            folder cannot be written.
        FileNotFoundError: if the run has no metrics yet.
    """
    folder = RunFolder(workdir)
    folder.load_config()
    # Encoding the images takes long.
    folder.check_writable("report.html", "report/arrays.npz")
    try:
        run = restore(workdir)
        train, test = evaluation_images(run, train, test)
    except (ConfigError, DataError) as error:
        print(f"the report has no images and no features: {error}")
        return build_report(folder.path)
    encode = as_function(run)
    encoded = features(encode, test)
    extra: dict[str, Any] = {"contact": _contact_sheet(run, train), "features": encoded}
    classes = train.num_classes
    if test.labelled and train.labelled and classes:
        extra["labels"] = labels(test)
        extra["class_names"] = test.class_names
        # A random part: a folder's images are sorted by class.
        part = subset_indices(train.size, min(train.size, BANK), seed=0)
        bank_images, bank_labels = train.take(part)
        predicted = knn_predict(
            extract(encode, bank_images),
            bank_labels,
            encoded,
            k=min(NEIGHBOURS, len(bank_labels)),
            num_classes=classes,
        )
        extra["confusion"] = confusion(labels(test), predicted, classes)
    return build_report(folder.path, **extra)


def _contact_sheet(run: Restored, source: Source):
    """Return a few images, the views of three draws, and a title for each view."""
    setup, crops = run.setup, None
    if source.has_originals and crops_on_host(run.config, source):
        crops = HostCrops(setup.views, setup.view_sizes)
    return draw_views(setup, source, crops)

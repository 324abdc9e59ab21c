"""Lists of the labelled images of semi-supervised training, as files of text.

Each line is an image: the path of its file below the folder of images, or its index in
the order of the split, from 0. Published lists name files alone, without a folder.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.data import Source
from ssljax.data.file_names import file_names
from ssljax.runs import files

_HEADER = "# ssljax: "


def balanced(
    labels: np.ndarray, share: float, source: Source, *, seed: int
) -> np.ndarray:
    """Draw a share of the images with as many of each class as possible.

    Classes with too few images give all they have. Of the same seed, a smaller share is
    contained in every larger one.

    Args:
        labels: classes ``[N]``, -1 where unknown.
        share: of the labelled images, above 0 and up to 1.
        source: the images, for messages.
        seed: of the draw.

    Returns:
        Rows, ascending int64 ``[n]``.

    Raises:
        ConfigError: if there are fewer images to draw than classes.

    >>> from ssljax.data import from_arrays
    >>> y = np.arange(100) % 2
    >>> some = from_arrays(np.zeros((100, 2, 2, 3), np.uint8), y)
    >>> np.bincount(y[balanced(y, 0.1, some, seed=0)])
    array([5, 5])
    """
    known = np.flatnonzero(labels >= 0)
    classes = source.num_classes or 0
    total = round(share * len(known))
    if total < classes:
        raise ConfigError(
            f"{100 * share:g} % of the {len(known)} labelled images of {source.name} "
            f"({source.split}) is {total}, fewer than its {classes} classes; use "
            f"--fractions {_enough(classes / len(known))}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(known))
    first = rng.permutation(classes)  # these classes give one more
    count, extra = divmod(total, classes)
    wanted = np.full(classes, count)
    wanted[first[:extra]] += 1
    chosen = []
    for label in range(classes):
        of_class = known[order][labels[known[order]] == label]
        chosen.append(of_class[: wanted[label]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def check_classes(
    rows: np.ndarray, labels: np.ndarray, source: Source, what: str
) -> None:
    """Refuse a list that has no image of some class.

    Args:
        rows: the images of the list.
        labels: classes of all images ``[N]``.
        source: the images, for the name of the class.
        what: the list, for the message.

    Raises:
        ConfigError: the line names the class.
    """
    missing = np.setdiff1d(np.arange(source.num_classes or 0), labels[rows])
    if not missing.size:
        return
    name = source.class_names[missing[0]] if source.class_names else f"{missing[0]}"
    more = missing.size - 1
    others = f" and {more} other{'s' if more > 1 else ''}" if more else ""
    raise ConfigError(
        f"semi_supervised on {what} has no image of class {name!r}{others} of "
        f"{source.name} ({source.split}); use a list or --fractions with images of "
        "every class"
    )


def write_list(path: Path, rows: np.ndarray, source: Source, what: str) -> None:
    """Write the images of a list, by file name where names are at hand, else by index.

    Args:
        path: the file; its folder is created.
        rows: the images.
        source: all images.
        what: how they were drawn, for the first line.
    """
    names = file_names(source, quick=True)
    lines = [str(row) if names is None else names[row] for row in rows.tolist()]
    unit = "file name" if names is not None else "index, from 0, in the split's order"
    head = (
        f"{_HEADER}{what}: {len(rows)} of the {source.size} images of {source.name} "
        f"({source.split}), one {unit} a line"
    )
    files.write_atomically(path, "\n".join([head, *lines]) + "\n")


def read_list(path: Path, source: Source) -> np.ndarray:
    """Return the rows of a source that a file lists, ascending int64 ``[n]``.

    Args:
        path: a file of `write_list`, or a published one such as SimCLR's
            ``1percent.txt``.
        source: the images.

    Raises:
        ConfigError: if the file cannot be read or is empty, or names images that the
            source does not have.
    """
    try:
        text = files.read_text(path, errors="surrogateescape")
    except OSError as error:
        raise ConfigError(
            f"label list {path} cannot be read ({files.reason_of(error)}); name a file "
            "with an image name on every line"
        ) from error
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if lines and lines[0].startswith(_HEADER):
        lines = lines[1:]
    if not lines:
        raise ConfigError(
            f"label list {path} is empty; put an image name on every line"
        )
    if all(line.isascii() and line.isdigit() for line in lines):
        rows = np.array([int(line) for line in lines], np.int64)
        unknown = [str(row) for row in rows if row >= source.size]
    else:
        rows, unknown = _rows_of_names(lines, source, path)
    if unknown:
        raise ConfigError(
            f"{len(unknown)} of the {len(lines)} lines of label list {path} are not "
            f"images of {source.name} ({source.split}), the first is {unknown[0]!r}; "
            "use the list of these images"
        )
    return np.unique(rows)


def _rows_of_names(
    lines: Sequence[str], source: Source, path: Path
) -> tuple[np.ndarray, list[str]]:
    names = file_names(source)
    if names is None:
        raise ConfigError(
            f"label list {path} has file names, but the images of {source.name} have "
            "none; give a folder of images, or list indices counted from 0"
        )
    rows = {name: row for row, name in enumerate(names)}
    # A published list has no folders, so a name must be that of one file.
    alone = [name.rpartition("/")[2] for name in names]
    count = Counter(alone)
    rows |= {
        name: row
        for row, name in enumerate(alone)
        if count[name] == 1 and name not in rows
    }
    found = [rows[line] for line in lines if line in rows]
    return np.array(found, np.int64), [line for line in lines if line not in rows]


def _enough(share: float) -> str:
    """Round a share up to two digits.

    >>> _enough(0.0123)
    '0.013'
    """
    digits = max(0, 1 - int(np.floor(np.log10(share))))
    return f"{np.ceil(share * 10**digits) / 10**digits:.{digits}f}"

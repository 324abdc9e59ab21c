"""The folder of prepared TFDS sets: on this machine, or copied from a bucket."""

import os
from pathlib import Path

from ssljax.config.paths import url_of
from ssljax.data.bucket_copy import local_copy


def tfds_dir(data_dir: str | None) -> str:
    """Return the TFDS directory: the argument, TFDS_DATA_DIR, or the home default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return url_of(chosen) or str(Path(chosen).expanduser())


def tfds_copy(name: str, data_dir: str | None) -> str:
    """Return a TFDS directory of this machine that has the set, see `local_copy`."""
    return str(local_copy(tfds_dir(data_dir), name.partition(":")[0]))

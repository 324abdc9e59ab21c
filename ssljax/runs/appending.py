"""Append to a text file, also where files cannot grow: the objects of a bucket."""

import contextlib
from pathlib import Path

from ssljax.config.paths import in_bucket
from ssljax.runs import files


class Appended:
    """A text file to which lines are added.

    On this machine a line is in the file once it is written, so that a killed process
    loses none. An object of a bucket is replaced whole, when `store` is called.

    Args:
        path: the file; it need not exist.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "log.txt")
    >>> for _ in range(2):
    ...     append(path, "a line\\n")
    >>> path.read_text()
    'a line\\na line\\n'
    """

    def __init__(self, path: Path):
        self._path = path
        self._file = None
        self._parts: list[str] = []
        self._stored = True
        if not in_bucket(path):
            # Names of files need not be text.
            self._file = path.open("a", encoding="utf-8", errors="surrogateescape")
        elif path.exists():
            self._parts = [files.read_text(path, errors="surrogateescape")]

    def write(self, text: str) -> None:
        """Add text at the end."""
        if self._file is not None:
            self._file.write(text)
            self._file.flush()
        else:
            self._parts.append(text)
            self._stored = False

    def store(self) -> None:
        """Write to a bucket what was added since the last time."""
        if not self._stored:
            self._parts = ["".join(self._parts)]
            files.write_atomically(self._path, self._parts[0])
            self._stored = True

    def close(self) -> None:
        """Store what was added, and close the file."""
        self.store()
        if self._file is not None:
            self._file.close()


def append(path: Path, text: str) -> None:
    """Add text to a file, which need not exist."""
    with contextlib.closing(Appended(path)) as file:
        file.write(text)

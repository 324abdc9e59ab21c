"""Images that a streamed run could not decode: told once, listed, counted."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ssljax.runs import processes
from ssljax.runs.folder import RunFolder, skipped_line


def add_to_list(folder: RunFolder, skipped: Sequence[tuple[str | Path, str]]) -> None:
    """Add files to ``skipped_files.txt`` that are not in it, with the reasons.

    >>> import tempfile
    >>> folder = RunFolder(tempfile.mkdtemp())
    >>> for _ in range(2):
    ...     add_to_list(folder, [("cat/1.png", "not an image")])
    >>> folder.skipped.read_text()
    'cat/1.png\\tnot an image\\n'
    """
    try:
        old = folder.skipped.read_text("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        old = ""
    known = {line.split("\t")[0] for line in old.split("\n")}
    lines = map(skipped_line, skipped)
    new = [line for line in lines if line.split("\t")[0] not in known]
    if new:
        text = "".join(new)
        with folder.skipped.open(
            "a", encoding="utf-8", errors="surrogateescape"
        ) as file:
            file.write(text)


class SkippedImages:
    """Keeps ``skipped_files.txt`` while training comes upon damaged images.

    The first one is printed, the others are only listed. A process that does not write
    names its own on stderr.

    Args:
        folder: the run's folder.
        quiet: print nothing.
    """

    def __init__(self, folder: RunFolder, *, quiet: bool):
        self._folder, self._quiet = folder, quiet
        self._names: set[str] = set()

    def add(self, name: str, reason: str) -> None:
        """Note an image in whose place another one was used; again changes nothing."""
        if name in self._names:
            return
        self._names.add(name)
        line = f"{name} cannot be read ({reason}): another of its class stands for it"
        if not processes.is_first():
            print(line, file=sys.stderr, flush=True)
            return
        add_to_list(self._folder, [(name, reason)])
        if not self._quiet and len(self._names) == 1:
            print(f"{line}; listed in {self._folder.skipped}, as others will be")

    def sum_up(self) -> None:
        """Print how many there were."""
        if self._names and not self._quiet:
            count = f"{len(self._names)} damaged images"
            print(f"{count} were replaced by others, see {self._folder.skipped}")

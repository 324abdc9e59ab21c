"""Images that could not be decoded: the first is reported, all are listed and counted.

The list is ``skipped_files.txt``: one file a line, with the reason.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ssljax.runs import processes
from ssljax.runs.appending import append
from ssljax.runs.folder import RunFolder
from ssljax.runs.records import SkippedFile


def add_to_list(folder: RunFolder, skipped: Sequence[tuple[str | Path, str]]) -> None:
    """Add files and reasons to ``skipped_files.txt``, each file only once.

    >>> import tempfile
    >>> folder = RunFolder(tempfile.mkdtemp())
    >>> for _ in range(2):
    ...     add_to_list(folder, [("cat/1.png", "not an image")])
    >>> folder.skipped.read_text()
    'cat/1.png\\tnot an image\\n'
    """
    known = {each.name for each in folder.load_skipped()}
    lines = [SkippedFile(str(name), reason).line for name, reason in skipped]
    new = [line for line in lines if line.split("\t")[0] not in known]
    if new:
        append(folder.skipped, "".join(new))


class SkippedImages:
    """Keep ``skipped_files.txt`` while training meets damaged images.

    The first one is printed, the others are only listed. A process that does not write
    files names its own on stderr.

    Args:
        folder: the run's folder.
        quiet: print nothing.
    """

    def __init__(self, folder: RunFolder, *, quiet: bool):
        self._folder, self._quiet = folder, quiet
        self._names: set[str] = set()

    def add(self, name: str, reason: str) -> None:
        """Note an image that was replaced by another; the same one again is ignored."""
        if name in self._names:
            return
        self._names.add(name)
        line = (
            f"{name} cannot be read ({reason}); replaced by another image of the same "
            "class"
        )
        if not processes.is_first():
            print(line, file=sys.stderr, flush=True)
            return
        add_to_list(self._folder, [(name, reason)])
        if not self._quiet and len(self._names) == 1:
            print(f"{line}. This and any others are listed in {self._folder.skipped}")

    def sum_up(self) -> None:
        """Print how many there were."""
        if self._names and not self._quiet:
            count = f"{len(self._names)} damaged images"
            print(f"{count} were replaced by others, see {self._folder.skipped}")

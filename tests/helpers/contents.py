"""The contents of a folder, to check that a command changed nothing."""

from pathlib import Path


def contents(root):
    """Return every path below, with the bytes and modification time of files."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in sorted(Path(root).rglob("*"))
    }

"""What a folder holds, to see that a command changed nothing."""

from pathlib import Path


def contents(root):
    """Every path below, with the bytes and the time of change of the files."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in sorted(Path(root).rglob("*"))
    }

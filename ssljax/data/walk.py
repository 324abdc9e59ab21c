"""Find the image files below a folder, and count what is passed over.

Names that start with a dot, and what file managers and storage devices leave behind,
are no one's images. Every other file that is not an image is counted by its suffix.
Files without one are images if they open as such.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ssljax.data.opening import open_image
from ssljax.data.source import DataError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".pbm", ".dib", ".tga", ".apng"),
    *(".mpo", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".qoi", ".pcx"),
)
_SUFFIXES = frozenset(SUFFIXES)
# Folders of Synology and macOS, of Windows, and of the previews of file managers.
LITTER = frozenset(
    ("@eadir", "#recycle", "__macosx", "$recycle.bin", "thumbnails", "lost+found")
)
_LITTER_FILES = frozenset(("thumbs.db", "desktop.ini", "icon\r"))
_SHOWN = 5  # suffixes that a note names


@dataclass
class Found:
    """What is below a folder.

    Attributes:
        images: POSIX paths relative to the folder, sorted.
        passed_over: number of other files per suffix, in lower case.
        hidden: number of images whose names start with a dot.
        litter: relative paths of the folders that were not entered.
    """

    images: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    litter: list[str] = field(default_factory=list)


def walk(root: Path) -> Found:
    """Return all image files below a folder; links are followed once.

    Args:
        root: the folder.

    Returns:
        The images, and what else is there.

    Raises:
        DataError: if a folder cannot be listed: a class would be missing in silence.
    """
    found, seen, base = Found(), set(), str(root)
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        where = os.stat(folder)
        here = where.st_dev, where.st_ino
        if here in seen:  # a link to a folder already visited
            subfolders.clear()
            continue
        seen.add(here)
        # Strings and not paths, which take longer than listing the folder.
        below = os.path.relpath(folder, base).replace(os.sep, "/") + "/"
        below = "" if below == "./" else below
        shown = sorted(n for n in subfolders if not n.startswith("."))
        subfolders[:] = [n for n in shown if n.lower() not in LITTER]
        found.litter += [below + n for n in shown if n not in set(subfolders)]
        for name in files:
            plain = name.lower()
            _, dot, last = plain.rpartition(".")
            suffix = dot + last if dot else ""
            is_image = suffix in _SUFFIXES
            if name.startswith(".") or plain in _LITTER_FILES:
                # macOS keeps what it knows of x.jpg in ._x.jpg.
                found.hidden += is_image and not name.startswith("._")
            elif is_image or not suffix and _opens(os.path.join(folder, name)):
                found.images.append(below + name)
            else:
                found.passed_over[suffix] += 1
    found.images.sort()
    return found


def passed_over_note(found: list[Found]) -> str | None:
    """Return a line on the files and folders that are not read, None without any.

    >>> passed_over_note([Found(passed_over=Counter({".txt": 2, "": 1}))])
    'passed over: 2 .txt, 1 without suffix'
    """
    counts = sum((each.passed_over for each in found), Counter())
    parts = [
        f"{count:,} {suffix or 'without suffix'}"
        for suffix, count in counts.most_common(_SHOWN)
    ]
    rest = sum(counts.values()) - sum(n for _, n in counts.most_common(_SHOWN))
    if rest:
        parts.append(f"{rest:,} others")
    hidden = sum(each.hidden for each in found)
    if hidden:
        which = "image whose name starts" if hidden == 1 else "images whose names start"
        parts.append(f"{hidden:,} {which} with a dot")
    litter = sorted({path.rsplit("/", 1)[-1] for each in found for path in each.litter})
    if litter:
        parts.append(f"folders named {', '.join(litter)}")
    return f"passed over: {', '.join(parts)}" if parts else None


def shown(name: str) -> str:
    r"""Return a file's name as it can be printed; what is not UTF-8 is replaced.

    >>> shown("caf\udce9.jpg")
    'caf\ufffd.jpg'
    """
    return os.fsencode(name).decode("utf-8", "replace")


def _opens(path: str) -> bool:
    """Return whether a file without suffix is an image."""
    try:
        open_image(path).close()
    except Exception:  # Pillow's plugins raise almost anything
        return False
    return True


def _refuse(error: OSError) -> None:
    raise DataError(
        f"folder {error.filename!r} cannot be listed ({error.strerror}); its images "
        "would be missing: change its permissions or move it away"
    )

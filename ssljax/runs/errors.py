"""What ended a run, as one line: full disk, read-only folder, lost file, no memory."""

import errno
import os
import re
from collections.abc import Iterator

import jax

from ssljax.data import DataError
from ssljax.runs.folder import RunFolder

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_LOST = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV)
# TensorStore writes below Python: its errors are texts with the system's words.
_WORDS = {os.strerror(number): number for number in (*_FULL, *_REFUSED, *_LOST)}
_WORKER = "Worker process was terminated unexpectedly"


def explain(error: BaseException, folder: RunFolder) -> str | None:
    """What happened to a run and what to do, in one line; None where it is not known.

    Args:
        error: what ended the run; what caused it is looked at too.
        folder: the run's folder, whose newest checkpoint the line names.

    >>> folder = RunFolder("runs/first")
    >>> explain(OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), folder)
    'no space left to write /tmp/x (No space left on device): free some; nothing was \
saved yet, so the same command starts afresh'
    >>> explain(TypeError("a bug"), folder) is None
    True
    """
    for each in _causes(error):
        told = _of_memory(each) or _of_data(each) or _of_disk(each, folder)
        if told is not None:
            return " ".join(f"{told}; {_goes_on(folder)}".split())
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the nearest first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        # Handling an error may uncover a mistake of ours, which is then what matters.
        followed = isinstance(each, OSError | ValueError | RuntimeError)
        context = None if each.__suppress_context__ else each.__context__
        each = each.__cause__ or (context if followed else None)


def _of_memory(error: BaseException) -> str | None:
    # By type as well: TensorStore calls a full disk an exhausted resource too.
    text = str(error)
    if isinstance(error, jax.errors.JaxRuntimeError) and (
        "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()
    ):
        return (
            f"the device is out of memory ({_short(text)}): stop what else uses it; "
            "or start another run, in another --workdir, with --devices.microbatch, "
            "a smaller --batch-size or --model.dtype bfloat16"
        )
    if isinstance(error, MemoryError):
        return (
            f"the host is out of memory ({_short(text) or 'no more was given'}): stop "
            "what else uses it, lower --data.workers or use --data.store stream"
        )
    # One that ends by itself (a positive code) says why, and that is a mistake.
    ended = re.search(rf"^{_WORKER} with exit code -(\d+)", text)
    if isinstance(error, RuntimeError) and ended:
        return (
            f"a process that reads images was killed by signal {ended[1]}, by 9 mostly "
            "for want of memory: lower --data.workers"
        )
    return None


def _of_data(error: BaseException) -> str | None:
    return f"data: {error}" if isinstance(error, DataError) else None


def _of_disk(error: BaseException, folder: RunFolder) -> str | None:
    number, where = _number_and_place(error, folder)
    if number in _FULL:
        return f"no space left to write {where} ({os.strerror(number)}): free some"
    if number in _REFUSED:
        return (
            f"{where} cannot be written ({os.strerror(number)}): make it writable again"
        )
    if number in _LOST:
        return f"the disk of {where} does not answer ({os.strerror(number)})"
    if number in (errno.ENOENT, errno.ENOTDIR) and not folder.config.exists():
        return f"the run folder {folder.path} has vanished: bring it back"
    return None


def _number_and_place(
    error: BaseException, folder: RunFolder
) -> tuple[int | None, str]:
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename
        where = os.fsdecode(name) if isinstance(name, str | bytes) else ""
        # Of a file in the run folder the folder says enough; some are temporary.
        inside = not where or os.path.abspath(where).startswith(str(folder.path))
        return error.errno, str(folder.path) if inside else where
    if isinstance(error, ValueError | RuntimeError) and str(folder.path) in str(error):
        for words, number in _WORDS.items():
            if words in str(error):
                return number, str(folder.path)
    return None, ""


def _goes_on(folder: RunFolder) -> str:
    """Where the same command goes on: the newest checkpoint that was committed."""
    try:
        names = os.listdir(folder.checkpoints)
    except OSError:
        names = []
    # What is not finished has a longer name.
    steps = [int(name) for name in names if name.isdigit()]
    if not steps:
        return "nothing was saved yet, so the same command starts afresh"
    return f"the same command goes on from step {max(steps)}"


def _short(text: str) -> str:
    """The first sentence, without the kinds of error that it begins with."""
    line = " ".join(text.split())
    line = re.sub(r"^(?:(?:[A-Z_]{4,}|Error \w+ \w+): )+", "", line)
    line = re.split(r"(?<=\w)[.:;] ", line)[0].rstrip(".")
    return line if len(line) <= 120 else line[:117] + "..."

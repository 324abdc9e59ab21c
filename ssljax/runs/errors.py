"""Explain in one line what ended a run: full disk, lost file, no memory, ..."""

import errno
import os
import re
import signal
from collections.abc import Iterator

import jax

from ssljax.config.paths import first_line, in_bucket
from ssljax.data import DataError
from ssljax.data.shared_memory import PLACE
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.folder import RunFolder

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_LOST = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV)
# TensorStore writes below Python: its errors are texts with the system's words.
_WORDS = {os.strerror(number): number for number in (*_FULL, *_REFUSED, *_LOST)}
_WORKER = "Worker process was terminated unexpectedly"


def explain(error: BaseException, folder: RunFolder) -> str | None:
    """Say in one line what happened to a run and what to do; None if unknown.

    Args:
        error: what ended the run; its causes are examined too.
        folder: the run's folder; the line names its newest checkpoint.

    >>> folder = RunFolder("runs/first")
    >>> explain(OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), folder)
    'no space left to write /tmp/x (No space left on device); free some space, then \
rerun the same command; nothing was saved yet, so it starts from step 0'
    >>> explain(TypeError("a bug"), folder) is None
    True
    """
    for each in _causes(error):
        line = _of_memory(each) or _of_data(each) or _of_disk(each, folder)
        if line is not None:
            joined = f"{line}, then" if _has_advice(line) else f"{line};"
            return " ".join(f"{joined} {rerun_advice(folder)}".split())
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what led to it, the nearest first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        # Handling an error may uncover a bug of ours, which is then what matters.
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
            f"the device is out of memory ({_short(text)}); use --devices.microbatch, "
            "a smaller --batch-size or --model.dtype bfloat16 in another --workdir, or "
            "stop other programs on the device"
        )
    if isinstance(error, MemoryError):
        return (
            f"the host is out of memory ({_short(text) or 'an allocation failed'}); "
            "lower --data.workers, use --data.store stream or stop other programs"
        )
    # A positive code means that the process ended itself with an error of its own,
    # which is a bug and keeps its traceback.
    ended = re.search(rf"^{_WORKER} with exit code -(\d+)", text)
    if isinstance(error, RuntimeError) and ended and int(ended[1]) == signal.SIGBUS:
        return (
            f"shared memory {PLACE} is full, which killed an image-reading process "
            "(signal 7); start the container with a larger --shm-size or lower "
            "--data.workers"
        )
    if isinstance(error, RuntimeError) and ended:
        # The kernel picks a process to kill when memory runs out.
        usually = " (usually out of memory)" if ended[1] == "9" else ""
        return (
            f"an image-reading process was killed by signal {ended[1]}{usually}; "
            "lower --data.workers"
        )
    return None


def _of_data(error: BaseException) -> str | None:
    return f"data: {error}" if isinstance(error, DataError) else None


def _of_disk(error: BaseException, folder: RunFolder) -> str | None:
    if in_bucket(folder.path) and _of_bucket(error):
        reason = first_line(error).rstrip(".")
        return f"{folder.path} does not respond ({reason}); check the bucket"
    number, where = _number_and_place(error, folder)
    if number in _FULL:
        reason = os.strerror(number)
        return f"no space left to write {where} ({reason}); free some space"
    if number in _REFUSED:
        reason = os.strerror(number)
        return f"{where} cannot be written ({reason}); make it writable again"
    if number in _LOST:
        reason = os.strerror(number)
        return f"the disk of {where} does not respond ({reason}); reconnect it"
    if number in (errno.ENOENT, errno.ENOTDIR) and not folder.config.exists():
        return f"the run folder {folder.path} has vanished; bring it back"
    return None


def _of_bucket(error: BaseException) -> bool:
    """Return whether an error comes from a library that reads and writes buckets."""
    if isinstance(error, OSError) and error.errno in (errno.EIO, None):
        return not isinstance(error, FileNotFoundError)
    library = type(error).__module__.partition(".")[0]
    # TensorStore's errors are of Python's types, and name the object.
    tensorstore = isinstance(error, ValueError | RuntimeError) and "gs://" in str(error)
    return library in ("gcsfs", "aiohttp", "google") or tensorstore


def _number_and_place(
    error: BaseException, folder: RunFolder
) -> tuple[int | None, str]:
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename
        where = os.fsdecode(name) if isinstance(name, str | bytes) else ""
        # Inside the run folder the folder's name is enough; some files are temporary.
        inside = not where or os.path.abspath(where).startswith(str(folder.path))
        return error.errno, str(folder.path) if inside else where
    if isinstance(error, ValueError | RuntimeError) and str(folder.path) in str(error):
        for words, number in _WORDS.items():
            if words in str(error):
                return number, str(folder.path)
    return None, ""


def _has_advice(line: str) -> bool:
    """Return whether a line says what to do, which follows a semicolon."""
    # A reason quoted in brackets may have semicolons of its own.
    return "; " in re.sub(r"\(.*\)", "", line)


def rerun_advice(folder: RunFolder) -> str:
    """Say from which step a rerun resumes: that of the newest finished checkpoint."""
    try:
        steps = saved_steps(folder.checkpoints)
    except Exception:  # a bucket may be what has failed
        steps = []
    if not steps:
        return "rerun the same command; nothing was saved yet, so it starts from step 0"
    return f"rerun the same command to resume from step {max(steps)}"


def _short(text: str) -> str:
    """Return the first sentence, without the error names that it begins with."""
    line = " ".join(text.split())
    line = re.sub(r"^(?:(?:[A-Z_]{4,}|Error \w+ \w+): )+", "", line)
    line = re.split(r"(?<=\w)[.:;] ", line)[0].rstrip(".")
    return line if len(line) <= 120 else line[:117] + "..."

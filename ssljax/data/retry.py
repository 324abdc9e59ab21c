"""Read again what a disk or a network refused for the moment, waiting longer each time.

A network file system that is restarted, or a bucket that is busy, answers again within
seconds. A run of days must not end for that.
"""

import errno
import os
import re
import threading
from collections.abc import Callable
from typing import TypeVar

from ssljax.data.opening import Unreachable
from ssljax.data.source import DataError

T = TypeVar("T")
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try."""
_NAMES = (
    *("EIO", "ESTALE", "ETIMEDOUT", "ECONNRESET", "ECONNREFUSED", "EHOSTDOWN"),
    *("EHOSTUNREACH", "ENETUNREACH", "EREMOTEIO"),
)
_NUMBERS = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}
# Libraries that read below Python raise texts, with the system's or the server's words.
_TEXTS = (
    *(re.escape(os.strerror(number)) for number in sorted(_NUMBERS)),
    *("internal server error", "bad gateway", "service unavailable", "gateway timeout"),
    r"HTTP\S* (?:error |status |code )*5\d\d",
)
_TRANSIENT = re.compile("|".join(_TEXTS), re.IGNORECASE)


class TransientDataError(DataError):
    """Data could not be read for a while; rerunning the same command may help."""


def is_transient(error: Exception) -> bool:
    """Return whether an error of reading may be gone in a moment.

    >>> is_transient(OSError(errno.ESTALE, "Stale file handle"))
    True
    >>> is_transient(RuntimeError("HTTP error 503 while reading")), is_transient(
    ...     FileNotFoundError(errno.ENOENT, "No such file or directory"))
    (True, False)
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NUMBERS
    if isinstance(error, Unreachable | OSError | RuntimeError):
        return bool(_TRANSIENT.search(str(error)))
    return False


def gave_up(what: str) -> TransientDataError:
    """Return the error to raise when every try has failed; ``what`` names the file."""
    return TransientDataError(
        f"{what}, tried {len(WAITS) + 1} times in {sum(WAITS):.0f} s; check the disk "
        "or the network"
    )


class Retries:
    """Try reads again; when one is given up, those beside it are not waited for.

    Otherwise a batch on a lost disk would take the time of all its images.

    >>> Retries().call(lambda: 3)
    3
    """

    def __init__(self) -> None:
        self._gave_up = threading.Event()

    def call(self, read: Callable[[], T]) -> T:
        """Return ``read()``; call it again while its error `is_transient`.

        Raises:
            Exception: that of the last try.
        """
        for wait in WAITS:
            try:
                return read()
            except Exception as error:
                if not is_transient(error):
                    raise
            if self._gave_up.wait(wait):
                break
        try:
            return read()
        except Exception as error:
            if is_transient(error):
                self._gave_up.set()
            raise

"""Call orbax without the tracebacks that it prints beside the errors it raises."""

import gc
import inspect
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import jax

from ssljax.config.checks import ConfigError
from ssljax.runs.digest import Damage

_logger = logging.getLogger(__name__)
# These errors have other causes, so they do not mean that the checkpoint is damaged.
_NOT_DAMAGE = (ConfigError, MemoryError, PermissionError, jax.errors.JaxRuntimeError)


def attempt(
    restore: Callable[[], tuple[Any, dict[str, Any]]],
) -> tuple[tuple[Any, dict[str, Any]] | None, str]:
    """Call `restore`, and turn an error that means damage into a short reason.

    When one read fails, orbax abandons the other reads while they run. Python would
    print a long traceback for each, so they are collected here and silenced.

    Returns:
        The result of ``restore()`` and an empty reason, or None and the reason.
    """
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not inspect.iscoroutine(unraisable.object) and (
            str(unraisable.exc_value) != "Event loop is closed"
        ):
            previous(unraisable)

    sys.unraisablehook = hook
    try:
        try:
            return restore(), ""
        except _NOT_DAMAGE:
            raise
        except Exception as error:  # orbax raises many types for damage
            reason = _reason(error)
            # Logged as text: the error object would keep the abandoned reads alive.
            _logger.debug("restoring failed: %s", traceback.format_exc())
        time.sleep(0.2)
        gc.collect()
        return None, reason
    finally:
        sys.unraisablehook = previous


def _reason(error: Exception) -> str:
    # Orbax's messages are paragraphs long, and its exception types say little.
    return str(error) if isinstance(error, Damage) else "a file is missing or broken"


def _only_errors_from_orbax(record: logging.LogRecord) -> bool:
    # An error with a traceback is also raised, so logging it would print it twice.
    is_error = record.levelno >= logging.ERROR and not record.exc_info
    return is_error or "orbax" not in record.pathname


def _not_of_orbax(record: logging.LogRecord) -> bool:
    # When one write fails, the writes beside it fail too, and asyncio reports each.
    if "never retrieved" not in record.getMessage():
        return True
    trace = record.exc_info[2] if record.exc_info else None
    files = [frame.filename for frame in traceback.extract_tb(trace)]
    return "orbax" not in record.getMessage() + " ".join(files)


class _Unraised:
    """Unraisable hook that silences writes still running after one has failed."""

    def __init__(self, previous: Callable[[Any], Any]):
        self._previous = previous

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._previous(unraisable)


def quieten_orbax() -> None:
    """Silence orbax's log of every save, which it writes through absl.

    Its exceptions are still raised, and other users of absl still log.
    """
    import absl.logging

    # Adding the same filter again changes nothing.
    absl.logging.get_absl_logger().addFilter(_only_errors_from_orbax)
    logging.getLogger("asyncio").addFilter(_not_of_orbax)
    # Never removed, since orbax's writing threads may live until the process ends.
    if not isinstance(sys.unraisablehook, _Unraised):
        sys.unraisablehook = _Unraised(sys.unraisablehook)

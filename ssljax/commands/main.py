"""The `ssljax` command: which subcommand runs, and with which code it exits."""

import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from ssljax.config.checks import ConfigError, nearest

BAD_INPUT = 2
FAILED = 1
RETRY = 75  # EX_TEMPFAIL: rerunning the same command resumes from the last checkpoint
INTERRUPTED = 130
CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell reports it
# What the machine, not a bug, does to a file, with the advice.
_DISK = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make it writable",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
}
# By name, since importing the classes would import JAX for every command.
_STOPPED = {"TrainingFailed": FAILED, "Preempted": RETRY, "ProcessLost": RETRY}
_TRANSIENT = "TransientDataError"  # of `ssljax.data.retry`


def _command(module: str) -> Callable[[list[str]], int | None]:
    """Return the `run` of a module of this package, imported when it is called."""

    def run(words: list[str]) -> int:
        return importlib.import_module(f"ssljax.commands.{module}").run(words)

    return run


COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    name: _command(name)
    for name in (
        "pretrain",
        "evaluate",
        "report",
        "compare",
        "sweep",
        "export",
        "bench",
        "doctor",
        "theory",
        "data",
        "list",
        "cite",
        "replay",
    )
}
# A module cannot be named `import`.
COMMANDS["import"] = _command("import_weights")

_USAGE = """usage: ssljax COMMAND ...

  pretrain RECIPE --workdir DIR [--KEY VALUE ...] [--dry-run] [--smoke]
  evaluate DIR [--protocol NAME ...] [--data NAME] [--checkpoint STEP]
  report DIR
  export DIR [--format torch|safetensors|onnx|flax|timm|detectron2] [--out DIR]
  import FILE --workdir DIR [--arch NAME] [--KEY VALUE ...]
  compare DIR [DIR ...] [--out DIR]
  sweep RECIPE --workdir DIR [--set KEY=VALUE,VALUE ...] [--seeds N] [--KEY VALUE ...]
  bench RECIPE [--KEY VALUE ...] [--against torch] [--profile DIR] [--json FILE]
  doctor RECIPE [--workdir DIR] [--KEY VALUE ...] [--steps N] [--smoke]
  theory list | theory NAME [--items N ...] [--out DIR] [--json FILE] | theory all
  theory map LOSS --x NAME [--y NAME] [--out DIR]
  theory fit DIR [--modes N] [--out DIR]
  data list | data prepare NAME
  list recipes | list methods
  cite METHOD
  replay DIR

`ssljax COMMAND --help` lists all settings of a command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Settings that cannot be used print one line and return 2.

    Args:
        arguments: the words after ``ssljax``. None takes those of the process, which
            then is the program: after an interruption it ends here.
    """
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        code = _run(words, is_program=arguments is None)
    except SystemExit:  # after --help
        if _stdout_is_closed():
            return CLOSED_PIPE
        raise
    except BrokenPipeError:
        # Any other pipe, such as that to a process that reads images, is an error.
        if not _stdout_is_closed("\n"):
            raise
        code = CLOSED_PIPE
    else:
        code = CLOSED_PIPE if _stdout_is_closed() else code
    if code and "ssljax.runs.processes" in sys.modules:
        from ssljax.runs import processes

        # The other processes may hang in a computation that this one has left.
        processes.leave_if_several(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the process without tearing the interpreter down.

    XLA may still be compiling in threads of its own, which crash when the interpreter
    is gone. Every file is replaced whole or closed by now, so nothing is lost.
    """
    if "multiprocessing" in sys.modules:
        import multiprocessing
        import multiprocessing.util

        for child in multiprocessing.active_children():
            child.kill()  # they ignore SIGTERM
        # As at a normal exit: otherwise a helper process of Python complains about
        # semaphores that were left to it.
        with contextlib.suppress(Exception):
            vars(multiprocessing.util)["_exit_function"]()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _stdout_is_closed(text: str = "") -> bool:
    """Write and flush; if stdout's reader (such as `head`) is gone, discard the rest.

    A write that failed leaves nothing to flush, so ``text`` must then not be empty.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
        return False
    except BrokenPipeError:
        # Python flushes stdout again at exit, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True


def _run(words: list[str], *, is_program: bool) -> int:
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_USAGE, end="")
            return 0 if words else BAD_INPUT
        if words[0] == "--version":
            from ssljax import __version__

            print(__version__)
            return 0
        if words[0] not in COMMANDS:
            raise ConfigError(
                f"unknown command {words[0]!r}; allowed: {', '.join(COMMANDS)}"
                f"{nearest(words[0], COMMANDS)}"
            )
        if is_program and words[0] == "pretrain":
            _stop_before_saving(words)
        return COMMANDS[words[0]](words[1:]) or 0
    except KeyboardInterrupt:
        print(f"ssljax: interrupted; {_rerun(words)}", file=sys.stderr)
        if is_program:
            # Here, while the exception keeps alive what XLA's threads still use.
            _leave(INTERRUPTED)
        return INTERRUPTED
    except (ConfigError, ValueError, FileNotFoundError) as error:
        if not _is_ours(error):
            raise
        print(f"ssljax: {error}", file=sys.stderr)
        return RETRY if type(error).__name__ == _TRANSIENT else BAD_INPUT
    except OSError as error:
        advice = _DISK.get(error.errno or 0)
        if advice is None or error.filename is None:
            raise
        name = os.fsdecode(error.filename)
        print(f"ssljax: {name}: {error.strerror}; {advice}", file=sys.stderr)
        return BAD_INPUT
    except RuntimeError as error:
        code = _STOPPED.get(type(error).__name__)
        if code is None:
            raise
        print(f"ssljax: {error}", file=sys.stderr)
        if is_program and code == RETRY:
            # A compiler or a read that the run did not wait for may take minutes.
            _leave(code)
        return code


def _stop_before_saving(words: list[str]) -> None:
    """Let a signal that comes before the run listens for it end with a line and 75."""

    def stop(number: int, frame: object) -> None:
        advice = "rerun the same command"
        with contextlib.suppress(Exception):  # modules may be half imported
            advice = _rerun(words)
        name = signal.Signals(number).name
        # Not through sys.stderr, in whose middle the signal may have come.
        os.write(2, f"ssljax: stopped by {name}; {advice}\n".encode())
        os._exit(RETRY)

    for name in ("SIGTERM", "SIGUSR1", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _rerun(words: list[str]) -> str:
    """Say what to do after an interruption; for a run, where it resumes."""
    from ssljax.commands.parse import value_of

    workdir = value_of(words, "--workdir")
    # Otherwise the run had not begun, and its folder may not be one.
    begun = words[:1] == ["pretrain"] and "ssljax.runs.pretrain" in sys.modules
    if not begun or workdir is None or "--dry-run" in words:
        return "rerun the same command"
    from ssljax.runs.errors import rerun_advice
    from ssljax.runs.folder import RunFolder

    return rerun_advice(RunFolder(workdir))


def _is_ours(error: Exception) -> bool:
    """Whether this package refused something, rather than a library below it."""
    if isinstance(error, ConfigError):
        return True
    return type(error).__name__ in ("DataError", _TRANSIENT) or (
        isinstance(error, FileNotFoundError) and "ssljax" in str(error)
    )

"""Find a script that its own data workers would start again."""

import ast
import sys
from pathlib import Path

from ssljax.data.source import DataError


def check_script() -> None:
    """Refuse to start worker processes from a script without a ``__main__`` guard.

    Spawned processes import the script that started them. Code outside of
    ``if __name__ == "__main__":`` would run again in each, and start workers there.

    Raises:
        DataError: if the statement of the script that is running is not guarded.
    """
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path is None:  # a notebook, a prompt or `python -c`: nothing is imported
        return
    line = _running_line(vars(main))
    if line is None:
        return
    try:
        body = ast.parse(Path(path).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return  # an archive, or a file that has changed since
    statement = next((s for s in body if s.lineno <= line <= (s.end_lineno or 0)), None)
    if statement is None or _is_guard(statement):
        return
    raise DataError(
        f"{path}, line {line}, would run again in every data worker; put it below "
        'if __name__ == "__main__": or set data.workers=0'
    )


def _running_line(names: dict) -> int | None:
    """Return the line of a module's code that is running, None if it has returned."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals is names:
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guard(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If):
        return False
    parts = list(ast.walk(statement.test))
    return any(isinstance(p, ast.Name) and p.id == "__name__" for p in parts) and any(
        isinstance(p, ast.Constant) and p.value == "__main__" for p in parts
    )

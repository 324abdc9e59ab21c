"""The rows of a check before a run, and how those of all processes become one table."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ssljax.runs import processes
from ssljax.runs.files import reason_of


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str
    value: str
    """What was found; where the check failed, what is wrong."""
    verdict: Literal["ok", "slow", "look", "fail", "-"] = "ok"
    """``-`` was not checked; ``slow`` and ``look`` do not stop a run."""
    fix: str = ""

    @property
    def line(self) -> str:
        """The line that the run itself would end with."""
        return f"{self.value}; {self.fix}" if self.fix else self.value


def failed(name: str, error: Exception) -> Check:
    """Return the check that an error's line fails; what to do follows a semicolon.

    >>> failed("data", ValueError("'x' is not prepared; run y")).fix
    'run y'
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        text = f"{error.filename or name}: {reason_of(error)}; make it readable"
    what, semicolon, fix = text.rpartition("; ")
    return Check(name, what if semicolon else text, "fail", fix if semicolon else "")


def merged(checks: list[Check]) -> list[tuple[str, Check]]:
    """Return the checks of all processes, equal ones once, with who made them.

    Every process must call this.

    Returns:
        Pairs of the processes, such as ``"all"`` or ``"0, 2"``, and the check, in the
        order of the checks.

    >>> merged([Check("clock", "now")])
    [('all', Check(name='clock', value='now', verdict='ok', fix=''))]
    """
    rows = processes.gather([asdict(check) for check in checks])
    return merge([[Check(**each) for each in row] for row in rows])


def merge(by_process: list[list[Check]]) -> list[tuple[str, Check]]:
    """Return the checks of several processes as `merged` does.

    >>> one, other = Check("images", "5"), Check("images", "4")
    >>> [who for who, _ in merge([[one], [one], [other]])]
    ['0-1', '2']
    """
    order = list(dict.fromkeys(c.name for checks in by_process for c in checks))
    rows: list[tuple[str, Check]] = []
    for name in order:
        who: dict[Check, list[int]] = {}
        for index, checks in enumerate(by_process):
            for check in checks:
                if check.name == name:
                    who.setdefault(check, []).append(index)
        for check, indices in who.items():
            everyone = len(indices) == len(by_process)
            rows.append(("all" if everyone else _ranges(indices), check))
    return rows


def _ranges(numbers: Sequence[int]) -> str:
    """Return increasing numbers in short.

    >>> _ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    groups = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    parts = [[number for _, number in group] for _, group in groups]
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)

"""Communication of a compiled program, read from its HLO text."""

import re
from collections.abc import Iterable
from typing import NamedTuple

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
)
# Name = type kind(operands): neither % nor = nor " comes in a type, so that names of
# operands and metadata cannot be taken for one.
_INSTRUCTION = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.-]+ = (?P<type>[^=%\"]+?) (?P<kind>{'|'.join(KINDS)})"
    r"(?P<start>-start)?\("
)
_ARRAY = re.compile(r"(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_SOURCE = re.compile(r'op_name="([^"]*)"')


class Collective(NamedTuple):
    """One communication of a step, as every device takes part in it."""

    kind: str
    bytes: int
    """Size of its result on one device: the reduced, gathered or received array."""
    source: str
    """The operation it was made for, as JAX names it."""


class Total(NamedTuple):
    """The collectives of one kind: number and bytes."""

    count: int
    bytes: int


def collectives(hlo: str) -> list[Collective]:
    """Return the collectives in the text of a compiled program.

    A pair of start and done counts once, also where a fusion or an asynchronous call
    holds it; so does one in the body of a loop, however often that runs.

    Args:
        hlo: what ``compiled.as_text()`` gives.

    Returns:
        One entry per collective, in the order of the text.

    >>> collectives('''
    ...   %sum = (f32[8]{0}, bf16[2,4]{1,0}) all-reduce(%a, %b), to_apply=%add
    ...   %begin = (f32[2]{0}, f32[16]{0}) all-gather-start(%c), dimensions={0}
    ...   ROOT %end = f32[16]{0} all-gather-done(%begin)
    ... ''')  # doctest: +NORMALIZE_WHITESPACE
    [Collective(kind='all-reduce', bytes=48, source=''),
     Collective(kind='all-gather', bytes=64, source='')]
    """
    found = []
    for line in hlo.splitlines():
        # Long tuples number their elements in comments.
        match = _INSTRUCTION.match(re.sub(r"/\*.*?\*/", "", line))
        if match is None:
            continue
        kind, result = match["kind"], match["type"]
        if match["start"] and kind != "all-reduce":
            # A start returns (operands, results, ...); that of all-reduce the results.
            result = elements_of(result)[1]
        source = _SOURCE.search(line)
        found.append(Collective(kind, size_of(result), source[1] if source else ""))
    return found


def totals(found: Iterable[Collective]) -> dict[str, Total]:
    """Return number and bytes per kind, for the kinds that occur.

    Args:
        found: as from `collectives`.

    Returns:
        A total per kind, in the order of `KINDS`.

    >>> totals([Collective("all-reduce", 8, ""), Collective("all-reduce", 4, "")])
    {'all-reduce': Total(count=2, bytes=12)}
    """
    sizes: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for one in found:
        sizes[one.kind].append(one.bytes)
    return {kind: Total(len(all_), sum(all_)) for kind, all_ in sizes.items() if all_}


def size_of(text: str) -> int:
    """Return the bytes in main memory of a type, an array or a tuple."""
    size = 0
    for name, bits, shape in _ARRAY.findall(text):
        count = 1
        for side in filter(None, shape.split(",")):
            count *= int(side)
        size += (count * (8 if name == "pred" else int(bits)) + 7) // 8
    return size


def elements_of(text: str) -> list[str]:
    """Return the outermost elements of a tuple type."""
    parts, depth = [""], 0
    for letter in text.strip()[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts

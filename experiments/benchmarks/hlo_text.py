"""Computations and instructions of a compiled program, read from its HLO text."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_HEAD = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<type>[^=%\"]+?) (?P<opcode>[a-z][\w-]*)\("
)
_CALLED = re.compile(
    r"(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%?([\w.-]+)")
_NUMBER = re.compile(r" = s32\[\]\S* constant\((\d+)\)")


class Instruction(NamedTuple):
    """One line of a program."""

    name: str
    type: str
    """Of its result, with the layout."""
    opcode: str
    operands: list[str]
    """Their names."""
    line: str


class Program(NamedTuple):
    """The computations of a program by name, and the name of the one that runs."""

    computations: dict[str, list[Instruction]]
    entry: str


def parse(hlo: str) -> Program:
    """Return the computations in the text of a compiled program.

    Args:
        hlo: what ``compiled.as_text()`` gives.

    >>> program = parse('''
    ... ENTRY %main (x: f32[2]) -> f32[2] {
    ...   %x = f32[2]{0} parameter(0)
    ...   ROOT %y = f32[2]{0} add(%x, %x)
    ... }
    ... ''')
    >>> program.computations["main"][1].operands
    ['x', 'x']
    """
    computations: dict[str, list[Instruction]] = {}
    entry, body = "", None
    for raw in hlo.splitlines():
        # Long tuples number their elements in comments.
        line = re.sub(r"/\*.*?\*/", "", raw)
        head = _HEAD.match(line)
        if head is not None and " = " not in line.split("->")[0]:
            body = computations.setdefault(head["name"], [])
            entry = head["name"] if head["entry"] else entry
            continue
        match = _INSTRUCTION.match(line)
        if match is not None and body is not None:
            operands = re.findall(
                r"%([\w.-]+)", _inside_parentheses(line[match.end() :])
            )
            name, type_, opcode = match["name"], match["type"], match["opcode"]
            body.append(Instruction(name, type_, opcode, operands, line))
    return Program(computations, entry)


def _inside_parentheses(text: str) -> str:
    depth = 1
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[:i]
    return text


def called_by(one: Instruction) -> list[str]:
    """Return the computations that an instruction names, but a loop's condition."""
    names = _CALLED.findall(one.line)
    for group in _BRANCHES.findall(one.line):
        names += [name.strip().lstrip("%") for name in group.split(",")]
    return names


def inside(
    program: Program, one: Instruction
) -> Iterator[tuple[Instruction, dict[str, str]]]:
    """Yield the instructions that an operation is fused of, with the types there."""
    for name in called_by(one):
        body = program.computations.get(name, [])
        types = {part.name: part.type for part in body}
        for part in body:
            yield part, types
            yield from inside(program, part)


def trips_of(program: Program, one: Instruction) -> int:
    """Return how often a loop runs, 1 if its condition does not say."""
    known = _TRIPS.search(one.line)
    if known is not None:
        return int(known[1])
    named = _CONDITION.search(one.line)
    body = program.computations.get(named[1], []) if named else []
    limits = [c for c in (_NUMBER.search(part.line) for part in body) if c]
    counts = any("direction=LT" in part.line for part in body)
    # A TPU's program says it in the condition only: i < 4, from 0 as JAX's scan has it.
    return int(limits[0][1]) if counts and len(limits) == 1 else 1

"""Work of a compiled program by kind, read from its scheduled HLO text."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from hlo import KINDS, elements_of, size_of
from hlo_text import Instruction, Program, called_by, inside, parse, trips_of

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SOURCE = re.compile(r'op_name="([^"]*)"')
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_ARRAY = re.compile(r"\w+\[([\d,]*)\]")
# A TPU's arrays in space 1 and above are on the chip, in front of its main memory.
_ON_CHIP = re.compile(r"\w+\[[\d,]*\]\{[^}]*S\([1-9]\)[^}]*\}")
# These move nothing: names for what is in memory already, and ends of what was started.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_MOVES = {"copy", "copy-start", "transpose", "slice-start"}
_UNCHANGED = {"bitcast", "constant", "convert", "parameter", "reshape", "tuple"}
_LOOPS = {"while", "call", "conditional"}


class Operation(NamedTuple):
    """One scheduled operation of a program, a kernel on GPUs."""

    kind: str
    """Of `kind_of`."""
    times: int
    """How often it runs: the trips of the loops around it."""
    bytes: int
    """That it reads and writes in main memory, each operand once."""
    flops: int
    """Of its convolutions and matrix products."""
    cycles: int
    """As the TPU's compiler estimates it; 0 where it says nothing."""
    source: str
    """The operation it was made for, as JAX names it."""


class Work(NamedTuple):
    """The operations of one kind."""

    operations: int
    bytes: int
    flops: int
    cycles: int


def operations(hlo: str) -> list[Operation]:
    """Return the scheduled operations of a compiled program.

    A loop counts as often as it runs, where the compiler knows that. Both branches of a
    conditional count.

    Args:
        hlo: what ``compiled.as_text()`` gives, from a compiler for GPUs or TPUs.

    Returns:
        One entry per operation of the entry computation and of the loops in it.

    >>> (one,) = operations('''
    ... ENTRY %main (x: f32[8,4], w: f32[4,2]) -> f32[8,2] {
    ...   %x = f32[8,4]{1,0} parameter(0)
    ...   %w = f32[4,2]{1,0} parameter(1)
    ...   ROOT %y = f32[8,2]{1,0} dot(%x, %w), lhs_contracting_dims={1}
    ... }
    ... ''')
    >>> one.bytes, one.flops
    (224, 128)
    """
    program = parse(hlo)
    return list(_scheduled(program, program.entry, 1))


def by_kind(found: list[Operation]) -> dict[str, Work]:
    """Return the sums per kind, most memory traffic first.

    >>> by_kind([Operation("copies", 4, 10, 0, 7, "")])
    {'copies': Work(operations=4, bytes=40, flops=0, cycles=28)}
    """
    sums: dict[str, Work] = {}
    for one in found:
        so_far = sums.get(one.kind, Work(0, 0, 0, 0))
        added = (1, one.bytes, one.flops, one.cycles)
        sums[one.kind] = Work(
            *(s + one.times * a for s, a in zip(so_far, added, strict=True))
        )
    return dict(sorted(sums.items(), key=lambda item: -item[1].bytes))


def kind_of(source: str, *, convolves: bool = False, multiplies: bool = False) -> str:
    """Return what part of the train step an operation belongs to.

    The step names its parts (`jax.named_scope`), and flax its layers; a transposed
    operation belongs to the backward pass.

    Args:
        source: the operation's name in JAX.
        convolves: whether it contains a convolution.
        multiplies: whether it contains a matrix product.

    >>> kind_of("jit(global_step)/views/while/body/closed_call/mul")
    'views: jitter'
    >>> kind_of("jit(global_step)/transpose(jvp(Network))/encoder/layer1_0/bn1/add")
    'BatchNorm and elementwise, backward'
    >>> kind_of("jit(global_step)/jvp(Network)/encoder/conv1/conv", convolves=True)
    'convolution, forward'
    """
    if re.search(r"\bviews\b", source):
        return "views: jitter" if "/while" in source else "views: the rest"
    if "Network" in source:
        way = "backward" if "transpose(" in source else "forward"
        what = "BatchNorm and elementwise"
        if convolves:
            what = "convolution"
        elif multiplies:
            what = "dense layer"
        return f"{what}, {way}"
    if re.search(r"\bloss\b", source):
        return "loss"
    if re.search(r"\bupdate\b", source):
        return "update"
    return "convolution, other" if convolves else "other"


def _scheduled(program: Program, name: str, times: int) -> Iterator[Operation]:
    body = program.computations[name]
    types = {one.name: one.type for one in body}
    for one in body:
        if one.opcode in _FREE or one.opcode.endswith(("-done", "-update")):
            continue
        if one.opcode in _LOOPS:
            often = times * trips_of(program, one)
            for called in called_by(one):
                yield from _scheduled(program, called, often)
            continue
        inner = list(inside(program, one))
        parts = [(one, types), *inner]
        flops = sum(_flops(part, of) for part, of in parts)
        opcodes = {one.opcode, *(part.opcode for part, _ in inner)}
        text = _SOURCE.search(one.line)
        source = text[1] if text else ""
        convolves = "convolution" in opcodes or "__cudnn$conv" in one.line
        kind = kind_of(source, convolves=convolves, multiplies=flops > 0)
        if one.opcode.removesuffix("-start") in KINDS:
            kind = "collectives"
        elif _only_moves(one, [part for part, _ in inner]):
            kind = "copies and layout changes"
        cycles = _CYCLES.search(one.line)
        read = sum(_in_memory(types[operand]) for operand in one.operands)
        yield Operation(
            kind=kind,
            times=times,
            bytes=read + _in_memory(_result(one)),
            flops=flops,
            cycles=int(cycles[1]) if cycles else 0,
            source=source,
        )


def _in_memory(text: str) -> int:
    return size_of(_ON_CHIP.sub("", text))


def _result(one: Instruction) -> str:
    """Return the type of what an operation writes."""
    if one.opcode.endswith("-start") and one.type.lstrip().startswith("("):
        # A start returns operands, results and a context; its operand is read above.
        return elements_of(one.type)[0]
    return one.type


def _only_moves(one: Instruction, inner: list[Instruction]) -> bool:
    if one.opcode in _MOVES:
        return True
    opcodes = {part.opcode for part in inner} - _UNCHANGED
    return one.opcode == "fusion" and bool(opcodes) and opcodes <= _MOVES


def _flops(one: Instruction, types: dict[str, str]) -> int:
    if one.opcode == "dot":
        lhs, contracted = _shape(types[one.operands[0]]), _CONTRACTED.search(one.line)
        assert contracted is not None
        depth = [lhs[int(i)] for i in contracted[1].split(",") if i]
        return 2 * _product(_shape(one.type)) * _product(depth)
    labels = _LABELS.search(one.line)
    if labels is None:
        return 0
    shapes = [_shape(types[operand]) for operand in one.operands[:2]]
    result = _shape(elements_of(one.type)[0] if "(" in one.type else one.type)
    if one.opcode == "convolution":
        # Per output: the window's positions times the channels that are summed. Holes
        # of a dilation are no work.
        depth = shapes[1][labels[2].index("i")]
        window = _WINDOW.search(one.line)
        fields = dict(part.split("=") for part in window[1].split()) if window else {}
        size = _product(_sides(fields.get("size", "1")))
        holes = _product(_sides(fields.get("lhs_dilate", "1")))
        return 2 * _product(result) * depth * size // holes
    if "__cudnn$conv" not in one.line:
        return 0
    # The three of a layer cost the same: outputs, times the kernel for one channel.
    if "BackwardFilter" in one.line:
        kernel, outputs = result, shapes[1]
    elif "BackwardInput" in one.line:
        kernel, outputs = shapes[1], shapes[0]
    else:
        kernel, outputs = shapes[1], result
    channels = kernel[labels[2].index("o")]
    return 2 * _product(outputs) * _product(kernel) // channels


def _sides(text: str) -> list[int]:
    return [int(side) for side in text.split("x")]


def _shape(text: str) -> list[int]:
    match = _ARRAY.search(text)
    return [int(side) for side in match[1].split(",") if side] if match else []


def _product(sides: list[int]) -> int:
    result = 1
    for side in sides:
        result *= side
    return result

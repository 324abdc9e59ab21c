"""Where the time of a step goes, by kind of operation, from a trace of the profiler.

The trace names operations of the compiled program, whose text says what they are: a
fusion counts as the most expensive kind of operation inside it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

# A fusion is of the first of these kinds that it contains.
KINDS = (
    "convolution",
    "matmul",
    "collective",
    "reduction",
    "elementwise",
    "copy/transpose",
    "other",
)
_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
    "collective-broadcast",
)
_REDUCTIONS = ("reduce", "reduce-window", "select-and-scatter")
_MOVES = (
    "copy",
    "transpose",
    "bitcast-convert",
    "reshape",
    "slice",
    "dynamic-slice",
    "dynamic-update-slice",
    "concatenate",
    "pad",
    "reverse",
    "gather",
    "scatter",
    "broadcast",
    "iota",
)
_NOTHING = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "domain")
# They contain operations that the trace lists as well.
_CONTAINERS = ("while", "call", "conditional", "async-start", "async-done")
_OTHER = ("sort", "rng", "rng-bit-generator", "infeed", "outfeed", "topk")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = .*? ([a-z][a-z0-9-]*)\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_CALLS = re.compile(r"(?:calls|to_apply)=%?([\w.-]+)")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
# Names of kernels, for those that a trace does not connect with the program.
_BY_NAME = (
    ("collective", r"nccl|all.?reduce|all.?gather|reduce.?scatter"),
    # cuDNN's changes of layout, before what else has its name.
    ("copy/transpose", r"nchwToNhwc|nhwcToNchw"),
    ("convolution", r"conv(?!ert)|fprop|dgrad|wgrad|winograd|cudnn"),
    ("matmul", r"gemm|cublas|cutlass|nvjet|matmul|\bdot"),
    ("copy/transpose", r"memcpy|memset|copy|transpose|concatenate|slice"),
    ("reduction", r"reduc"),
    ("elementwise", r"fusion|elementwise|loop"),
)


@dataclass(frozen=True)
class Profile:
    """Seconds of one step by kind of operation."""

    seconds: dict[str, float]
    """Of the kinds that occur, the largest first."""
    busy: float
    """Share of the time in which at least one operation ran."""
    slowest: tuple[tuple[str, str, float], ...]
    """Name, kind and seconds per step of the operations that take most."""

    @property
    def total(self) -> float:
        """Sum over all operations; those of several threads or streams all count."""
        return sum(self.seconds.values())


def kinds_of(hlo: str) -> dict[str, str | None]:
    """Return the kind of every operation in the text of a compiled program.

    Args:
        hlo: what ``compiled.as_text()`` gives.

    Returns:
        A kind of `KINDS` by the operation's name, None where only others inside it
        take time.

    >>> kinds_of('''
    ... %inside (p: f32[4]) -> f32[] {
    ...   %p = f32[4]{0} parameter(0)
    ...   %double = f32[4]{0} multiply(%p, %p)
    ...   ROOT %sum = f32[] reduce(%double, %zero), dimensions={0}, to_apply=%add
    ... }
    ... ENTRY %main (x: f32[4]) -> f32[] {
    ...   ROOT %fusion.1 = f32[] fusion(%x), kind=kLoop, calls=%inside
    ... }
    ... ''')["fusion.1"]
    'reduction'
    """
    lines: dict[str, list[tuple[str, str, str]]] = {}
    here: list[tuple[str, str, str]] = []
    for line in re.sub(r"/\*.*?\*/", "", hlo).splitlines():
        opened = _COMPUTATION.match(line)
        if opened:
            here = lines.setdefault(opened[1], [])
            continue
        found = _INSTRUCTION.match(line)
        if found:
            here.append((found[1], found[2], line))
    inside: dict[str, str | None] = {}

    def of_computation(name: str) -> str | None:
        if name not in inside:
            inside[name] = None  # a circle, which HLO does not have, would end here
            found = [of_line(opcode, line) for _, opcode, line in lines.get(name, ())]
            kinds = [kind for kind in found if kind is not None]
            inside[name] = min(kinds, key=KINDS.index, default="copy/transpose")
        return inside[name]

    def of_line(opcode: str, line: str) -> str | None:
        called = _CALLS.search(line)
        if opcode == "fusion" and called:
            return of_computation(called[1])
        target = _TARGET.search(line)
        return _of_opcode(opcode, target[1] if target else "")

    return {
        name: of_line(opcode, line)
        for rows in lines.values()
        for name, opcode, line in rows
    }


def _of_opcode(opcode: str, target: str) -> str | None:
    base = re.sub(r"-(start|done|update)$", "", opcode)
    if opcode in _CONTAINERS or base in _NOTHING:
        return None
    if base == "convolution":
        return "convolution"
    if base in ("dot", "ragged-dot"):
        return "matmul"
    if base in _COLLECTIVES:
        return "collective"
    if base in _REDUCTIONS:
        return "reduction"
    if base in _MOVES:
        return "copy/transpose"
    if base == "custom-call":
        return _of_name(target)
    return "other" if base in _OTHER else "elementwise"


def _of_name(name: str) -> str:
    """Return the kind that the name of a kernel suggests."""
    for kind, pattern in _BY_NAME:
        if re.search(pattern, name, re.IGNORECASE):
            return kind
    return "other"


def read_trace(folder: Path, hlo: str, *, steps: int) -> Profile:
    """Sum the times of a trace by kind of operation.

    Args:
        folder: as passed to ``jax.profiler.trace``; its newest trace is read.
        hlo: text of the program that was traced.
        steps: how often it ran.

    Raises:
        ValueError: if the trace has no operation of a device.
    """
    traces = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not traces:
        raise ValueError(f"{folder} has no trace of the profiler")
    planes = jax.profiler.ProfileData.from_file(str(traces[-1])).planes
    return summed(_events(planes), kinds_of(hlo), steps=steps)


def summed(
    events: Iterable[tuple[str, float, float]],
    kinds: dict[str, str | None],
    *,
    steps: int,
) -> Profile:
    """Sum operations by kind.

    Args:
        events: name, start and end in nanoseconds of every operation.
        kinds: as from `kinds_of`; others are judged by their names.
        steps: how many steps they are of.

    >>> events = [("dot.1", 0.0, 3e9), ("add.2", 3e9, 4e9), ("loop_add.7", 6e9, 8e9)]
    >>> found = summed(events, {"dot.1": "matmul", "add.2": "elementwise"}, steps=2)
    >>> found.seconds, found.busy
    ({'matmul': 1.5, 'elementwise': 1.5}, 0.75)
    """
    # A kernel inside a CUDA graph has the name of the operation with underscores.
    renamed = {name.replace(".", "_").replace("-", "_"): name for name in kinds}
    by_name: dict[str, float] = defaultdict(float)
    spans, of_name = [], {}
    for name, start, end in events:
        known = name if name in kinds else renamed.get(name, name)
        kind = kinds[known] if known in kinds else _of_name(name)
        if kind is None:
            continue
        of_name[name] = kind
        by_name[name] += (end - start) * 1e-9 / steps
        spans.append((start, end))
    if not spans:
        raise ValueError("the trace has no operation of a device; profile more steps")
    seconds: dict[str, float] = defaultdict(float)
    for name, value in by_name.items():
        seconds[of_name[name]] += value
    order = sorted(by_name, key=lambda name: -by_name[name])
    return Profile(
        dict(sorted(seconds.items(), key=lambda pair: -pair[1])),
        _covered(spans) / max(max(e for _, e in spans) - min(spans)[0], 1e-9),
        tuple((name, of_name[name], by_name[name]) for name in order[:20]),
    )


def _events(planes: Iterable[Any]) -> Iterable[tuple[str, float, float]]:
    """Yield name, start and end of the operations that devices ran."""
    ends: dict[str, list[float]] = defaultdict(list)
    found: list[tuple[str, float, float]] = []
    for plane in planes:
        on_device = plane.name.startswith("/device:")
        lines = list(plane.lines)
        # Other lines of such a plane repeat the same time as modules and steps.
        named = [line for line in lines if line.name == "XLA Ops"]
        for line in (named or lines) if on_device else lines:
            for event in line.events:
                start, stop = event.start_ns, event.start_ns + event.duration_ns
                operation = dict(event.stats).get("hlo_op")
                if operation is not None:
                    found.append((str(operation), start, stop))
                elif event.name.startswith("end: "):
                    ends[event.name.removeprefix("end: ")].append(stop)
                elif on_device and (named or line.name.startswith("Stream")):
                    name = event.name.partition(" = ")[0].lstrip("%")
                    found.append((name, start, stop))
    return _until_their_ends(found, ends)


def _until_their_ends(
    found: list[tuple[str, float, float]], ends: dict[str, list[float]]
) -> Iterable[tuple[str, float, float]]:
    """Extend what a CPU's trace shows as a start and an end in another thread."""
    ordered = {name: sorted(times) for name, times in ends.items()}
    for name, start, stop in sorted(found, key=lambda event: event[1]):
        times = ordered.get(name, [])
        while times and times[0] < start:
            times.pop(0)
        yield name, start, max(stop, times.pop(0)) if times else stop


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered

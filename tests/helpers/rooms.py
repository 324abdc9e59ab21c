"""The rooms of the package, and the imports between them, read from the source.

    python tests/helpers/rooms.py            print the table of rooms of this checkout
    python tests/helpers/rooms.py FOLDER     and of another one
    python tests/helpers/rooms.py --draw     redraw the picture in docs/architecture.md

The plan that the imports must keep to is `FLOORS`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ssljax"
# From the top down. A room may import the rooms of lower floors and no others: rooms of
# one floor are independent of each other.
FLOORS = (
    ("commands",),
    ("recipes",),
    ("reports", "benchmark", "exports"),
    ("protocols",),
    ("runs",),
    ("training",),
    ("methods",),
    ("analytic",),
    ("models", "data"),
    ("losses", "evaluation", "config"),
)
# The front door imports from every floor; the floors may import these names of it.
DOORS = ("__init__", "__main__")
FROM_THE_DOOR = {"__version__"}
# Arrows that the floors forbid and the package needs, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}
LONGEST = 300
# Longer files, each with the reason why it is one file.
LONG = {
    "ssljax/methods/table.py": "one row per method",
}


def modules(root: Path) -> dict[str, Path]:
    """Return the file of every module of the package under ``root``, by dotted name."""
    files = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports(name: str, path: Path, known: set[str]) -> Iterator[tuple[str, str, int]]:
    """Yield what a module imports of the package: module, name in it, line.

    Imports inside functions and under ``TYPE_CHECKING`` count, and so does a string
    that is the whole name of a module: lazy imports name it so.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        found: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) + 1 - node.level]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                # `from package import module` needs the module, not the package.
                whole = f"{base}.{alias.name}"
                found.append((whole, "") if whole in known else (base, alias.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = [(node.value, "")] if "." in node.value else []
        for target, what in found:
            if target in known and target != name:
                yield target, what, getattr(node, "lineno", 0)


def room(module: str, folder: str = PACKAGE) -> str:
    """Return the child of ``folder`` that holds a module; ``__init__`` is its own."""
    return module.removeprefix(folder).lstrip(".").split(".")[0] or "__init__"


def reach(arrows: set[tuple[str, str]]) -> dict[str, set[str]]:
    """Return everything that each name arrives at along the arrows."""
    ahead: dict[str, set[str]] = {}
    for start, end in arrows:
        ahead.setdefault(start, set()).add(end)
    reached = {}
    for start in ahead:
        seen, left = set(), [start]
        while left:
            new = ahead.get(left.pop(), set()) - seen
            seen |= new
            left += new
        reached[start] = seen
    return reached


def circles(arrows: set[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of names that arrive at each other."""
    reached = reach(arrows)
    groups = {
        tuple(sorted(n for n in ends if start in reached.get(n, ())))
        for start, ends in reached.items()
    }
    return [list(group) for group in sorted(groups) if group]


def floors(arrows: set[tuple[str, str]]) -> int:
    """Return the number of rooms on the longest way down; a circle is one floor."""
    reached = reach(arrows)

    def depth(name: str) -> int:
        below = [n for n in reached.get(name, ()) if name not in reached.get(n, ())]
        return 1 + max(map(depth, below), default=0)

    return max((depth(name) for name in reached), default=1)


def complaints(root: Path) -> list[str]:
    """Return a line for every import that breaks the plan, and for every circle."""
    files = modules(root)
    floor = {name: i for i, names in enumerate(reversed(FLOORS)) for name in names}
    lines, arrows = [], set()
    for child in sorted({room(name) for name in files} - {*floor, *DOORS}):
        lines.append(f"{PACKAGE}/{child} is not on the plan")
    for name, path in files.items():
        for target, what, line in imports(name, path, set(files)):
            here, there = room(name), room(target)
            where = f"{path.relative_to(root)}:{line} imports {target}"
            if there in DOORS:
                if here not in DOORS and what not in FROM_THE_DOOR:
                    lines.append(f"{where}, the front door")
                continue
            arrows.add((name, target))
            if here == there or not {here, there} <= floor.keys():
                continue
            if floor[here] <= floor[there] and (here, there) not in EXCEPTIONS:
                same = floor[here] == floor[there]
                lines.append(f"{where}, {'on the same floor' if same else 'upward'}")
    return lines + [f"circle: {', '.join(group)}" for group in circles(arrows)]


def lengths(root: Path) -> dict[str, int]:
    """Return the number of lines of every file above `LONGEST`."""
    counted = {
        path.relative_to(root).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in modules(root).values()
    }
    return {name: count for name, count in counted.items() if count > LONGEST}


def table(root: Path) -> str:
    """Return the table of folders: rooms, arrows, floors, circles and long files."""
    files, long = modules(root), lengths(root)
    arrows = {
        (name, target)
        for name, path in files.items()
        for target, _, _ in imports(name, path, set(files))
        if room(target) not in DOORS
    }
    rows = [
        "| folder | rooms | arrows | floors | circles | files above 300 lines |",
        "|---|---|---|---|---|---|",
    ]
    for folder in sorted({path.parent for path in files.values()}):
        place = folder.relative_to(root).as_posix()
        inside = place.replace("/", ".")
        # An `__init__` is the front of its folder, no room in it.
        between = {
            (room(a, inside), room(b, inside))
            for a, b in arrows
            if a.startswith(inside + ".") and b.startswith(inside + ".")
        }
        between = {(a, b) for a, b in between if a != b and not {a, b} & {*DOORS}}
        rooms = {room(n, inside) for n in files if n.startswith(inside + ".")}
        named = [
            f"{Path(file).name} {count}"
            for file, count in long.items()
            if Path(file).parent.as_posix() == place
        ]
        rows.append(
            f"| {place}/ | {len(rooms - {*DOORS})} | {len(between)} "
            f"| {floors(between)} | {len(circles(between))} | {', '.join(named)} |"
        )
    rows += ["", f"{len(files)} files, {len(arrows)} imports between them"]
    rows += [f"circle of files: {', '.join(group)}" for group in circles(arrows)]
    return "\n".join(rows)


def picture(root: Path) -> str:
    """Return the floors and the shortest arrows between their rooms, for mermaid.

    An arrow that a longer way down implies is left out.
    """
    files = modules(root)
    arrows = {
        (room(name), room(target))
        for name, path in files.items()
        for target, _, _ in imports(name, path, set(files))
        if not {room(name), room(target)} & {*DOORS}
    }
    arrows = {(a, b) for a, b in arrows if a != b}
    reached = reach(arrows)
    implied = {(a, b) for a, c in arrows for b in reached.get(c, ())}
    rows = ["flowchart TD"]
    # Links that are not drawn put every floor below the one before.
    rows += [f"  {' & '.join(a)} ~~~ {' & '.join(b)}" for a, b in pairwise(FLOORS)]
    rows += [f"  {a} --> {b}" for a, b in sorted(arrows - implied)]
    return "\n".join(rows)


def redraw(page: str, drawn: str) -> str:
    """Return the page with another picture."""
    return re.sub(
        r"(?<=^```mermaid\n).*?(?=^```)", drawn + "\n", page, flags=re.M | re.S
    )


if __name__ == "__main__":
    words = sys.argv[1:]
    if words == ["--draw"]:
        architecture = ROOT / "docs" / "architecture.md"
        architecture.write_text(redraw(architecture.read_text(), picture(ROOT)))
    else:
        print(table(Path(words[0]).absolute() if words else ROOT))

"""The package keeps to its plan: no import up, no circle, no other room, as drawn."""

import ast
import re

import pytest
from paths import DOCS, ROOT
from rooms import FLOORS, LONG, PACKAGE, complaints, lengths, modules, picture, table

from ssljax.runs.folder import RunFolder

PAGE = (DOCS / "architecture.md").read_text("utf-8")


def test_the_imports_keep_to_the_plan():
    assert complaints(ROOT) == []


def test_every_folder_is_a_package():
    """Else setuptools leaves it out of the wheel."""
    folders = {path.parent for path in modules(ROOT).values()}
    assert [str(f) for f in folders if not (f / "__init__.py").is_file()] == []


def test_long_files_have_a_reason():
    assert lengths(ROOT).keys() == LONG.keys(), lengths(ROOT)


def test_the_table_has_a_row_for_every_folder():
    rows = table(ROOT).splitlines()
    assert rows[2].startswith("| ssljax/ | ") and " | 0 |" in rows[2]
    assert {f"{PACKAGE}/{name}/" for names in FLOORS for name in names} <= {
        row.split(" | ")[0].removeprefix("| ") for row in rows if row[:1] == "|"
    }
    assert not any(row.startswith("circle") for row in rows)


@pytest.fixture
def tree(tmp_path):
    """A package of two floors and three rooms that keeps to the plan."""

    def write(texts):
        for name, text in texts.items():
            path = tmp_path / PACKAGE / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    down = "from ssljax.losses.pairs import loss\nimport ssljax.config.schema"
    pairs = "import jax\nfrom ssljax import __version__"
    write({"runs.loop": down, "losses.pairs": pairs, "config.schema": ""})
    for folder in ("", "runs", "losses", "config"):
        (tmp_path / PACKAGE / folder / "__init__.py").touch()
    return write


def test_a_tree_that_keeps_to_the_plan_passes(tree):
    assert complaints(tree({})) == []
    assert "| ssljax/ | 3 | 2 | 2 | 0 |  |" in table(tree({}))


@pytest.mark.parametrize(
    "text",
    [
        "from ssljax.runs.loop import x",
        "from ssljax.runs import loop",
        "from ..runs import loop",
        "import ssljax.runs.loop as loop",
        "def later():\n    from ssljax.runs import loop",
        "if TYPE_CHECKING:\n    import ssljax.runs.loop",
        "LAZY = {'loop': 'ssljax.runs.loop'}",
    ],
)
def test_a_planted_upward_arrow_is_found(text, tree):
    root = tree({"losses.pairs": text, "runs.loop": ""})
    line = text.count("\n") + 1
    assert complaints(root) == [
        f"ssljax/losses/pairs.py:{line} imports ssljax.runs.loop, upward"
    ]


def test_a_planted_circle_is_found(tree):
    root = tree(
        {
            "losses.pairs": "from ssljax.losses import norm",
            "losses.norm": "def later():\n    from ssljax.losses.root import f",
            "losses.root": "from ssljax.losses.pairs import loss",
        }
    )
    names = "ssljax.losses.norm, ssljax.losses.pairs, ssljax.losses.root"
    assert complaints(root) == [f"circle: {names}"]
    assert f"circle of files: {names}" in table(root)


def test_a_circle_through_the_front_of_a_folder_is_found(tree):
    root = tree(
        {
            "losses.__init__": "from ssljax.losses.pairs import loss",
            "losses.pairs": "from ssljax.losses import loss",
        }
    )
    assert complaints(root) == ["circle: ssljax.losses, ssljax.losses.pairs"]


def test_an_arrow_between_neighbours_is_found(tree):
    root = tree({"losses.pairs": "from ssljax.config import schema"})
    assert complaints(root) == [
        "ssljax/losses/pairs.py:1 imports ssljax.config.schema, on the same floor"
    ]


def test_the_front_door_and_other_rooms_are_found(tree):
    root = tree({"losses.pairs": "from ssljax import pretrain", "utils": "import os"})
    assert complaints(root) == [
        "ssljax/utils is not on the plan",
        "ssljax/losses/pairs.py:1 imports ssljax, the front door",
    ]


def defined(path):
    """Names that a file defines or imports, methods and fields as ``Class.name``."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    names.add(f"{node.name}.{inner.name}")
                if isinstance(inner, ast.AnnAssign):
                    names.add(f"{node.name}.{ast.unparse(inner.target)}")
    return names


def test_every_file_and_function_on_the_page_exists():
    named = re.findall(r"`((?:ssljax|tests)/[\w./-]*)(?::([\w.]+))?`", PAGE)
    assert len(named) > 30
    for path, name in named:
        found = sorted(ROOT.glob(path.rstrip("/")))
        assert found, path
        if name:
            assert name in defined(found[0]), f"{path}:{name}"


def test_the_page_has_the_picture_of_the_imports():
    assert f"```mermaid\n{picture(ROOT)}\n```" in PAGE, (
        "python tests/helpers/rooms.py --draw"
    )


def test_the_page_lists_what_a_run_folder_holds():
    folder = RunFolder("run")
    paths = [x for x in vars(folder).values() if isinstance(x, type(folder.path))]
    for path in paths:
        if path != folder.path:
            assert re.search(rf"^\| `{re.escape(path.name)}/?`", PAGE, re.M), path


def test_an_arrow_that_others_imply_is_not_drawn(tree):
    root = tree({"training.step": "import ssljax.losses.pairs"})
    tree({"runs.loop": "import ssljax.training.step, ssljax.losses.pairs"})
    drawn = picture(root).splitlines()
    assert [row.strip() for row in drawn if "-->" in row] == [
        "runs --> training",
        "training --> losses",
    ]

"""The notebooks run from top to bottom, in a fresh namespace, as a reader runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "experiments/colab").glob("*.ipynb"))


def code_of(notebook: Path) -> str:
    """Return the code cells as one program, without the commands of notebooks."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return "\n\n".join(text for text in code if not text.startswith("%"))


def test_there_are_notebooks_without_leftovers():
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        assert len({cell["id"] for cell in cells}) == len(cells)
        assert not any(cell.get("execution_count") for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path):
    # In a process of its own: a notebook sets JAX's defaults.
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # which a few steps do not repay
        "SSLJAX_SMALL": "1",
    }
    environment.pop("XLA_FLAGS", None)
    program = tmp_path / "notebook.py"
    program.write_text(code_of(notebook), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]

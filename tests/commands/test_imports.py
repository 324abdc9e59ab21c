"""What a command loads before it does anything."""

import subprocess
import sys

import pytest

# Each takes a second or so of CPU time, which every command would pay.
_LATER = ("scipy.stats", "scipy.optimize", "diffrax", "matplotlib", "tensorstore")
_STARTS = ("ssljax.runs.pretrain", "ssljax.protocols.evaluate", "ssljax.commands.main")


@pytest.mark.slow
def test_a_command_loads_solvers_and_plots_where_it_needs_them():
    program = f"import sys, {', '.join(_STARTS)}; print(*sys.modules)"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "jax" in loaded
    assert not set(_LATER) & set(loaded)

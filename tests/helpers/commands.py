"""Run the command as users do: in its own process, with full optimisation by XLA.

For a run of minutes, the test suite's quick compilation costs more than it saves.
"""

import os
import subprocess
import sys

import jax

PROGRAM = "from ssljax.commands.main import main; raise SystemExit(main())"


def user_environment():
    """Return the environment of this process without the suite's XLA flags."""
    kept = {name: x for name, x in os.environ.items() if name != "XLA_FLAGS"}
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(
            jax.config.values["jax_compilation_cache_dir"]
        ),
    }


def ssljax(*words):
    """Run ``ssljax WORDS`` and return its output; a failing command fails the test."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        env=user_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

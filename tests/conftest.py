"""JAX's sharp edges as errors, eight CPU devices, float32 unless a test asks."""

import importlib.metadata
import os

# Read when the backend starts; a config update after the first array is too late.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The simpler code generator compiles small programs in 40 % of the time. Other versions
# may not have it, and XLA ends a process over a flag that it does not know.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = (
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
        + os.environ.get("XLA_FLAGS", "")
    )

import gc
import itertools
import tempfile
from pathlib import Path

import jax
import pytest
import rare_collection  # noqa: F401

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling takes most of the time here, and the same programs recur between tests,
# workers and subprocesses.
CACHE = Path(tempfile.gettempdir()) / f"ssljax-tests-{os.getuid()}-{jax.__version__}"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)  # for subprocesses
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
# Programs run a few times on small arrays: most of the time would go into optimising
# them. `make doctest`, which runs without this file, does the same.
jax.config.update("jax_disable_most_optimizations", True)


_finished = itertools.count(1)


def pytest_runtest_logfinish():
    # Compiled programs keep millions of objects alive, and after some hundred tests a
    # full collection would look at them for seconds: once seen, they are set aside.
    if next(_finished) % 50 == 0:
        gc.collect()
        gc.freeze()


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield

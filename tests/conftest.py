"""JAX's sharp edges as errors, eight CPU devices, float32 unless a test asks."""

import os

# Read when the backend starts; a config update after the first array is too late.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield

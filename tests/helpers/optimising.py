"""Compile as users do, where the suite's quick compilation costs more than it saves."""

import contextlib

import jax


@contextlib.contextmanager
def optimising():
    """Compile with XLA's full optimisation while entered; conftest.py turns it off."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)

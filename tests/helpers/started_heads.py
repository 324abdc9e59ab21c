"""Linear prediction heads, initialised and applied."""

import functools

import jax
import jax.numpy as jnp

from ssljax.models.linear_heads import (
    LinearPredictor,
)


@functools.partial(jax.jit, static_argnames="head")
def predict(head, variables, z):
    return head.apply(variables, z, train=True)


def matrix_of(head, variables, d):
    """The head's matrix E, read off its effect: p = z E^T."""
    z = jnp.eye(d, dtype=jax.tree.leaves(variables)[0].dtype)
    return predict(head, variables, z).T


def started(kind, d=4, seed=0, **options):
    head = LinearPredictor(kind=kind, **options)
    return head, initialised(head, d, jax.random.key(seed))


@functools.partial(jax.jit, static_argnames=("head", "d"))
def initialised(head, d, key):
    return head.init(key, jnp.ones((2, d)), train=True)

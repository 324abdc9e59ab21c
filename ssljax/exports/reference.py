"""Run exported arrays in PyTorch's conventions, without PyTorch.

Channels first, explicit padding on all four sides, kernels ``[out, in, h, w]``: what
torch would compute from a file, for machines that have no torch.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssljax.exports.description import Description
from ssljax.exports.operations import EPSILON, IMAGES, Operation, operations


def features(
    description: Description, arrays: Mapping[str, np.ndarray], images: np.ndarray
) -> np.ndarray:
    """Compute the features of normalised images from arrays in torchvision's names.

    Args:
        description: the encoder.
        arrays: as `ssljax.exports.names.to_torch` returns them.
        images: float32 ``[N, C, H, W]``, normalised.

    Returns:
        float32 ``[N, F]``.

    Raises:
        KeyError: if an array is missing.
    """
    steps = operations(description)

    def run(weights: Mapping[str, jax.Array], images: jax.Array) -> jax.Array:
        known = {IMAGES: images}
        for step in steps:
            known[step.output] = _apply(step, known, weights)
        return known[steps[-1].output].mean(axis=(2, 3))

    # One program for all: compiling fifty small ones takes longer.
    return np.asarray(jax.jit(run)(dict(arrays), images))


def _apply(
    step: Operation,
    known: Mapping[str, jax.Array],
    weights: Mapping[str, jax.Array],
) -> jax.Array:
    x = known[step.inputs[0]]
    sides = ((step.padding, step.padding), (step.padding, step.padding))
    if step.kind == "relu":
        return jnp.maximum(x, 0)
    if step.kind == "add":
        return x + known[step.inputs[1]]
    if step.kind == "max_pool":
        window = (1, 1, step.kernel, step.kernel)
        strides = (1, 1, step.stride, step.stride)
        padding = ((0, 0), (0, 0), *sides)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)
    y = lax.conv_general_dilated(
        x,
        weights[f"{step.conv}.weight"],
        (step.stride, step.stride),
        sides,
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        precision=lax.Precision.HIGHEST,
    )
    mean, var, scale, bias = (
        weights[f"{step.norm}.{name}"][None, :, None, None]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (y - mean) / jnp.sqrt(var + EPSILON) * scale + bias

"""Multi-layer perceptrons: the projectors and predictors on top of an encoder."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Documented as members of this module too, beside the other heads.
from ssljax.models.linear_heads import OffDiagonalPredictor  # noqa: F401
from ssljax.models.predictors import direct_predictor  # noqa: F401

OUTPUT_NORMS = ("none", "affine", "plain")


def parse_layers(spec: str) -> tuple[int, ...]:
    """Parse layer widths from the papers' notation.

    Args:
        spec: widths joined by "-", the output last, e.g. "8192-8192-8192"; "none" or
            "" for no layers.

    Returns:
        The widths; ``()`` is the identity.

    Raises:
        ValueError: if a part is not a positive whole number.

    >>> parse_layers("2048-2048-128")
    (2048, 2048, 128)
    >>> parse_layers("none")
    ()
    """
    text = spec.strip()
    if text in ("", "none"):
        return ()
    parts = [part.strip() for part in text.split("-")]
    for part in parts:
        if not (part.isascii() and part.isdigit() and int(part) > 0):
            raise ValueError(
                f"layers {spec!r}: {part!r} is not a positive whole number; write "
                'widths joined by "-", e.g. "2048-2048-128", or "none"'
            )
    return tuple(int(part) for part in parts)


class MLP(nn.Module):
    """Apply Linear, BatchNorm and ReLU for every hidden layer, then a last Linear.

    A Linear before a BatchNorm never has a bias: the normalisation would remove it.
    The k-th pair is named ``linear{k}``, ``bn{k}``, counted from 1. Kernels start from
    lecun-normal (standard deviation ``1 / sqrt(fan_in)``), biases from zero. Parameters
    and statistics are float32 whatever ``dtype`` is.

    Attributes:
        layers: widths, the output last; ``()`` is the identity. See `parse_layers`.
        hidden_norm: BatchNorm between a hidden Linear and its ReLU.
        output_norm: "none", "affine" (BatchNorm with scale and bias) or "plain"
            (without), computed in float32.
        hidden_bias: biases of hidden layers, used only if ``hidden_norm`` is off.
        output_bias: bias of the last layer, used only if ``output_norm`` is "none".
        dtype: type of the computation, float32 or bfloat16.
        axis_name: mapped axis over which BatchNorm averages; None for the batch as
            given, which is the global batch under ``jax.jit``.

    >>> import jax
    >>> head = MLP((512, 128))
    >>> variables = jax.eval_shape(
    ...     lambda x: head.init(jax.random.key(0), x, train=False), jnp.ones((2, 64))
    ... )
    >>> sorted(variables["params"])
    ['bn1', 'linear1', 'linear2']
    """

    layers: tuple[int, ...]
    hidden_norm: bool = True
    output_norm: str = "none"
    hidden_bias: bool = True
    output_bias: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map features to embeddings.

        Args:
            x: features ``[N, F]``, floating point.
            train: normalise with the batch statistics and update the running ones
                (``mutable=["batch_stats"]``); otherwise use the running ones.

        Returns:
            Embeddings ``[N, layers[-1]]``, float32.

        Raises:
            ValueError: for an unknown ``output_norm``, or features that are not [N, F].
        """
        if self.output_norm not in OUTPUT_NORMS:
            raise ValueError(
                f"output_norm must be one of {', '.join(OUTPUT_NORMS)}, "
                f"got {self.output_norm!r}"
            )
        if x.ndim != 2:
            raise ValueError(f"features must be [N, F], got shape {x.shape}")

        def norm(k: int, **options: Any) -> nn.BatchNorm:
            # Near collapse the mean is far larger than the spread, and the fast
            # variance E[x^2] - E[x]^2 loses all digits; [N, D] is small enough for
            # two passes.
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                axis_name=self.axis_name,
                use_fast_variance=False,
                name=f"bn{k}",
                **options,
            )

        last = len(self.layers)
        for k, width in enumerate(self.layers, start=1):
            if k < last:
                normed, bias = self.hidden_norm, self.hidden_bias
            else:
                normed, bias = self.output_norm != "none", self.output_bias
            x = nn.Dense(
                width, use_bias=bias and not normed, dtype=self.dtype, name=f"linear{k}"
            )(x)
            if k < last:
                if self.hidden_norm:
                    x = norm(k, dtype=self.dtype)(x)
                x = nn.relu(x)
        # Losses are computed in float32, and so is the norm in front of them.
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if self.output_norm != "none" and self.layers:
            affine = self.output_norm == "affine"
            x = norm(last, use_scale=affine, use_bias=affine)(x)
        return x

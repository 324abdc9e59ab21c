"""Linear prediction heads of which a part is trained.

All of them map ``[N, D]`` to ``[N, D]`` and have no bias.
"""

from dataclasses import field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.losses.numerics import at_least_float32, matmul

LINEAR_PREDICTORS = (
    "identity",
    "diagonal",
    "off_diagonal",
    "symmetric",
    "full",
    "random",
)
# Rows are outputs, so the fan-in is the last axis.
_LECUN_NORMAL = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)


class LinearPredictor(nn.Module):
    """Multiply by a matrix of which a part is trained: ``p = z E^T``.

    ``E[j, r]`` is the weight of input r in output j. The trained part by ``kind``:

    - "identity": nothing, ``E = I``, no parameters;
    - "diagonal": the diagonal, starting at 1 (``diagonal``, ``[D]``);
    - "off_diagonal": all but the diagonal, starting at 0 (``off_diagonal``,
      ``[D (D - 1)]``, row by row); the diagonal is a constant 1 for any optimizer;
    - "symmetric": the symmetric part of such a matrix, so that ``E[j, r]`` and
      ``E[r, j]`` move together by the mean of their gradients;
    - "full": the whole matrix, starting at the identity (``matrix``, ``[D, D]``);
    - "random": the whole matrix, starting at lecun-normal (``matrix``, ``[D, D]``).

    The first four keep their parameters as vectors. Recipes treat vectors like biases,
    with neither weight decay nor a trust ratio: decay would pull ``E`` to the identity,
    and a trust ratio would freeze entries that start at zero.

    The paper puts the head behind BatchNorm without scale and bias (a projector with
    ``output_norm="plain"``). Its theory also normalises the prediction:
    ``output_norm="plain"`` here, which makes "diagonal" the identity.

    Attributes:
        kind: the part that is trained, one of `LINEAR_PREDICTORS`.
        output_norm: "none", "affine" (BatchNorm with scale and bias) or "plain"
            (without).
        axis_name: mapped axis over which BatchNorm averages, as in `MLP`.

    Source: Wen and Li, "The mechanism of prediction head in non-contrastive
    self-supervised learning", NeurIPS 2022.

    >>> head = LinearPredictor(kind="full")
    >>> p, _ = head.init_with_output(jax.random.key(0), 2 * jnp.eye(2), train=True)
    >>> p.tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """

    kind: str = "full"
    output_norm: str = "none"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool) -> jax.Array:
        """Map projections to predictions.

        Args:
            z: projections, ``[N, D]``, any float type.
            train: see `MLP`; used only by the output norm.

        Returns:
            Predictions ``[N, D]``, float32 or wider.

        Raises:
            ValueError: for an unknown ``kind`` or ``output_norm``, or projections that
                are not [N, D].
        """
        if self.kind not in LINEAR_PREDICTORS:
            raise ValueError(
                f"kind must be one of {', '.join(LINEAR_PREDICTORS)}, got {self.kind!r}"
            )
        if self.output_norm not in ("none", "affine", "plain"):
            raise ValueError(
                "output_norm must be one of none, affine, plain, "
                f"got {self.output_norm!r}"
            )
        if z.ndim != 2:
            raise ValueError(f"projections must be [N, D], got shape {z.shape}")
        p, d = at_least_float32(z), z.shape[1]
        if self.kind == "diagonal":
            ones = nn.initializers.ones
            p = p * self.param("diagonal", ones, (d,), jnp.float32)[None]
        elif self.kind in ("off_diagonal", "symmetric"):
            entries = self.param(
                "off_diagonal", nn.initializers.zeros, (d * (d - 1),), jnp.float32
            )
            matrix = _unit_diagonal(entries, d)
            if self.kind == "symmetric":
                matrix = 0.5 * (matrix + matrix.T)
            p = matmul(p, matrix.T)
        elif self.kind in ("full", "random"):
            start = _identity if self.kind == "full" else _LECUN_NORMAL
            p = matmul(p, self.param("matrix", start, (d, d), jnp.float32).T)
        if self.output_norm != "none":
            affine = self.output_norm == "affine"
            p = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                axis_name=self.axis_name,
                use_fast_variance=False,
                use_scale=affine,
                use_bias=affine,
                name="bn1",
            )(p)
        return p


class OffDiagonalPredictor(LinearPredictor):
    """Add trained off-diagonal entries to the identity; the diagonal stays 1.

    A `LinearPredictor` whose kind is fixed to "off_diagonal".

    Attributes:
        output_norm: "none", "affine" or "plain" BatchNorm behind the matrix.
        axis_name: mapped axis over which BatchNorm averages, as in `MLP`.

    Source: Wen and Li, "The mechanism of prediction head in non-contrastive
    self-supervised learning", NeurIPS 2022.

    >>> borrow = {"params": {"off_diagonal": jnp.array([0.0, 0.5])}}  # E[0, 1], E[1, 0]
    >>> z = jnp.array([[2.0, 3.0]])
    >>> OffDiagonalPredictor().apply(borrow, z, train=True).tolist()
    [[2.0, 4.0]]
    """

    kind: str = field(default="off_diagonal", init=False)


def _unit_diagonal(entries: jax.Array, width: int) -> jax.Array:
    """Build the square matrix with a unit diagonal and these entries elsewhere."""
    # Row by row, the matrix reads: (a one, D entries) D - 1 times, then a last one. A
    # reshape of constants and entries keeps the ones exact under any optimizer.
    one = jnp.ones((width - 1, 1), entries.dtype)
    body = jnp.concatenate([one, entries.reshape(width - 1, width)], axis=1)
    flat = jnp.concatenate([body.reshape(-1), jnp.ones((1,), entries.dtype)])
    return flat.reshape(width, width)


def _identity(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
    del key
    return jnp.eye(shape[0], dtype=dtype)

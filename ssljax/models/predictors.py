"""Linear predictors: computed from the embeddings' covariance, or partly trained.

All of them map ``[N, D]`` to ``[N, D]`` and have no bias. The closed form is a matrix
that multiplies from the right, ``p = z W``; what carries it from step to step is a
covariance, see `update_covariance`.
"""

import math
from dataclasses import field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.losses.numerics import at_least_float32, matmul, require_not_negative

CONVENTIONS = ("fmi", "luckmatters")
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


def direct_predictor(
    covariance: jax.Array,
    *,
    exponent: float = 0.5,
    epsilon: float = 0.0,
    convention: str = "fmi",
) -> jax.Array:
    """Closed-form predictor: a power of the embeddings' covariance.

    With ``C = U diag(s) U^T`` and ``r = max(s, 0) / max(s)``, the predictor is
    ``W = U diag(lambda) U^T``. Two codes differ in ``lambda``:

    - "fmi" (fmi-basel/implicit-var-reg): ``(r + epsilon)^exponent``;
    - "luckmatters" (facebookresearch/luckmatters): ``max(r^exponent + epsilon, 1e-4)``,
      except for exponent 1, which is ``C + epsilon I``, neither normalised nor clipped.

    DirectPred is ``exponent=0.5`` (luckmatters' recipe has ``epsilon=0.01``).
    DirectCopy is ``exponent=1, epsilon=0.25``, in "fmi" ``C / |C|_2 + epsilon I``; it
    needs no eigenvectors. In "fmi" half the exponent gives the square root of ``W``.

    Guards: ``C`` is divided by its largest entry and symmetrised before it is
    decomposed, so that its scale neither overflows nor underflows; negative eigenvalues
    count as 0; in a covariance without a normal number in it all ``r`` are 0, and ``W``
    is ``lambda(0) I``. Rounding fills a null space: with about 4e-4 for exponent 0.5 in
    float32. NaN or infinity in ``C`` is not hidden, so that the loss reports it.

    Args:
        covariance: second moment or covariance ``C`` of the embeddings, ``[D, D]``,
            positive semi-definite up to rounding, see `update_covariance`.
        exponent: power of the eigenvalues, > 0; a number, not an array.
        epsilon: regulariser, >= 0. Under a Euclidean loss ``epsilon > 0`` in "fmi" puts
            all eigenvalues above 1 at isotropy, and the embeddings shrink for ever.
        convention: "fmi" or "luckmatters".

    Returns:
        ``W``, ``[D, D]``, float32 or wider, exactly symmetric. No gradient flows
        through it: that of the eigenvectors is infinite at isotropy.

    Raises:
        ValueError: for a matrix that is not square, an unknown convention, or an
            exponent or epsilon out of its range.

    Source: Tian, Chen and Ganguli, "Understanding self-supervised learning dynamics
    without contrastive pairs", ICML 2021 (DirectPred); Wang et al., "Towards
    demystifying representation learning with non-contrastive self-supervision", 2021
    (DirectCopy); Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023.

    >>> w = direct_predictor(jnp.diag(jnp.array([8.0, 2.0])))
    >>> [round(float(x), 4) for x in jnp.diagonal(w)]  # sqrt(1), sqrt(1 / 4)
    [1.0, 0.5]
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}"
        )
    if not exponent > 0:
        raise ValueError(f"exponent must be positive, got {exponent}")
    require_not_negative("epsilon", epsilon)
    c = jax.lax.stop_gradient(at_least_float32(jnp.asarray(covariance)))
    if c.ndim != 2 or c.shape[0] != c.shape[1]:
        raise ValueError(f"the covariance must be [D, D], got shape {list(c.shape)}")
    identity = jnp.eye(c.shape[0], dtype=c.dtype)
    if exponent == 1 and convention == "luckmatters":
        return jax.lax.stop_gradient(0.5 * c + 0.5 * c.T + epsilon * identity)

    size = jnp.max(jnp.abs(c))
    # Written so that NaN is not taken for zero.
    empty = size <= jnp.finfo(c.dtype).tiny
    c = jnp.where(empty, 0.0, c) / jnp.where(empty, 1.0, size)
    c = 0.5 * (c + c.T)
    if exponent == 1:
        w = c / _or_one(_largest_eigenvalue(c)) + epsilon * identity
    else:
        s, u = jnp.linalg.eigh(c)
        ratio = jnp.maximum(s, 0.0) / _or_one(s[-1])
        if convention == "fmi":
            eigenvalues = (ratio + epsilon) ** exponent
        else:
            eigenvalues = jnp.maximum(ratio**exponent + epsilon, 1e-4)
        w = matmul(u * eigenvalues[None, :], u.T)
    return jax.lax.stop_gradient(0.5 * (w + w.T))


def _largest_eigenvalue(c: jax.Array) -> jax.Array:
    """Of a positive semi-definite matrix, by matrix products alone.

    Squared again and again, the matrix becomes the projector on its top eigenspace,
    which a further square leaves alone. Where the spectrum never separates, the power
    reached at last is so high that an eigenvalue which still counts is as near to the
    largest as rounding is.
    """
    # One eigenvalue above D - 1 equal ones moves the normalised matrix by its lead
    # over sqrt(D) only: at first too little to be told from standing still.
    least = 6 + math.ceil(math.log2(c.shape[0]) / 2)
    most, rounding = jnp.finfo(c.dtype).nmant + 2, 16 * jnp.finfo(c.dtype).eps

    def moving(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        times, _, change = carry
        return (times < most) & ((times < least) | (change > rounding))

    def square(carry: tuple[jax.Array, jax.Array, jax.Array]):
        times, b, _ = carry
        squared = matmul(b, b)
        squared = squared / _or_one(jnp.linalg.norm(squared))
        return times + 1, squared, jnp.linalg.norm(squared - b)

    start = c / _or_one(jnp.linalg.norm(c))
    carry = (jnp.int32(0), start, jnp.asarray(jnp.inf, c.dtype))
    top = jax.lax.while_loop(moving, square, carry)[1]
    return jnp.sum(top * c) / _or_one(jnp.trace(top))


def update_covariance(
    previous: jax.Array, z: jax.Array, *, momentum: float, center: bool = False
) -> jax.Array:
    """Running second moment of the embeddings, from which `direct_predictor` is made.

    Start from zeros. As in both codes there is no correction for that start, of which
    a normalised predictor is independent. The published order is to update first and to
    predict with the result.

    Args:
        previous: the moment so far, ``[D, D]``.
        z: projector outputs of the global batch, ``[N, D]``, any float type.
            implicit-var-reg updates once per view, luckmatters once with both views'
            rows stacked. Under ``pmap`` or ``shard_map`` gather them first.
        momentum: weight of the past, in [0, 1]: 0.998 with a moving target and 0.5
            without (implicit-var-reg), 0.3 (luckmatters).
        center: subtract the batch mean, luckmatters' ``dyn_zero_mean``; off in both.

    Returns:
        ``momentum previous + (1 - momentum) z^T z / N``, ``[D, D]``, float32 or wider.
        No gradient flows through it.

    Raises:
        ValueError: for a batch that is empty or not [N, D], a moment of another width
            or a momentum out of its range.

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023; Tian, Chen and Ganguli, "Understanding
    self-supervised learning dynamics without contrastive pairs", ICML 2021.

    >>> z = jnp.array([[1.0], [3.0]])
    >>> c = update_covariance(jnp.zeros((1, 1)), z, momentum=0.5)
    >>> round(c.item(), 4)  # half of (1 + 9) / 2
    2.5
    """
    previous, z = jnp.asarray(previous), jnp.asarray(z)
    if z.ndim != 2 or min(z.shape) < 1 or previous.shape != (z.shape[1],) * 2:
        raise ValueError(
            "embeddings must be [N, D] and their moment [D, D], "
            f"got {list(z.shape)} and {list(previous.shape)}"
        )
    require_not_negative("momentum", momentum)
    require_not_negative("1 - momentum", 1 - momentum)
    rows, past = (jax.lax.stop_gradient(at_least_float32(x)) for x in (z, previous))
    if center:
        rows = rows - rows.mean(axis=0, keepdims=True)
    # Divided before the product, whose sum of N squares may be too large.
    rows = rows * z.shape[0] ** -0.5
    return momentum * past + (1 - momentum) * matmul(rows.T, rows)


class LinearPredictor(nn.Module):
    """A prediction head ``p = z E^T`` of which a part is trained.

    ``E[j, r]`` is how much output j borrows from input r. By ``kind``:

    - "identity": ``E = I``, no parameters;
    - "diagonal": the diagonal alone, from 1 (``diagonal``, ``[D]``);
    - "off_diagonal": all but the diagonal, from 0 (``off_diagonal``, ``[D (D - 1)]``,
      row by row); the diagonal is no parameter and stays 1 under any optimizer;
    - "symmetric": the symmetric part of such a matrix, so that ``E[j, r]`` and
      ``E[r, j]`` move together by the mean of their gradients;
    - "full": the whole matrix, from the identity (``matrix``, ``[D, D]``);
    - "random": the whole matrix, from lecun-normal (``matrix``, ``[D, D]``).

    The first four keep their parameters as vectors. Recipes treat vectors like biases,
    neither decayed nor trust-scaled: decay would pull ``E`` to the identity, and a
    trust ratio would hold entries that start at zero where they are.

    The paper puts the head behind BatchNorm without scale and bias (a projector with
    ``output_norm="plain"``); its theory also normalises the prediction, which is
    ``output_norm="plain"`` here. Behind that norm "diagonal" is the identity.

    Attributes:
        kind: which part is trained, one of `LINEAR_PREDICTORS`.
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
            train: see `MLP`; matters only where there is an output norm.

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
            p = (
                p
                * self.param("diagonal", nn.initializers.ones, (d,), jnp.float32)[None]
            )
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
    """The identity plus trained off-diagonal entries; the diagonal is 1 for ever.

    `LinearPredictor` of the kind "off_diagonal", which it always is.

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


def _or_one(largest: jax.Array) -> jax.Array:
    # Not positive only where every eigenvalue counts as zero. NaN stays.
    return jnp.where(largest <= 0, 1.0, largest)


def _unit_diagonal(entries: jax.Array, width: int) -> jax.Array:
    """Square matrix with ones on its diagonal and these entries elsewhere."""
    # Read row by row, a square matrix is a one, then D entries, D - 1 times, and a one.
    one = jnp.ones((width - 1, 1), entries.dtype)
    body = jnp.concatenate([one, entries.reshape(width - 1, width)], axis=1)
    flat = jnp.concatenate([body.reshape(-1), jnp.ones((1,), entries.dtype)])
    return flat.reshape(width, width)


def _identity(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
    del key
    return jnp.eye(shape[0], dtype=dtype)

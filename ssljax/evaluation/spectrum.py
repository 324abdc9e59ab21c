"""The spectrum panel: label-free measures of an embedding, mostly of its spectrum."""

import chex
import jax
import jax.numpy as jnp

_HIGHEST = jax.lax.Precision.HIGHEST


def panel(z1: jax.Array, z2: jax.Array, *, top: int = 16) -> dict[str, jax.Array]:
    """Compute every label-free measure of two views' embeddings; pure and jittable.

    Spectra, spread, uniformity and cosines are those of the first view; only the
    alignment uses the second. ``u`` and ``v`` are the rows of ``z1`` and ``z2`` divided
    by their lengths, lambda the eigenvalues of the covariance of ``z1``.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        top: how many eigenvalues to return.

    Returns:
        Float32 (or wider) scalars, and two vectors: the seven of
        :func:`rank_measures`, and

        - ``std_per_dimension``: mean over dimensions of ``std(u_d) sqrt(D)``; 1 for an
          isotropic embedding, 0 for a collapsed one (Chen & He, "Exploring simple
          siamese representation learning", CVPR 2021, figure 2).
        - ``std_minimum``: the smallest of these; 0 if a dimension is constant.
        - ``alignment``: ``mean_i |u_i - v_i|^2``, 0 to 4, 0 is perfect.
        - ``uniformity``: ``log mean_{i != j} exp(-2 |u_i - u_j|^2)``, 0 when collapsed,
          down to about -4; this and alignment from Wang & Isola, "Understanding
          contrastive representation learning through alignment and uniformity on the
          hypersphere", ICML 2020, equations 1 and 2 with alpha = t = 2.
        - ``mean_cosine``: ``mean_{i != j} <u_i, u_j>``, not centred, so that it shows
          a common direction; 1 means that all embeddings are one vector.
        - ``examples``, ``dimensions``: N and D.

        Pairs need an ``[N, N]`` matrix: use at most a few thousand rows.

    Raises:
        ValueError: if there are fewer than two rows or ``top`` is below 1.

    >>> z = jnp.eye(4)
    >>> measures = panel(z, z)
    >>> float(measures["alignment"]), float(measures["mean_cosine"])
    (0.0, 0.0)
    """
    chex.assert_equal_shape([z1, z2])
    measures = rank_measures(z1, top=top)
    u, v = _unit_rows(_at_least_float32(z1)), _unit_rows(_at_least_float32(z2))
    n, d = u.shape
    spread = jnp.std(u, axis=0) * jnp.sqrt(jnp.asarray(d, u.dtype))
    cosine = jnp.matmul(u, u.T, precision=_HIGHEST)  # [N, N]
    others = ~jnp.eye(n, dtype=bool)
    pairs = n * (n - 1)
    # |u_i - u_j|^2 = 2 - 2 cos, and rounding must not make it negative.
    exponent = -2.0 * jnp.maximum(2.0 - 2.0 * cosine, 0.0)
    similarity = jnp.where(others, jnp.exp(exponent), 0.0)
    return measures | {
        "std_per_dimension": spread.mean(),
        "std_minimum": spread.min(),
        "alignment": ((u - v) ** 2).sum(axis=1).mean(),
        "uniformity": jnp.log(similarity.sum() / pairs),
        "mean_cosine": jnp.where(others, cosine, 0.0).sum() / pairs,
        "examples": jnp.asarray(n, u.dtype),
        "dimensions": jnp.asarray(d, u.dtype),
    }


def rank_measures(z: jax.Array, *, top: int = 16) -> dict[str, jax.Array]:
    """Measure in five ways how many dimensions a set of features uses.

    sigma are singular values, lambda eigenvalues of the covariance (``1 / (N - 1)``),
    both of the centred features unless stated otherwise. They come from the Gram matrix
    of the smaller side, in float32. Values below its rounding (sigma under about 0.1 %
    of the largest) count as zero, because a collapsed embedding would otherwise have
    the rank of the noise.

    Args:
        z: features, ``[N, D]``, any float type.
        top: how many eigenvalues to return.

    Returns:
        Float32 (or wider) scalars, and two vectors:

        - ``effective_rank``: exp of the entropy of ``sigma / sum(sigma)``, singular
          values of the *centred* features (Roy & Vetterli, "The effective rank",
          EUSIPCO 2007). A completely collapsed embedding can have a high value,
          because centring leaves only its noise: compare the un-centred measures.
        - ``rankme``: the same entropy with ``p = sigma / sum(sigma) + 1e-7``, features
          *not* centred (Garrido et al., "RankMe", ICML 2023, equation 1).
        - ``participation_ratio``: ``(sum lambda)^2 / sum lambda^2`` (Gao et al., "A
          theory of multineuronal dimensionality", 2017).
        - ``participation_ratio_uncentred``: the same of the second-moment matrix
          ``z^T z``; 1 if all rows lie on one line through the origin. Unlike RankMe,
          it ignores a faint tail.
        - ``alpha_req``: decay exponent alpha of ``lambda_r ~ r^-alpha``, minus the
          least-squares slope of log lambda over log r with weights 1/r, over ranks
          ``n // 16`` to ``n // 2`` of the ``n = min(N - 1, D)`` possible ones (Agrawal
          et al., "alpha-ReQ", NeurIPS 2022; fit as in Stringer et al., Nature 2019).
          NaN if fewer than three of these eigenvalues are non-zero, which do not
          determine a power law.
        - ``eigenvalues``: the ``top`` largest lambda, descending, zeros after the last.
        - ``moment_eigenvalues``: the same of the second moment ``z^T z / N``, which a
          closed-form predictor is a power of.

        Constant rows have effective rank and participation ratio 0.

    Raises:
        ValueError: if there are fewer than two rows or ``top`` is below 1.

    >>> float(rank_measures(jnp.eye(4))["participation_ratio"])
    3.0
    """
    chex.assert_rank(z, 2)
    n, d = z.shape
    if n < 2:
        raise ValueError(f"a spectrum needs at least two rows, got {n}")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    z = _at_least_float32(z)
    moments = _gram_eigenvalues(z)
    epsilon = jnp.finfo(z.dtype).eps
    # Subtracting the mean rounds too: constant rows leave ~epsilon of their length.
    rounding = (4.0 * epsilon) ** 2 * moments[0]
    scatter = _gram_eigenvalues(z - z.mean(axis=0, keepdims=True), rounding)
    eigenvalues = scatter / (n - 1)

    def largest(values: jax.Array) -> jax.Array:
        return jnp.pad(values[:top], (0, max(top - values.shape[0], 0)))

    return {
        "effective_rank": _exp_entropy(jnp.sqrt(scatter), 0.0),
        "rankme": _exp_entropy(jnp.sqrt(moments), 1e-7),
        "participation_ratio": _participation(scatter),
        "participation_ratio_uncentred": _participation(moments),
        "alpha_req": _decay_exponent(eigenvalues[: min(n - 1, d)]),
        "eigenvalues": largest(eigenvalues),
        "moment_eigenvalues": largest(moments / n),
    }


def cross_eigenvalues(z1: jax.Array, z2: jax.Array, *, top: int = 16) -> jax.Array:
    """Compute the top eigenvalues of the two views' cross-correlation, symmetrised.

    Every dimension of a view is standardised, as in Barlow Twins: ``C = (a^T b + b^T a)
    / (2 N)``, which that loss drives to the identity.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        top: how many eigenvalues to return.

    Returns:
        ``[top]``, float32 or wider, descending; zeros after the last positive one, also
        for directions in which the views disagree.

    Source: Zbontar et al., "Barlow Twins", ICML 2021, equation 2, symmetrised as in
    Simon et al., "On the stepwise nature of self-supervised learning", ICML 2023.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> cross_eigenvalues(z, z, top=2).round(3).tolist()
    [1.0, 1.0]
    """
    chex.assert_equal_shape([z1, z2])
    a, b = (_standardized(_at_least_float32(z)) for z in (z1, z2))
    n, d = a.shape
    # a^T b + b^T a = (s^T s - t^T t) / 2 of sum and difference.
    both = jnp.concatenate([a + b, a - b])
    signs = jnp.repeat(jnp.array([1.0, -1.0], both.dtype), n)
    if d <= 2 * n:
        signed = both * signs[:, None]
        values = jnp.linalg.eigvalsh(jnp.matmul(both.T, signed, precision=_HIGHEST))
    else:
        # With both^T = Q R the same non-zero eigenvalues are those of R J R^T,
        # [2N, 2N], where J has the signs.
        r = jnp.linalg.qr(both.T, mode="r")
        values = jnp.linalg.eigvalsh(
            jnp.matmul(r * signs[None, :], r.T, precision=_HIGHEST)
        )
    values = jnp.maximum(values[::-1][:top], 0.0) / (4.0 * n)
    return jnp.pad(values, (0, top - values.shape[0]))


def _standardized(z: jax.Array) -> jax.Array:
    centred = z - z.mean(axis=0, keepdims=True)
    # As in the loss; a dimension that has collapsed stays at zero.
    return centred / jnp.sqrt((centred**2).mean(axis=0, keepdims=True) + 1e-5)


def lidar(z: jax.Array, *, delta: float = 1e-4) -> jax.Array:
    """Measure in how many dimensions images differ, beyond what augmentation changes.

    LiDAR is the rank of a linear discriminant analysis whose classes are the images.
    With ``mu_i`` the mean over the views of image i and ``mu`` the mean of these,

        S_b = sum_i (mu_i - mu)(mu_i - mu)^T / (n - 1)
        S_w = sum_ij (z_ij - mu_i)(z_ij - mu_i)^T / (n (q - 1)) + delta I

    it is exp of the entropy of ``lambda / sum(lambda)``, lambda the eigenvalues of
    ``S_w^(-1/2) S_b S_w^(-1/2)``. Directions without signal keep eigenvalues of about
    ``1 / q``, so compare at equal numbers of images, views and dimensions. Because of
    ``delta`` it depends on the scale of features whose views hardly differ. As in
    :func:`rank_measures`, values below rounding count as zero.

    Args:
        z: features of q augmented views of n images, ``[n, q, D]``, any float type.
        delta: added to the diagonal of ``S_w``, > 0.

    Returns:
        A scalar, float32 or wider, from 1 to ``min(n - 1, D)``; 0 if all images have
        the same mean.

    Raises:
        ValueError: if there are fewer than two images or views, or delta is not
            positive.

    Source: Thilak et al., "LiDAR: Sensing linear probing performance in joint embedding
    SSL architectures", ICLR 2024 (arXiv:2312.04000). Its epsilon, which only avoids the
    logarithm of 0, is left out.

    >>> z = jnp.eye(4)[:, None] + jnp.array([[[0.1], [-0.1]]])
    >>> round(float(lidar(z)), 2)
    3.0
    """
    chex.assert_rank(z, 3)
    n, q, d = z.shape
    if n < 2 or q < 2:
        raise ValueError(f"LiDAR needs two images with two views, got {n} with {q}")
    if not delta > 0:
        raise ValueError(f"delta must be positive, got {delta}")
    z = _at_least_float32(z)
    means = z.mean(axis=1)
    within = (z - means[:, None]).reshape(n * q, d)
    scatter = jnp.matmul(within.T, within, precision=_HIGHEST) / (n * (q - 1))
    values, vectors = jnp.linalg.eigh(scatter)
    # Rounding makes zeros negative, which delta need not outweigh.
    scale = 1.0 / jnp.sqrt(jnp.maximum(values, 0.0) + delta)
    centred = means - means.mean(axis=0, keepdims=True)
    along = jnp.matmul(centred, vectors, precision=_HIGHEST)
    # Whitening would amplify what rounding leaves in directions without any spread.
    rounding = (4.0 * jnp.finfo(z.dtype).eps) ** 2 * (means**2).sum()
    spread = (along**2).sum(axis=0) > rounding
    whitened = jnp.where(spread[None], along * scale[None], 0.0)
    return _exp_entropy(_gram_eigenvalues(whitened), 0.0)


def _gram_eigenvalues(z: jax.Array, rounding: jax.Array | float = 0.0) -> jax.Array:
    """Return the squared singular values, descending, with rounding errors set to 0."""
    gram = z.T if z.shape[1] <= z.shape[0] else z
    values = jnp.linalg.eigvalsh(jnp.matmul(gram, gram.T, precision=_HIGHEST))[::-1]
    floor = 8.0 * jnp.finfo(z.dtype).eps * values[0]
    return jnp.where(values > jnp.maximum(floor, rounding), values, 0.0)


def _exp_entropy(values: jax.Array, epsilon: float) -> jax.Array:
    """Compute exp of the entropy of values divided by their sum; 0 for all zeros."""
    total = values.sum()
    p = values / jnp.where(total > 0, total, 1.0) + epsilon
    entropy = -jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0).sum()
    return jnp.where(total > 0, jnp.exp(entropy), 0.0)


def _participation(values: jax.Array) -> jax.Array:
    # Divided by the largest, because squares of tiny eigenvalues would underflow.
    values = values / jnp.where(values[0] > 0, values[0], 1.0)
    squares = (values**2).sum()
    return values.sum() ** 2 / jnp.where(squares > 0, squares, 1.0)


def _decay_exponent(eigenvalues: jax.Array) -> jax.Array:
    """Fit alpha of ``lambda_r ~ r^-alpha`` by weighted least squares in logarithms."""
    n = eigenvalues.shape[0]
    first, last = max(1, n // 16), max(1, n // 2)
    values = eigenvalues[first - 1 : last]
    rank = jnp.arange(first, last + 1, dtype=values.dtype)
    positive = values > 0
    # Weights 1/r make equal intervals of log r count equally.
    weight = jnp.where(positive, 1.0 / rank, 0.0)
    weight = weight / jnp.where(positive.any(), weight.sum(), 1.0)
    x, y = jnp.log(rank), jnp.log(jnp.where(positive, values, 1.0))
    x = x - (weight * x).sum()
    slope = (weight * x * y).sum() / jnp.where(
        positive.sum() >= 3, (weight * x**2).sum(), jnp.nan
    )
    return -slope


def _unit_rows(z: jax.Array) -> jax.Array:
    norm = jnp.linalg.norm(z, axis=1, keepdims=True)
    # A zero row stays zero; every measure except the cosine shows it as collapsed.
    return z / jnp.where(norm > 0, norm, 1.0)


def _at_least_float32(z: jax.Array) -> jax.Array:
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))

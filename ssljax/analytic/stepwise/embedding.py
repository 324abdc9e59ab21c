"""An embedding by kernels with the training views, as `kernel_embedding` returns it."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ssljax.analytic.inputs import check_finite, check_shape
from ssljax.analytic.precision import in_float64


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class KernelEmbedding:
    """An embedding of points by their kernels with the training views.

    Attributes:
        coefficients: ``c``, ``[2n, dim]``, of the first and then the second views.

    >>> import jax.numpy as jnp
    >>> embed = KernelEmbedding(jnp.array([[1.0], [2.0]]))
    >>> embed, embed(jnp.ones((1, 1)), jnp.ones((1, 1))).tolist()
    (KernelEmbedding(1 dimensions from 1 pairs), [[3.0]])
    """

    coefficients: jax.Array

    @in_float64
    def __call__(self, k_test_x: Any, k_test_xp: Any) -> jax.Array:
        """Embed points.

        Args:
            k_test_x: their kernels with the first views, ``[tests, n]``.
            k_test_xp: their kernels with the second views, ``[tests, n]``.

        Returns:
            Embeddings, ``[tests, dim]``.

        Raises:
            ValueError: for other shapes or numbers that are not finite.
        """
        pairs = len(self.coefficients) // 2
        first = check_shape("k_test_x", k_test_x, "tests", pairs)
        second = check_shape("k_test_xp", k_test_xp, *first.shape)
        check_finite("k_test_x", first)
        check_finite("k_test_xp", second)
        return first @ self.coefficients[:pairs] + second @ self.coefficients[pairs:]

    def __repr__(self) -> str:
        views, dim = np.shape(self.coefficients)
        return f"KernelEmbedding({dim} dimensions from {views // 2} pairs)"

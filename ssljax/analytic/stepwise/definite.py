"""Whether a kernel is one: positive semi-definite."""

from collections.abc import Callable
from typing import Any

import numpy as np

# Below this share of the largest eigenvalue a negative one is rounding: of kernels in
# float32, or of the steps of a finite difference.
_ROUNDING = 1e-5
# Up to this size, computing all eigenvalues is the fastest way.
_SMALL, _STEPS = 600, 24


def check_kernel(name: str, kernel: Any) -> None:
    """Raise for a kernel with a clearly negative eigenvalue.

    Args:
        name: of the kernel, for the message.
        kernel: ``[N, N]``, symmetric: an array, or anything with a length that can be
            multiplied with a vector.

    Raises:
        ValueError: with the negative eigenvalue. Of a large kernel the extreme
            eigenvalues are estimated from within, so one that is raised is there, and
            one of less than about a hundredth of the largest may be missed.

    >>> check_kernel("k", np.array([[1.0, 2.0], [2.0, 1.0]]))
    Traceback (most recent call last):
      ...
    ValueError: k must be positive semi-definite, got the eigenvalue -1
    """
    if len(kernel) <= _SMALL and isinstance(kernel, np.ndarray):
        values = np.linalg.eigvalsh(kernel)
    else:
        values = ritz_values(lambda v: kernel @ v, len(kernel), _STEPS)
    if values[0] < -_ROUNDING * values[-1]:
        raise ValueError(
            f"{name} must be positive semi-definite, got the eigenvalue {values[0]:.3g}"
        )


def ritz_values(
    multiply: Callable[[np.ndarray], np.ndarray], size: int, steps: int
) -> np.ndarray:
    """Estimate a symmetric matrix's extreme eigenvalues by the Lanczos method.

    Args:
        multiply: multiplies ``[size]`` with the matrix.
        size: rows of the matrix.
        steps: number of products.

    Returns:
        Ritz values in ascending order; all lie between the extreme eigenvalues.

    >>> ritz_values(lambda v: np.array([3.0, -1.0]) * v, 2, 5).round(6).tolist()
    [-1.0, 3.0]
    """
    vector = np.random.default_rng(0).normal(size=size)
    basis, images = [], []
    scale = 0.0
    for _ in range(min(steps, size)):
        # Twice, for orthogonality to machine precision.
        for _ in range(2):
            for other in basis:
                vector = vector - other * (other @ vector)
        length = np.linalg.norm(vector)
        if length <= 1e-12 * scale:
            break
        basis.append(vector / length)
        images.append(multiply(basis[-1]))
        vector = images[-1]
        scale = max(scale, float(np.linalg.norm(vector)))
    small = np.stack(basis) @ np.stack(images).T
    return np.linalg.eigvalsh(0.5 * (small + small.T))

"""Public functions of stepwise learning of kernels, as called by the contract."""

import jax.numpy as jnp
import numpy as np
from contract_case import Case
from contract_inputs import GAMMA, NAN, START, TIMES, bad_times, flat, symmetric

from ssljax.analytic import stepwise
from ssljax.analytic.stepwise.kernel import KernelStart

# Kernels of three pairs, positive definite together.
FEATURES = np.random.default_rng(0).normal(size=(6, 8))
GRAM = FEATURES @ FEATURES.T
K_XX, K_XXP, K_XPXP = GRAM[:3, :3], GRAM[:3, 3:], GRAM[3:, 3:]
EMBEDDED = 0.1 * np.array([[1.0, 0.2], [-0.3, 0.8], [0.4, -0.6]])
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])


def dot(a, b):
    """Return the linear kernel."""
    return a @ b.T


CASES = [
    Case(
        "stepwise.contrastive_kernel",
        lambda a, b, c: stepwise.contrastive_kernel(symmetric(a), b, symmetric(c)),
        (K_XX, K_XXP, K_XPXP),
        bad=(
            (
                lambda: stepwise.contrastive_kernel(
                    INDEFINITE, np.zeros((2, 2)), np.eye(2)
                ),
                "must be positive semi-definite, got the eigenvalue -1",
            ),
            (
                lambda: stepwise.contrastive_kernel(np.eye(2), np.eye(3), np.eye(2)),
                r"k_xxp must be \[2, 2\]",
            ),
            (
                lambda: stepwise.contrastive_kernel(
                    np.eye(2), np.full((2, 2), np.nan), np.eye(2)
                ),
                "k_xxp must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.kernel_modes",
        lambda a, b, c: flat(stepwise.kernel_modes(symmetric(a), b, symmetric(c), 2)),
        (K_XX, K_XXP, K_XPXP),
        bad=(
            (
                lambda: stepwise.kernel_modes(
                    INDEFINITE, 0.1 * np.eye(2), np.eye(2), 1
                ),
                "must be positive semi-definite",
            ),
            (
                lambda: stepwise.kernel_modes(K_XX, K_XXP, K_XPXP, 4),
                "dim must be 1 to 3, got 4",
            ),
        ),
    ),
    Case(
        "stepwise.kernel_embedding",
        lambda a, b, c, first, second: stepwise.kernel_embedding(
            symmetric(a), b, symmetric(c), 2
        )(first, second),
        (K_XX, K_XXP, K_XPXP, K_XX, K_XXP),
        bad=(
            (
                lambda: stepwise.kernel_embedding(K_XX, K_XXP, K_XPXP, 2)(
                    K_XX[:, :2], K_XXP
                ),
                r"k_test_x must be \[tests, 3\]",
            ),
            (
                lambda: stepwise.kernel_embedding(K_XX, K_XXP, K_XPXP, 2)(
                    np.nan * K_XX, K_XXP
                ),
                "k_test_x must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.kernel_embedding_of",
        reason="an eigensolver on known numbers; `kernel_embedding` has derivatives",
        bad=(
            (
                lambda: stepwise.kernel_embedding_of(dot, K_XX, K_XX[:2], 1),
                "x_other must",
            ),
            (
                lambda: stepwise.kernel_embedding_of(dot, np.nan * K_XX, K_XX, 1),
                "must be finite",
            ),
        ),
    ),
    Case(
        "stepwise.kernel_start",
        lambda a, b, c, first, second: flat(
            stepwise.kernel_start(symmetric(a), b, symmetric(c), first, second)
        ),
        (K_XX, K_XXP, K_XPXP, EMBEDDED, 1.1 * EMBEDDED),
        bad=(
            (
                lambda: stepwise.kernel_start(
                    K_XX, K_XXP, K_XPXP, EMBEDDED[:2], EMBEDDED
                ),
                r"f_x must be \[3, D\]",
            ),
            (
                lambda: stepwise.kernel_start(
                    K_XX, K_XXP, K_XPXP, EMBEDDED, np.nan * EMBEDDED
                ),
                "f_xp must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.kernel_steps",
        lambda gamma, scale, t: stepwise.kernel_steps(
            KernelStart(gamma, scale, jnp.eye(2), gamma)
        )(t),
        (GAMMA, START, TIMES),
        bad=(
            (
                lambda: stepwise.kernel_steps(
                    KernelStart(NAN, START, np.eye(2), GAMMA)
                ),
                "gamma must be finite, got nan",
            ),
            (
                lambda: stepwise.kernel_steps(
                    KernelStart(GAMMA, -START, np.eye(2), GAMMA)
                ),
                "scale must be finite and >= 0, got -0.2",
            ),
            *bad_times(
                lambda: stepwise.kernel_steps(
                    KernelStart(GAMMA, START, np.eye(2), GAMMA)
                )
            ),
        ),
    ),
]

"""The public functions of four parts, as the contract calls them.

Stepwise learning, spectral transformations, the duality, tangent kernels, and the
simulations and comparisons that all theories share.
"""

import jax
import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax.analytic import comparison, duality, ntk, simulate, stepwise
from ssljax.analytic import spectral_transformation as spectral
from ssljax.analytic.stepwise.kernel import KernelStart

TIMES = np.array([0.1, 0.4])
START, GAMMA, SIGMA = np.array([0.2, 0.3]), np.array([1.0, 0.6]), np.array([1.5, 0.8])
EPS, SCALE = np.array(0.3), np.array(0.1)
MOMENT = np.array([[1.0, 0.2, 0.1], [0.2, 0.6, 0.0], [0.1, 0.0, -0.2]])
SPREAD = np.array([[1.4, 0.3, 0.0], [0.3, 0.9, 0.1], [0.0, 0.1, 1.1]])
WEIGHTS = np.array([[0.5, -0.3, 0.2], [0.1, 0.6, 0.4]])
X1 = np.array([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.1]])
X2 = np.array([[0.9, 0.1], [-0.4, 1.0], [0.3, -0.8]])
# Kernels of three pairs, positive definite together.
FEATURES = np.random.default_rng(0).normal(size=(6, 8))
GRAM = FEATURES @ FEATURES.T
K_XX, K_XXP, K_XPXP = GRAM[:3, :3], GRAM[:3, 3:], GRAM[3:, 3:]
EMBEDDED = 0.1 * np.array([[1.0, 0.2], [-0.3, 0.8], [0.4, -0.6]])
SPECTRUM, NOISE = np.array([1.5, 0.4]), np.array([0.1, 0.2])
RHO, SHARES = np.array([0.9, 0.5]), np.array([0.7, 0.3])
Z = np.array([[0.8, -0.3], [0.5, 1.2], [-0.9, 0.4]])
NAN, ONE = np.array([np.nan, 1.0]), np.ones(1)
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])

COUNTS = "takes counts alone"
PLAIN = "a comparison in NumPy, of numbers that are there"
RECORD = "a record of arrays"


def symmetric(matrix):
    """Every entry's change is one of the symmetric matrix."""
    return 0.5 * (matrix + matrix.T)


def flat(parts):
    return jnp.concatenate([jnp.ravel(part) for part in parts])


def solved(solver, **kwargs):
    """Return a function of the solver's arguments and of times."""
    return lambda *inputs: solver(*inputs[:-1], **kwargs)(inputs[-1])


def with_eps(function):
    """Return a function whose last input is the keyword eps."""
    return lambda *inputs: function(*inputs[:-1], eps=inputs[-1])


def bad_start(solver, *rest):
    """What every solver refuses: a start of the wrong shape, NaN, or negative."""
    return (
        (lambda: solver(np.ones((2, 2)), *rest), r"start must"),
        (lambda: solver(NAN, *rest), "start must"),
        (lambda: solver(-START, *rest), "start must"),
    )


def bad_rates(function, *rest):
    """NaN rates and rates of other modes."""
    return (
        (lambda: function(START, NAN, *rest), "gamma must be finite, got nan"),
        (lambda: function(START, GAMMA[:1], *rest), "one entry for each of 1 modes"),
    )


def bad_times(solution):
    """Negative and NaN times."""
    return (
        (lambda: solution()(-1.0), "t must be >= 0, got -1"),
        (lambda: solution()(np.array([0.0, np.nan])), "t must be >= 0, got nan"),
    )


STEPWISE = [
    Case("stepwise.AlignedStart", reason=RECORD),
    Case("stepwise.ErrorExponents", reason=RECORD),
    Case(
        "stepwise.solve_aligned",
        solved(stepwise.solve_aligned),
        (START, GAMMA, TIMES),
        bad=bad_start(stepwise.solve_aligned, GAMMA)
        + bad_rates(stepwise.solve_aligned)
        + bad_times(lambda: stepwise.solve_aligned(START, GAMMA)),
    ),
    Case(
        "stepwise.aligned_singular_values",
        stepwise.aligned_singular_values,
        (START, GAMMA, TIMES),
        bad=(
            *bad_start(stepwise.aligned_singular_values, GAMMA, TIMES),
            *bad_rates(stepwise.aligned_singular_values, TIMES),
            (
                lambda: stepwise.aligned_singular_values(START, GAMMA, -TIMES),
                "t must be >= 0",
            ),
        ),
    ),
    Case(
        "stepwise.aligned_eigenvalues",
        stepwise.aligned_eigenvalues,
        (START, GAMMA, TIMES),
        bad=(
            *bad_start(stepwise.aligned_eigenvalues, GAMMA, TIMES),
            (
                lambda: stepwise.aligned_eigenvalues(START, GAMMA, NAN),
                "t must be >= 0, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.critical_times",
        stepwise.critical_times,
        (START, GAMMA),
        bad=bad_start(stepwise.critical_times, GAMMA)
        + bad_rates(stepwise.critical_times),
    ),
    Case(
        "stepwise.half_times",
        stepwise.half_times,
        (START, GAMMA),
        bad=(
            *bad_start(stepwise.half_times, GAMMA),
            (
                lambda: stepwise.half_times(2 * ONE, ONE),
                "gamma start.2 must be below 1",
            ),
        ),
    ),
    Case(
        "stepwise.critical_steps",
        lambda start, gamma, rate, momentum: stepwise.critical_steps(
            start, gamma, learning_rate=rate, momentum=momentum
        ),
        (START, GAMMA, np.array(0.02), np.array(0.5)),
        bad=(
            (
                lambda: stepwise.critical_steps(
                    START, GAMMA, learning_rate=0.1, momentum=1.5
                ),
                r"momentum must lie in \[0, 1\), got 1.5",
            ),
            (
                lambda: stepwise.critical_steps(START, GAMMA, learning_rate=0.3),
                "learning_rate must be below .* = 0.25, where descent is stable",
            ),
            (
                lambda: stepwise.critical_steps(START, GAMMA, learning_rate=-0.1),
                "learning_rate must be > 0, got -0.1",
            ),
            (
                lambda: stepwise.critical_steps(NAN, GAMMA, learning_rate=0.1),
                "start must be finite and >= 0, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.expected_critical_times",
        stepwise.expected_critical_times,
        (GAMMA, SCALE),
        bad=(
            (
                lambda: stepwise.expected_critical_times(NAN, 0.1),
                "gamma must be finite, got nan",
            ),
            (
                lambda: stepwise.expected_critical_times(GAMMA, -0.1),
                "scale must be > 0, got -0.1",
            ),
        ),
    ),
    Case(
        "stepwise.aligned_start",
        lambda start, moment, scale: flat(
            stepwise.aligned_start(start, symmetric(moment), scale)
        ),
        (WEIGHTS, MOMENT, SCALE),
        bad=(
            (
                lambda: stepwise.aligned_start(WEIGHTS, MOMENT[:2], 0.1),
                r"gamma_matrix must be \[M, M\]",
            ),
            (
                lambda: stepwise.aligned_start(WEIGHTS, np.nan * MOMENT, 0.1),
                "gamma_matrix must be finite, got nan",
            ),
            (
                lambda: stepwise.aligned_start(WEIGHTS, MOMENT, 0.0),
                "scale must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.small_init_prediction",
        lambda start, moment, scale, t: stepwise.small_init_prediction(
            start, symmetric(moment), scale
        )(t),
        (WEIGHTS, MOMENT, SCALE, TIMES),
        bad=(
            (
                lambda: stepwise.small_init_prediction(np.eye(2), MOMENT, 0.1),
                r"start must be \[D, 3\]",
            ),
            (
                lambda: stepwise.small_init_prediction(WEIGHTS, MOMENT, -1.0),
                "scale must be > 0, got -1",
            ),
            *bad_times(lambda: stepwise.small_init_prediction(WEIGHTS, MOMENT, 0.1)),
        ),
    ),
    Case(
        "stepwise.expected_overlap",
        lambda start, moment, scale: stepwise.expected_overlap(
            start, symmetric(moment), scale
        ),
        (WEIGHTS, MOMENT, np.array(0.3)),
        bad=(
            (
                lambda: stepwise.expected_overlap(WEIGHTS, -MOMENT, 0.01),
                "at least 2 positive eigenvalues, got 1",
            ),
        ),
    ),
    Case(
        "stepwise.error_exponents",
        lambda gamma, power: flat(stepwise.error_exponents(gamma, 1, power=power)),
        (GAMMA, np.array(0.25)),
        bad=(
            (
                lambda: stepwise.error_exponents(GAMMA, 2),
                "embedding must be 1 to 1, got 2",
            ),
            (
                lambda: stepwise.error_exponents(GAMMA, 1, power=2.0),
                r"power must lie in \[0, 1\], got 2",
            ),
            (
                lambda: stepwise.error_exponents(NAN, 1),
                "gamma must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.minimum_norm_solution",
        lambda moment: stepwise.minimum_norm_solution(symmetric(moment), 2),
        (MOMENT,),
        bad=(
            (
                lambda: stepwise.minimum_norm_solution(MOMENT, 3),
                "at least 3 positive eigenvalues, got 2",
            ),
            (
                lambda: stepwise.minimum_norm_solution(MOMENT, 1.5),
                "d must be a whole number >= 1, got 1.5",
            ),
        ),
    ),
    Case(
        "stepwise.curvatures",
        lambda gamma: stepwise.curvatures(gamma, 2),
        (GAMMA,),
        bad=(
            (
                lambda: stepwise.curvatures(-GAMMA, 1),
                "at least 1 positive eigenvalues, got 0",
            ),
            (lambda: stepwise.curvatures(NAN, 1), "gamma must be finite, got nan"),
        ),
    ),
    Case(
        "stepwise.cross_moment",
        stepwise.cross_moment,
        (X1, X2),
        bad=(
            (lambda: stepwise.cross_moment(X1, X2[:2]), r"x2 must be \[3, 2\]"),
            (lambda: stepwise.cross_moment(np.nan * X1, X2), "x1 must be finite"),
        ),
    ),
    Case(
        "stepwise.second_moment",
        stepwise.second_moment,
        (X1, X2),
        bad=((lambda: stepwise.second_moment(X1[0], X2), r"x1 must be \[N, M\]"),),
    ),
    Case(
        "stepwise.pairs_with_moments",
        lambda gamma, sigma, basis: flat(
            stepwise.pairs_with_moments(gamma, sigma, basis=basis)
        ),
        (GAMMA, SIGMA, np.eye(2)),
        bad=(
            (
                lambda: stepwise.pairs_with_moments(GAMMA, 0.5 * GAMMA),
                r"sigma must be at least \|gamma\|",
            ),
            (
                lambda: stepwise.pairs_with_moments(NAN),
                "gamma must be finite, got nan",
            ),
            (
                lambda: stepwise.pairs_with_moments(GAMMA, basis=np.eye(3)),
                r"basis must be \[2, 2\]",
            ),
        ),
    ),
    Case(
        "stepwise.solve_merged_vicreg",
        lambda start, gamma, sigma, a, b, t: stepwise.solve_merged_vicreg(
            start, gamma, sigma, invariance_weight=a, spread_weight=b
        )(t),
        (START, GAMMA, SIGMA, np.array(1.2), np.array(0.9), TIMES),
        bad=bad_start(stepwise.solve_merged_vicreg, GAMMA, SIGMA)
        + bad_rates(stepwise.solve_merged_vicreg, SIGMA)
        + (
            (
                lambda: stepwise.solve_merged_vicreg(START, GAMMA, -SIGMA),
                "sigma must be > 0",
            ),
            (
                lambda: stepwise.solve_merged_vicreg(
                    START, GAMMA, SIGMA, spread_weight=0.0
                ),
                "spread_weight must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.merged_vicreg_singular_values",
        stepwise.merged_vicreg_singular_values,
        (START, GAMMA, SIGMA, TIMES),
        bad=(
            (
                lambda: stepwise.merged_vicreg_singular_values(
                    START, GAMMA, SIGMA, -TIMES
                ),
                "t must be >= 0",
            ),
            (
                lambda: stepwise.merged_vicreg_singular_values(
                    START, GAMMA, SIGMA, TIMES, invariance_weight=-1.0
                ),
                "invariance_weight must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "stepwise.solve_spectral_contrastive",
        solved(stepwise.solve_spectral_contrastive),
        (START, GAMMA, SIGMA, TIMES),
        bad=bad_start(stepwise.solve_spectral_contrastive, GAMMA, SIGMA)
        + bad_times(lambda: stepwise.solve_spectral_contrastive(START, GAMMA, SIGMA)),
    ),
    Case(
        "stepwise.spectral_contrastive_singular_values",
        stepwise.spectral_contrastive_singular_values,
        (START, GAMMA, SIGMA, TIMES),
        bad=bad_rates(stepwise.spectral_contrastive_singular_values, SIGMA, TIMES),
    ),
    Case(
        "stepwise.spectral_contrastive_minimum",
        lambda gamma, sigma: flat(
            stepwise.spectral_contrastive_minimum(symmetric(gamma), symmetric(sigma), 2)
        ),
        (np.array([[0.9, 0.1, 0.0], [0.1, 0.4, 0.05], [0.0, 0.05, 0.1]]), SPREAD),
        bad=(
            (
                lambda: stepwise.spectral_contrastive_minimum(MOMENT, MOMENT, 1),
                "sigma_matrix must be positive definite",
            ),
            (
                lambda: stepwise.spectral_contrastive_minimum(MOMENT, np.eye(2), 1),
                r"sigma_matrix must be \[3, 3\]",
            ),
        ),
    ),
    Case(
        "stepwise.solve_competition",
        solved(stepwise.solve_competition),
        (START, GAMMA, SIGMA, TIMES),
        jit=False,
        bad=bad_start(stepwise.solve_competition, GAMMA, SIGMA)
        + bad_rates(stepwise.solve_competition, SIGMA)
        + bad_times(lambda: stepwise.solve_competition(START, GAMMA, SIGMA)),
    ),
    Case(
        "stepwise.displacement_time",
        stepwise.displacement_time,
        (START, GAMMA, np.array([4.0, 1.0])),
        bad=(
            (
                lambda: stepwise.displacement_time(START, GAMMA, GAMMA),
                "the second with the larger gamma/sigma",
            ),
            (
                lambda: stepwise.displacement_time(ONE, ONE, ONE),
                "two modes are needed",
            ),
            (
                lambda: stepwise.displacement_time(0 * START, GAMMA, SIGMA),
                "start must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.solve_left_preconditioned",
        lambda start, gamma, eps, t: stepwise.solve_left_preconditioned(
            start, gamma, eps=eps
        )(t),
        (START, GAMMA, EPS, TIMES),
        bad=(
            (
                lambda: stepwise.solve_left_preconditioned(NAN, GAMMA, eps=0.1),
                "start must be finite, got nan",
            ),
            (
                lambda: stepwise.solve_left_preconditioned(10 * START, GAMMA, eps=0.1),
                r"gamma start.2 must lie in \(0, 1\), got 4",
            ),
            (
                lambda: stepwise.solve_left_preconditioned(START, GAMMA, eps=0.0),
                "eps must be > 0, got 0",
            ),
            *bad_times(
                lambda: stepwise.solve_left_preconditioned(START, GAMMA, eps=0.1)
            ),
        ),
    ),
    Case(
        "stepwise.left_preconditioned_eigenvalues",
        with_eps(stepwise.left_preconditioned_eigenvalues),
        (START, GAMMA, TIMES, EPS),
        bad=(
            (
                lambda: stepwise.left_preconditioned_eigenvalues(
                    START, GAMMA, -TIMES, eps=0.1
                ),
                "t must be >= 0",
            ),
        ),
    ),
    Case(
        "stepwise.left_preconditioned_times",
        lambda start, gamma, eps, level: stepwise.left_preconditioned_times(
            start, gamma, eps=eps, level=level
        ),
        (START, GAMMA, EPS, np.array(0.6)),
        bad=(
            (
                lambda: stepwise.left_preconditioned_times(
                    START, GAMMA, eps=0.1, level=1.5
                ),
                r"level must lie in \(0, 1\), got 1.5",
            ),
            (
                lambda: stepwise.left_preconditioned_times(START, NAN, eps=0.1),
                "gamma must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.solve_right_preconditioned",
        lambda start, moment, t: stepwise.solve_right_preconditioned(
            start, symmetric(moment)
        )(t),
        (WEIGHTS, SPREAD, TIMES),
        bad=(
            (
                lambda: stepwise.solve_right_preconditioned(WEIGHTS, -SPREAD),
                "must be positive definite",
            ),
            (
                lambda: stepwise.solve_right_preconditioned(np.eye(2), SPREAD),
                r"start must be \[D, 3\]",
            ),
            *bad_times(lambda: stepwise.solve_right_preconditioned(WEIGHTS, SPREAD)),
        ),
    ),
    Case(
        "stepwise.power_law_modes",
        lambda t, exponent, scale: stepwise.power_law_modes(
            t, exponent=exponent, scale=scale
        ),
        (np.array([10.0, 50.0]), np.array(1.5), np.array(1e-3)),
        bad=(
            (
                lambda: stepwise.power_law_modes(-TIMES, exponent=1.5, scale=0.1),
                "t must be >= 0",
            ),
            (
                lambda: stepwise.power_law_modes(TIMES, exponent=0.0, scale=0.1),
                "exponent must be > 0, got 0",
            ),
            (
                lambda: stepwise.power_law_modes(TIMES, exponent=1.5, scale=2.0),
                r"scale must lie in \(0, 1\), got 2",
            ),
        ),
    ),
    Case(
        "stepwise.vicreg_early_velocity",
        lambda w, x1, x2, a, b, eps: stepwise.vicreg_early_velocity(
            w, x1, x2, invariance_weight=a, variance_weight=b, eps=eps
        ),
        (WEIGHTS[:, :2], X1, X2, np.array(2.0), np.array(3.0), np.array(0.1)),
        bad=(
            (
                lambda: stepwise.vicreg_early_velocity(np.eye(2), X1[:1], X2[:1]),
                "the number of pairs must be at least 2, got 1",
            ),
            (
                lambda: stepwise.vicreg_early_velocity(np.eye(3), X1, X2),
                r"w must be \[D, 2\]",
            ),
            (
                lambda: stepwise.vicreg_early_velocity(np.eye(2), X1, X2, eps=0.0),
                "eps must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.info_nce_expansion",
        lambda w, x1, x2, temperature: stepwise.info_nce_expansion(
            w, x1, x2, temperature=temperature
        ),
        (WEIGHTS[:, :2], X1, X2, np.array(0.7)),
        bad=(
            (
                lambda: stepwise.info_nce_expansion(np.eye(2), X1, X2, temperature=-1),
                "temperature must be > 0, got -1",
            ),
        ),
    ),
    Case(
        "stepwise.nt_xent_collapsed_velocity",
        lambda w, bias, x1, x2, temperature: stepwise.nt_xent_collapsed_velocity(
            w, bias, x1, x2, temperature=temperature
        ),
        (WEIGHTS[:, :2], np.array([1.0, 0.5]), X1, X2, np.array(0.7)),
        bad=(
            (
                lambda: stepwise.nt_xent_collapsed_velocity(
                    np.eye(2), np.zeros(2), X1, X2
                ),
                "the squared norm of the bias must be > 0, got 0",
            ),
            (
                lambda: stepwise.nt_xent_collapsed_velocity(
                    np.eye(2), np.ones(3), X1, X2
                ),
                r"bias must be \[2\]",
            ),
        ),
    ),
    Case(
        "stepwise.weighted_plateau",
        lambda weight: stepwise.weighted_plateau(2, 4, off_diagonal_weight=weight),
        (np.array(0.3),),
        bad=(
            (
                lambda: stepwise.weighted_plateau(5, 4, off_diagonal_weight=0.3),
                "learned must be 1 to 4, got 5",
            ),
            (
                lambda: stepwise.weighted_plateau(2, 4, off_diagonal_weight=-1.0),
                "off_diagonal_weight must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "stepwise.batch_plateau",
        reason=COUNTS,
        bad=(
            (
                lambda: stepwise.batch_plateau(2, 0),
                "batch_size must be a whole number >= 1, got 0",
            ),
        ),
    ),
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

SPECTRAL = [
    Case(
        "spectral_transformation.solve_alignment_flow",
        lambda start, noise, power, t: spectral.solve_alignment_flow(
            start, noise, power=power
        )(t),
        (SPECTRUM, NOISE, np.array(0.2), TIMES),
        bad=bad_start(
            lambda start: spectral.solve_alignment_flow(start, NOISE, power=0.2)
        )
        + bad_times(lambda: spectral.solve_alignment_flow(SPECTRUM, NOISE, power=0.2))
        + (
            (
                lambda: spectral.solve_alignment_flow(SPECTRUM, NAN, power=0.2),
                "noise must be finite and >= 0, got nan",
            ),
            (
                lambda: spectral.solve_alignment_flow(SPECTRUM, NOISE, power=-0.1),
                "power must be >= 0, got -0.1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.collapse_time",
        lambda start, noise, power: spectral.collapse_time(start, noise, power=power),
        (SPECTRUM, NOISE, np.array(0.2)),
        bad=(
            (
                lambda: spectral.collapse_time(0 * SPECTRUM, NOISE, power=0.2),
                "start must be > 0, got 0",
            ),
            (
                lambda: spectral.collapse_time(SPECTRUM, -NOISE, power=0.2),
                "noise must be finite and >= 0, got -0.1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.solve_trace_flow",
        solved(spectral.solve_trace_flow, iterations=1, observations=9),
        (SPECTRUM, TIMES),
        jit=False,
        bad=bad_start(
            lambda start: spectral.solve_trace_flow(start, iterations=1, observations=9)
        )
        + (
            (
                lambda: spectral.solve_trace_flow(
                    SPECTRUM, iterations=1.5, observations=9
                ),
                "iterations must be a whole number >= 0, got 1.5",
            ),
            (
                lambda: spectral.solve_trace_flow(
                    SPECTRUM, iterations=1, observations=1
                ),
                "observations must be a whole number >= 2, got 1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.iter_norm_spectral_gradient",
        lambda spectrum, rho: spectral.iter_norm_spectral_gradient(spectrum, rho, 3),
        (SPECTRUM, RHO),
        bad=(
            (
                lambda: spectral.iter_norm_spectral_gradient(SPECTRUM, 2 * RHO, 3),
                r"correlations must lie in \[-1, 1\], got 1.8",
            ),
            (
                lambda: spectral.iter_norm_spectral_gradient(0 * SPECTRUM, RHO, 3),
                "the sum of the spectrum must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.iter_norm_gain",
        lambda x: spectral.iter_norm_gain(x, 3),
        (SHARES,),
        bad=(
            (
                lambda: spectral.iter_norm_gain(SPECTRUM, 3),
                r"eigenvalues over their sum, in \[0, 1\], got 1.5",
            ),
            (lambda: spectral.iter_norm_gain(NAN, 3), "got nan"),
        ),
    ),
    Case(
        "spectral_transformation.iter_norm_spectrum",
        lambda x: spectral.iter_norm_spectrum(x, 3),
        (SHARES,),
        bad=(
            (
                lambda: spectral.iter_norm_spectrum(SHARES, -1),
                "iterations must be a whole number >= 0, got -1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.rounding_growth",
        lambda x: spectral.rounding_growth(x, 4),
        (SHARES,),
        bad=(
            (
                lambda: spectral.rounding_growth(SPECTRUM, 3),
                "eigenvalues over their sum",
            ),
            (
                lambda: spectral.rounding_growth(SHARES, 3, order="first"),
                "order must be one of last, inside",
            ),
        ),
    ),
    Case(
        "spectral_transformation.trace_loss_of_spectrum",
        lambda x, u: spectral.trace_loss_of_spectrum(x, u, 3),
        (SHARES, np.array([[0.8, 0.6], [-0.6, 0.8]])),
        bad=(
            (
                lambda: spectral.trace_loss_of_spectrum(SHARES, np.eye(3), 3),
                r"vectors must be \[2, 2\]",
            ),
            (
                lambda: spectral.trace_loss_of_spectrum(SPECTRUM, np.eye(2), 3),
                "eigenvalues over their sum",
            ),
        ),
    ),
    Case(
        "spectral_transformation.trace_loss_floor",
        reason=COUNTS,
        bad=(
            (
                lambda: spectral.trace_loss_floor(4, 4, rank=5),
                "rank must be 1 to 4, got 5",
            ),
        ),
    ),
    Case(
        "spectral_transformation.intl_floor",
        lambda weight: spectral.intl_floor(8, 2, trace_weight=weight),
        (np.array(0.1),),
        bad=((lambda: spectral.intl_floor(6, 4), "trace_weight must be >= 0"),),
    ),
    Case(
        "spectral_transformation.default_trace_weight",
        reason=COUNTS,
        bad=(
            (
                lambda: spectral.default_trace_weight(0),
                "n must be a whole number >= 1, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.reviving_trace_weight",
        lambda rho, alignment: spectral.reviving_trace_weight(
            16, 3, dead_correlation=rho, alignment=alignment
        ),
        (np.array(0.2), np.array(0.3)),
        bad=(
            (
                lambda: spectral.reviving_trace_weight(16, 3, dead_correlation=1.5),
                r"dead_correlation must lie in \[-1, 1\], got 1.5",
            ),
            (
                lambda: spectral.reviving_trace_weight(16, 0),
                "iterations must be a whole number >= 1, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.equalizing_rate",
        lambda total: spectral.equalizing_rate(
            4, 2, observations=9, total_variance=total
        ),
        (np.array(2.0),),
        bad=(
            (
                lambda: spectral.equalizing_rate(
                    4, 2, observations=9, total_variance=0.0
                ),
                "total_variance must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.output_variance",
        lambda spectrum: spectral.output_variance(spectrum, lambda v: v**-0.3),
        (SPECTRUM,),
        bad=(
            (
                lambda: spectral.output_variance(-SPECTRUM, lambda v: v**-0.3),
                "spectrum must be > 0, got -1.5",
            ),
        ),
    ),
    Case(
        "spectral_transformation.implicit_spectral_gradient",
        lambda spectrum, rho: spectral.implicit_spectral_gradient(
            spectrum, rho, lambda v: v**-0.3
        ),
        (SPECTRUM, RHO),
        bad=(
            (
                lambda: spectral.implicit_spectral_gradient(
                    NAN, RHO, lambda v: v**-0.3
                ),
                "spectrum must be > 0, got nan",
            ),
            (
                lambda: spectral.implicit_spectral_gradient(
                    SPECTRUM, 2 * RHO, lambda v: v**-0.3
                ),
                r"correlations must lie in \[-1, 1\]",
            ),
        ),
    ),
]

BAD_SIZES = "n must be a whole number >= 1, got"
BAD_EMBEDDINGS = r"z must be \[N, D\]"

DUALITY = [
    Case(
        "duality.criterion_gap",
        duality.criterion_gap,
        (Z,),
        bad=(
            (lambda: duality.criterion_gap(Z[0]), BAD_EMBEDDINGS),
            (lambda: duality.criterion_gap(np.nan * Z), "z must be finite, got nan"),
        ),
    ),
    Case(
        "duality.fourth_powers",
        lambda z: flat(duality.fourth_powers(z)),
        (Z,),
        bad=((lambda: duality.fourth_powers(Z[:0]), BAD_EMBEDDINGS),),
    ),
    Case(
        "duality.criterion_gradients",
        lambda z: flat(duality.criterion_gradients(z)),
        (Z,),
        bad=((lambda: duality.criterion_gradients(Z[0]), BAD_EMBEDDINGS),),
    ),
    Case(
        "duality.double_normalize",
        lambda z: duality.double_normalize(z, iterations=20),
        (Z,),
        bad=(
            (
                lambda: duality.double_normalize(np.array([[0.0, 0.0], [1.0, 1.0]])),
                "the norm of a row must be > 0, got 0",
            ),
            (
                lambda: duality.double_normalize(Z, iterations=-1),
                "iterations must be a whole number >= 0, got -1",
            ),
        ),
    ),
    Case(
        "duality.normalized_gap",
        lambda norm: duality.normalized_gap(5, 3, row_norm=norm),
        (np.array(1.3),),
        bad=(
            (lambda: duality.normalized_gap(0, 3), f"{BAD_SIZES} 0"),
            (
                lambda: duality.normalized_gap(5, 3, row_norm=-1.0),
                "row_norm must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "duality.soft_gap",
        lambda square: duality.soft_gap(5, 3, square=square),
        (np.array(0.7),),
        bad=((lambda: duality.soft_gap(2.5, 3), f"{BAD_SIZES} 2.5"),),
    ),
    Case(
        "duality.solve_soft_norm_flow",
        lambda start, square, t: duality.solve_soft_norm_flow(start, square=square)(t),
        (START, np.array(0.8), TIMES),
        bad=bad_start(duality.solve_soft_norm_flow)
        + bad_times(lambda: duality.solve_soft_norm_flow(START))
        + (
            (
                lambda: duality.solve_soft_norm_flow(START, square=-1.0),
                "square must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "duality.fourth_power_bounds",
        lambda norm: flat(duality.fourth_power_bounds(5, 3, norm=norm)),
        (np.array(1.3),),
        bad=(
            (
                lambda: duality.fourth_power_bounds(5, 3, norm=np.nan),
                "norm must be >= 0, got nan",
            ),
        ),
    ),
    Case(
        "duality.criterion_gap_bounds",
        reason=COUNTS,
        bad=((lambda: duality.criterion_gap_bounds(0, 3), f"{BAD_SIZES} 0"),),
    ),
    Case(
        "duality.welch_bound",
        reason=COUNTS,
        bad=((lambda: duality.welch_bound(0, 3), f"{BAD_SIZES} 0"),),
    ),
    Case(
        "duality.repulsion_optimum",
        reason=COUNTS,
        bad=(
            (
                lambda: duality.repulsion_optimum(1, 3),
                "n must be a whole number >= 2, got 1",
            ),
        ),
    ),
    Case(
        "duality.largest_coding_rate",
        lambda eps: duality.largest_coding_rate(5, 3, eps_squared=eps),
        (np.array(0.4),),
        bad=(
            (
                lambda: duality.largest_coding_rate(5, 3, eps_squared=0.0),
                "eps_squared must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "duality.ctr_weights",
        lambda temperature: jnp.stack(
            [
                jnp.asarray(value)
                for value in duality.ctr_weights(5, temperature=temperature).values()
            ]
        ),
        (np.array(0.5),),
        bad=(
            (
                lambda: duality.ctr_weights(5, temperature=0.0),
                "temperature must be > 0, got 0",
            ),
        ),
    ),
]


def tangent(params, x):
    return jnp.tanh(x @ params.T)


NTK = [
    Case(
        "ntk.relu_network_init",
        reason="draws weights",
        bad=(
            (
                lambda: ntk.relu_network_init(jax.random.key(0), (2, 3)),
                "widths must be inputs, hidden, outputs",
            ),
        ),
    ),
    Case(
        "ntk.relu_network",
        lambda first, second, x: ntk.relu_network([first, second], x),
        (WEIGHTS[:, :2], np.array([[0.7, -0.4]]), X1),
    ),
    Case(
        "ntk.relu_ntk",
        lambda x, other, hidden, readout: ntk.relu_ntk(
            x, other, hidden_layers=2, hidden_scale=hidden, readout_scale=readout
        ),
        (X1, X2, np.array(1.1), np.array(0.9)),
        bad=(
            (lambda: ntk.relu_ntk(X1, np.eye(3)), r"x_other must be \[M, 2\]"),
            (
                lambda: ntk.relu_ntk(X1, hidden_layers=0),
                "hidden_layers must be at least 1, got 0",
            ),
        ),
    ),
    Case(
        "ntk.empirical_ntk",
        lambda params, x: ntk.empirical_ntk(tangent, params, x),
        (WEIGHTS[:, :2], X1),
        jit=False,
        bad=(
            (
                lambda: ntk.empirical_ntk(
                    tangent, WEIGHTS[:, :2], X1, directions=np.eye(3)
                ),
                r"directions must be \[K, 2\]",
            ),
        ),
    ),
]


def bowl(width):
    """A quartic with the width as a hyper-parameter."""
    return lambda w: jnp.sum(w**2) / 2 + width * jnp.sum(w) ** 4


def bad_flow(flow, cap):
    """Times that are not ascending from 0 on, and a flow that blows up."""
    return (
        (lambda: flow(np.array([1.0, 0.5])), "times must be ascending and >= 0"),
        (lambda: flow(np.array([-1.0, 0.5])), "times must be ascending and >= 0"),
        (lambda: cap(np.array([0.0, 3.0])), "the flow cannot be followed to time 3"),
    )


SHARED = [
    Case("simulate.Simulation", reason=RECORD),
    Case(
        "simulate.integrate",
        lambda start, rate, t: (
            simulate.integrate(
                lambda x: -rate * x**3, start, t, estimate_error=False
            ).values
        ),
        (START, GAMMA, TIMES),
        jit=False,
        bad=bad_flow(
            lambda t: simulate.integrate(lambda x: -x, jnp.ones(2), t),
            lambda t: simulate.integrate(lambda x: x**2, jnp.ones(2), t, max_steps=500),
        ),
    ),
    Case(
        "simulate.gradient_flow",
        lambda start, width, t: (
            simulate.gradient_flow(bowl(width), start, t, estimate_error=False).values
        ),
        (START, np.array(0.3), TIMES),
        jit=False,
        bad=bad_flow(
            lambda t: simulate.gradient_flow(bowl(0.3), jnp.ones(2), t),
            lambda t: simulate.gradient_flow(
                lambda w: -jnp.sum(w**3), jnp.ones(2), t, max_steps=500
            ),
        ),
    ),
    Case(
        "simulate.gradient_descent",
        lambda start, width, rate, momentum: (
            simulate.gradient_descent(bowl(width), start, 5, rate, momentum).values
        ),
        (START, np.array(0.3), np.array(0.1), np.array(0.5)),
        jit=False,
        bad=(
            (
                lambda: simulate.gradient_descent(bowl(0.3), ONE, 5, 0.1, 1.5),
                r"momentum must lie in \[0, 1\), got 1.5",
            ),
            (
                lambda: simulate.gradient_descent(bowl(0.3), ONE, 5, np.nan),
                "learning_rate must be > 0, got nan",
            ),
        ),
    ),
    Case("comparison.Comparison", reason=RECORD),
    Case(
        "comparison.compare",
        reason=PLAIN,
        bad=(
            (
                lambda: comparison.compare(
                    np.ones((2, 2)), np.ones((2, 3)), times=TIMES, tolerance=0.1
                ),
                "do not fit",
            ),
        ),
    ),
    Case(
        "comparison.crossing_times",
        reason=PLAIN,
        bad=(
            (lambda: comparison.crossing_times(TIMES, np.ones((3, 1)), 0.5), "not fit"),
        ),
    ),
    Case(
        "comparison.subspace_overlap",
        reason=PLAIN,
        bad=(
            (
                lambda: comparison.subspace_overlap(np.eye(2), np.eye(3)),
                r"two \[N, d\] are needed",
            ),
        ),
    ),
    Case("comparison.convergence_slope", reason=PLAIN),
]


def dot(a, b):
    """Return the linear kernel."""
    return a @ b.T


CASES: list[Case] = [*STEPWISE, *SPECTRAL, *DUALITY, *NTK, *SHARED]

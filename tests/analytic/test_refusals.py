"""Numbers that no theory can take are named, wherever they can be seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import (
    compare,
    gradient_descent,
    gradient_flow,
    implicit_variance,
    integrate,
    spectral_transformation,
    stepwise,
)

ONE, SMALL = np.ones(1), np.array([0.1])
GROWN = stepwise.solve_aligned(SMALL, ONE)
SKEW = np.array([[1.0, 0.5], [0.0, 1.0]])


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: stepwise.kernel_embedding(SKEW, np.eye(2), np.eye(2), 1),
            "k_xx must be symmetric",
        ),
        (
            lambda: stepwise.kernel_modes(np.eye(2), SKEW, SKEW, 1),
            "k_xpxp must be symmetric",
        ),
        (lambda: stepwise.half_times(2.0 * ONE, ONE), "gamma start.2 must be below 1"),
        (
            lambda: stepwise.left_preconditioned_times(SMALL, ONE, eps=0.1, level=1.5),
            r"level must lie in \(0, 1\), got 1.5",
        ),
        (
            lambda: stepwise.left_preconditioned_times(2 * ONE, ONE, eps=0.1),
            r"gamma start.2 must lie in \(0, 1\), got 4",
        ),
        (
            lambda: stepwise.left_preconditioned_eigenvalues(SMALL, ONE, ONE, eps=0.0),
            "eps must be > 0, got 0",
        ),
        (
            lambda: stepwise.expected_critical_times(np.array([1.0, -0.5]), 0.1),
            "gamma must be > 0, got -0.5",
        ),
        (lambda: stepwise.expected_critical_times(ONE, 0.0), "scale must be > 0"),
        (
            lambda: implicit_variance.predictor_eigenvalues(SMALL, ONE, alpha=-1),
            "alpha must be > 0, got -1",
        ),
        (
            lambda: implicit_variance.recruitment_time(SMALL, alpha=0.0),
            "alpha must be > 0",
        ),
        (
            lambda: implicit_variance.solve_euclidean(SMALL, alpha=0.0),
            "alpha must be > 0",
        ),
        (
            lambda: implicit_variance.solve_moving_target(SMALL, rate=-1),
            "rate must be > 0, got -1",
        ),
        (
            lambda: spectral_transformation.iter_norm_spectrum([4.0, 1.0, 0.5], 4),
            r"eigenvalues over their sum, in \[0, 1\]",
        ),
        (
            lambda: spectral_transformation.iter_norm_gain([-0.1], 4),
            r"eigenvalues over their sum, in \[0, 1\]",
        ),
        (
            lambda: spectral_transformation.solve_alignment_flow(ONE, -ONE, power=0.1),
            "noise must be finite and >= 0, got -1",
        ),
        (
            lambda: spectral_transformation.collapse_time(ONE, -ONE, power=0.1),
            "noise must be finite and >= 0, got -1",
        ),
        (
            lambda: spectral_transformation.solve_alignment_flow(ONE, ONE, power=0.1)(
                -1.0
            ),
            "t must be >= 0, got -1",
        ),
        (lambda: GROWN(np.inf), "t must be finite, got inf"),
        (lambda: GROWN(np.nan), "t must be >= 0, got nan"),
        (
            lambda: implicit_variance.predictor_eigenvalues(SMALL, np.inf),
            "t must be finite, got inf",
        ),
        (lambda: GROWN(1j), "t must be an array of real numbers, got complex128"),
        (lambda: GROWN("soon"), "t must be an array of real numbers, got a str"),
        (lambda: GROWN([[1.0, 2.0], [3.0]]), "array of real numbers, got a list"),
        (lambda: GROWN(None), "t must be an array of real numbers, got a NoneType"),
        (
            lambda: implicit_variance.solve_euclidean(["a"]),
            "start must be an array of real numbers, got a list",
        ),
        (
            lambda: implicit_variance.solve_euclidean(ONE, adjoint="backwards"),
            "adjoint must be one of auto, reverse, forward, both, got 'backwards'",
        ),
        (
            lambda: implicit_variance.solve_cosine(ONE),
            "start must have at least 2 modes, got 1",
        ),
        (
            lambda: stepwise.kernel_modes(np.eye(2), 0.5 * np.eye(2), np.eye(2), 1.5),
            "dim must be a whole number >= 1, got 1.5",
        ),
        (lambda: GROWN.replace(start=np.ones(2)), r"start must be \[1\] as gamma is"),
        (
            lambda: GROWN.plot(times=1.0),
            r"times must be \[times\], got shape \[\]",
        ),
        (
            lambda: GROWN.plot(np.ones((3, 2)), times=np.arange(3.0)),
            r"values must be \[3, 1\] as the solution's, got \[3, 2\]",
        ),
        (
            lambda: GROWN.plot(
                integrate(
                    lambda x: -x, ONE, [0.0, 1.0], record=lambda x: {"a": x, "b": x}
                )
            ),
            r"got \[2, 1\], \[2, 1\]; see record=",
        ),
        (
            lambda: integrate(lambda x: x[:1], np.ones(2), [0.0, 1.0]),
            r"velocity must return what the state is, arrays \[2\], got \[1\]",
        ),
        (
            lambda: integrate(lambda x: np.sin(x), ONE, [0.0, 1.0]),
            "must compute with jax.numpy, not with NumPy",
        ),
        (
            lambda: gradient_descent(
                lambda w: jnp.sum(w**4), 1e3 * ONE, 20, 0.1, every=2
            ),
            "the descent is not finite after time 0.4, where the largest record is",
        ),
        (
            lambda: compare(ONE, ONE, times=ONE, tolerance=-0.1),
            "tolerance must be >= 0, got -0.1",
        ),
        (
            lambda: compare(1j * ONE, ONE, times=ONE, tolerance=0.1),
            "theory must be one array .* of real numbers, got ndarray",
        ),
    ],
)
def test_it_is_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_a_start():
    for run in (
        lambda w: gradient_descent(lambda w: jnp.sum(w**2), w, 2, 0.1).values,
        lambda w: gradient_flow(lambda w: jnp.sum(w**2), w, np.arange(2.0)).values,
    ):
        np.testing.assert_array_equal(run(np.ones(2, int)), run(np.ones(2)))


def test_at_no_times_an_integrated_solution_has_its_shape():
    solution = implicit_variance.solve_cosine(np.array([0.1, 0.2]))
    assert solution([]).shape == (0, 2)


def test_whole_numbers_of_numpy_are_whole():
    x = np.array([0.5, 1.0])
    found = spectral_transformation.iter_norm_spectrum(x, np.int64(4))
    expected = spectral_transformation.iter_norm_spectrum(x, 4)
    np.testing.assert_array_equal(found, expected)
    for wrong in (np.float64(4), np.bool_(True), True):
        with pytest.raises(ValueError, match="whole number"):
            spectral_transformation.iter_norm_spectrum(x, wrong)


@pytest.mark.usefixtures("float64")
def test_traced_numbers_are_trusted():
    times = jnp.array([0.0, 1.0])
    for function in (
        lambda x: spectral_transformation.iter_norm_spectrum(x, 2),
        lambda x: stepwise.half_times(x, jnp.ones(1)),
        lambda x: stepwise.left_preconditioned_eigenvalues(x, x, times, eps=x[0]),
        lambda x: implicit_variance.predictor_eigenvalues(x, times, alpha=x[0]),
        lambda x: stepwise.kernel_modes(jnp.diag(x), jnp.diag(x), jnp.diag(x), 1).gamma,
    ):
        found = jax.jit(function)(jnp.array([0.5]))
        np.testing.assert_allclose(found, function(jnp.array([0.5])), rtol=1e-9)

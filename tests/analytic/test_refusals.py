"""Numbers that no theory can take are named, wherever they can be seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import implicit_variance, spectral_transformation, stepwise

ONE, SMALL = np.ones(1), np.array([0.1])
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
    ],
)
def test_it_is_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


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

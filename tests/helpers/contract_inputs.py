"""Inputs and refusals that several theories' contract cases share."""

import jax.numpy as jnp
import numpy as np

TIMES = np.array([0.1, 0.4])
START, GAMMA, SIGMA = np.array([0.2, 0.3]), np.array([1.0, 0.6]), np.array([1.5, 0.8])
EPS, SCALE = np.array(0.3), np.array(0.1)
MOMENT = np.array([[1.0, 0.2, 0.1], [0.2, 0.6, 0.0], [0.1, 0.0, -0.2]])
SPREAD = np.array([[1.4, 0.3, 0.0], [0.3, 0.9, 0.1], [0.0, 0.1, 1.1]])
WEIGHTS = np.array([[0.5, -0.3, 0.2], [0.1, 0.6, 0.4]])
X1 = np.array([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.1]])
X2 = np.array([[0.9, 0.1], [-0.4, 1.0], [0.3, -0.8]])
NAN, ONE = np.array([np.nan, 1.0]), np.ones(1)
COUNTS = "takes counts alone"
RECORD = "a record of arrays"


def symmetric(matrix):
    """Every entry's change is one of the symmetric matrix."""
    return 0.5 * (matrix + matrix.T)


def flat(parts):
    return jnp.concatenate([jnp.ravel(part) for part in parts])


def solved(solver, **kwargs):
    """Return a function of the solver's arguments and of times."""
    return lambda *inputs: solver(*inputs[:-1], **kwargs)(inputs[-1])


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

"""The iterations that approach an inverse square root."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrices import symmetric, with_spectrum

from ssljax.losses.matrix_functions import (
    coupled_iteration,
    iterated_inverse_root,
    plain_iteration,
)

ITERATIONS = {
    iterate: jax.jit(iterate, static_argnums=1)
    for iterate in (plain_iteration, coupled_iteration, iterated_inverse_root)
}


def test_the_two_iterations_are_the_same_map(float64):
    s = with_spectrum([0.01, 0.1, 0.3, 0.59])
    for steps in (0, 1, 4, 7):
        plain, coupled, chosen = (f(s, steps) for f in ITERATIONS.values())
        np.testing.assert_allclose(coupled, plain, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(chosen, plain)


def test_many_steps_reach_the_inverse_root(float64):
    # Twenty plain steps on this matrix would be lost in amplified rounding.
    values = np.array([0.001, 0.1, 0.3, 0.599])
    s, expected = with_spectrum(values), with_spectrum(values**-0.5)
    found = ITERATIONS[iterated_inverse_root](s, 20)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    narrow = s.astype(np.float32)
    errors = [
        float(np.abs(ITERATIONS[f](narrow, 20) - expected).max())
        / np.abs(expected).max()
        for f in (plain_iteration, coupled_iteration)
    ]
    assert not errors[0] < 0.1 and errors[1] < 1e-3


@pytest.mark.slow
def test_the_stable_form_is_accurate_for_many_steps():
    """Seven plain steps are exact, and eleven coupled ones; see item 18 for more."""
    n = 256
    # Condition 8.3e3. A dominant eigenvalue is what the plain recursion cannot bear.
    values = np.arange(1.0, n + 1) ** -1.627
    values /= values.sum()
    matrix = with_spectrum(values)
    exact, vectors = np.linalg.eigh(matrix)
    for iterate, steps, bound in [
        *((plain_iteration, steps, 1e-5) for steps in (4, 5, 7)),
        *((coupled_iteration, steps, 1e-3) for steps in (8, 11, 15)),
    ]:
        f = np.ones_like(exact)
        for _ in range(steps):
            f = 1.5 * f - 0.5 * exact * f**3
        reference = (vectors * f) @ vectors.T
        gap = np.asarray(ITERATIONS[iterate](matrix.astype("f"), steps)) - reference
        assert np.linalg.norm(gap) < bound * np.linalg.norm(reference)


def test_the_gradient_of_the_iteration_is_symmetric_in_permutations(float64):
    # A permutation of the axes permutes value and gradient alike.
    s, weight = with_spectrum([0.1, 0.2, 0.3, 0.4]), symmetric(4, 1)
    order = np.array([2, 0, 3, 1])
    permuted = np.ix_(order, order)
    for f, steps in itertools.product((plain_iteration, coupled_iteration), (2, 5)):

        @jax.jit
        @jax.grad
        def gradient(s, w, f=f, steps=steps):
            return jnp.sum(w * f(s, steps))

        np.testing.assert_allclose(
            gradient(s[permuted], weight[permuted]),
            gradient(s, weight)[permuted],
            rtol=1e-10,
        )

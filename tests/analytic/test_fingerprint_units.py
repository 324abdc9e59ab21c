"""A verdict is the loss's own: no unit of it, and no rounding, decides."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from optimising import optimising

from ssljax import losses
from ssljax.analytic.checklist import Given, run_item
from ssljax.analytic.fingerprint import (
    equalisation_rate,
    gaussian_views,
    spectral_fingerprint,
)
from ssljax.analytic.fingerprint.checklist import THEORY
from ssljax.analytic.fingerprint.losses import FINGERPRINTED

pytestmark = pytest.mark.slow

small = partial(spectral_fingerprint, modes=4, samples=32)


@pytest.fixture
def optimised():
    """Compile as users do.

    Without optimisation some processors take inverse roots to eight digits only, and
    under whitening, which exerts no force, that is all there is to see.
    """
    with optimising():
        yield


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("name", ["vicreg", "nt_xent", "whiten"])
def test_a_verdict_does_not_change_with_the_unit_of_the_loss(name):
    loss = FINGERPRINTED[name].loss
    records = [
        small(lambda z1, z2, unit=unit: unit * loss(z1, z2)) for unit in (1e-7, 1, 1e6)
    ]
    first = records[1]
    for unit, found in zip((1e-7, 1, 1e6), records, strict=True):
        assert (found.verdict, found.size) == (first.verdict, first.size)
        np.testing.assert_allclose(found.rates, unit * first.rates, 1e-9, 1e-12 * unit)
        for field in ("scale", "exponent", "threshold", "plateau"):
            expected = getattr(first, field)
            np.testing.assert_allclose(getattr(found, field), expected, rtol=1e-6)
    assert ("no force" in first.verdict) == (name == "whiten")


def test_a_constant_has_no_force_though_its_gradient_is_rounding():
    def constant(z1, z2):
        unit = z1 / jnp.linalg.norm(z1, axis=1, keepdims=True)
        return 1e6 * (1.0 - jnp.mean(jnp.sum(unit**2, axis=1)))

    found = small(constant)
    assert found.verdict == "no force" and found.size == "free"


def test_a_constant_beside_a_loss_changes_nothing():
    def shifted(z1, z2):
        return 1e6 + losses.linearized_barlow_twins(z1, z2)

    found, expected = small(shifted), small(losses.linearized_barlow_twins)
    assert found.verdict == expected.verdict
    assert found.scale == pytest.approx(expected.scale, rel=1e-9)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_an_error(wrong):
    def loss(z1, z2):
        return wrong * jnp.sum(z1 * z2)

    for call in (
        partial(small, loss),
        partial(equalisation_rate, loss, 1.0, views=gaussian_views(4, samples=32)),
    ):
        with pytest.raises(ValueError, match="no finite gradient") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4, 7])
def test_rates_are_derivatives_at_any_seed(seed):
    (item,) = (item for item in THEORY.items if item.number == "1")
    verdict = run_item(item, Given(seed=seed))
    wrong = [f"{f.what}: {f.measured}" for f in verdict.findings if not f.passed]
    assert verdict.passed, wrong

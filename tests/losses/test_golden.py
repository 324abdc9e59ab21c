"""Recorded values of the losses on `golden_pair`, computed one scalar at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import golden_pair

from ssljax.losses import (
    barlow_twins,
    dcl,
    dimension_contrastive,
    info_nce,
    nt_xent,
    sample_contrastive,
    spectral_contrastive,
    tcr,
    vicreg,
    vicreg_ctr,
    vicreg_exp,
)


def weigh(*weights):
    names = ("invariance_weight", "variance_weight", "covariance_weight")
    return dict(zip(names, weights, strict=True))


INV, VAR, COV = weigh(1.0, 0.0, 0.0), weigh(0.0, 1.0, 0.0), weigh(0.0, 0.0, 1.0)


def of_first(f):
    return lambda z1, z2: f(z1)


def over(name, values, loss):
    """Evaluate a loss at several values of one option, which is traced."""

    def call(z1, z2):
        return jax.vmap(lambda value: loss(z1, z2, **{name: value}))(jnp.array(values))

    return call


warm = partial(over, "temperature", (0.1, 0.15, 0.5))
two = partial(over, "temperature", (0.1, 0.5))

GOLDEN = {
    "L_c": (of_first(sample_contrastive), 49.7981664970),
    "L_nc": (of_first(dimension_contrastive), 37.7320358190),
    "rows^4": (of_first(lambda z: jnp.sum(jnp.sum(z**2, 1) ** 2)), 26.2325837954),
    "columns^4": (of_first(lambda z: jnp.sum(jnp.sum(z**2, 0) ** 2)), 38.2987144734),
    "nt_xent": (warm(nt_xent), [0.2585811438, 0.3709875023, 1.0451088607]),
    "nt_xent squared": (
        warm(partial(nt_xent, negatives="squared")),
        [0.8098147014, 0.9899715807, 1.5866650598],
    ),
    "nt_xent absolute": (
        warm(partial(nt_xent, negatives="absolute")),
        [1.0862157785, 1.2356834241, 1.7435034793],
    ),
    "dcl": (warm(dcl), [-3.0988450034, -1.7214506656, 0.5722902113]),
    "dcl squared": (
        warm(partial(dcl, negatives="squared")),
        [0.0956104431, 0.4682229573, 1.3554964843],
    ),
    "dcl absolute": (
        warm(partial(dcl, negatives="absolute")),
        [0.6355699857, 0.8752335553, 1.5505842998],
    ),
    "dcl within the views": (
        warm(partial(dcl, pairs="within_view")),
        [-3.8161087213, -2.4235594394, -0.1211051388],
    ),
    # google-research sums over the two views.
    "two nt_xent": (lambda *z: 2 * nt_xent(*z, temperature=0.5), 2.0902177215),
    # The recorded value has its anchors in the first view only.
    "info_nce": (partial(info_nce, temperature=0.1, symmetric=False), 0.1463047216),
    "spectral": (
        over("mu", (1.0, 10.0), spectral_contrastive),
        [-1.6184895036, -0.2422295488],
    ),
    "vicreg inv": (partial(vicreg, **INV), 0.0052150775),
    "vicreg var": (partial(vicreg, **VAR), 0.2319583398),
    "vicreg cov": (partial(vicreg, **COV), 0.6963090204),
    "vicreg": (vicreg, 6.6256444528),
    "exp cov": (two(partial(vicreg_exp, **COV)), [7.9312709416, 2.6925589894]),
    "exp": (two(vicreg_exp), [13.8606063740, 8.6218944218]),
    "ctr var": (partial(vicreg_ctr, **VAR), 0.3744532264),
    "ctr cov": (two(partial(vicreg_ctr, **COV)), [7.8757922072, 3.2196902487]),
    "ctr cov literal": (
        partial(vicreg_ctr, temperature=0.1, centering="sample", **COV),
        7.9157007040,
    ),
    "bt on": (partial(barlow_twins, off_diagonal_weight=0.0), 0.0000741397),
    "bt off": (
        lambda *z: (
            barlow_twins(*z, off_diagonal_weight=1.0)
            - barlow_twins(*z, off_diagonal_weight=0.0)
        ),
        3.8685953657,
    ),
    "bt": (barlow_twins, 0.0198039761),
    "tcr term": (partial(tcr, invariance_weight=0.0), -2.5919392934),
    "tcr": (partial(tcr, eps_squared=0.2, invariance_weight=30.0), -32.4998440454),
}


def evaluate(dtype):
    # One program for all of them: compiling takes the time.
    program = jax.jit(lambda *z: [loss(*z) for loss, _ in GOLDEN.values()])
    return dict(zip(GOLDEN, program(*golden_pair(dtype)), strict=True))


def test_values_in_float64(float64):
    for name, value in evaluate(np.float64).items():
        assert value.dtype == jnp.float64
        # Recorded to ten decimals, so 5e-11 is their last digit.
        expected = pytest.approx(np.array(GOLDEN[name][1]), rel=1e-9, abs=5.1e-11)
        assert np.asarray(value) == expected, name


def test_values_in_float32():
    for name, value in evaluate(np.float32).items():
        assert value.dtype == jnp.float32
        # On the diagonal 1 - C is 4e-3: float32 cannot hold its square closer.
        rel = 1e-4 if name == "bt on" else 1e-5
        assert np.asarray(value) == pytest.approx(np.array(GOLDEN[name][1]), rel=rel), (
            name
        )

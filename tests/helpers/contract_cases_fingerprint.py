"""Public functions of the fingerprint, as called there."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax import losses
from ssljax.analytic import fingerprint as fp
from ssljax.analytic.fingerprint.losses import power_predictor

SPECTRUM = np.array([0.5, 1.0, 2.5, 4.0])
RHO = np.array([0.4, 0.6, 0.7, 0.9])
NUMBER = np.array(0.5)
SMALL = {"modes": 4, "samples": 32}
VIEWS = fp.gaussian_views(4, samples=32)
RECORD = "a record of measured numbers with verdicts, for which rates are compared"


def with_stop_gradient(exponent):
    def loss(z1, z2):
        return losses.asymmetric_euclidean(z1, z2, power_predictor(z1, exponent))

    return loss


def by_eigh(power):
    def loss(z1, z2):
        def scaled(z):
            values, vectors = jnp.linalg.eigh(z.T @ z / z.shape[0])
            return z @ (vectors * values[None, :] ** power) @ vectors.T

        return jnp.mean(jnp.sum((scaled(z1) - scaled(z2)) ** 2, axis=1))

    return loss


def contrastive(temperature):
    return partial(losses.nt_xent, temperature=temperature)


def rates(spectrum, correlation):
    return fp.eigenvalue_rates(
        losses.linearized_barlow_twins, spectrum, correlation=correlation, views=VIEWS
    )


def predicted_rates(spectrum, exponent):
    return fp.eigenvalue_rates(with_stop_gradient(exponent), spectrum, views=VIEWS)


def rates_by_eigh(spectrum, power):
    return fp.eigenvalue_rates(by_eigh(power), spectrum, views=VIEWS)


def growth(temperature, correlation):
    return fp.growth_rate(contrastive(temperature), correlation=correlation, **SMALL)


def predicted_growth(exponent, level, reference):
    return fp.growth_rate(
        with_stop_gradient(exponent), level=level, reference=reference, **SMALL
    )


def equalisation(weight, level, correlation):
    loss = partial(losses.linearized_barlow_twins, off_diagonal_weight=weight)
    return fp.equalisation_rate(loss, level, correlation=correlation, views=VIEWS)


def boundary(variance, level, others):
    return fp.growth_boundary(
        "vicreg", {"variance_weight": 20.0 * variance}, level=level, others=others
    )


def _bad_rates(spectrum, **options):
    return lambda: fp.eigenvalue_rates(losses.vicreg, spectrum, **options)


def _bad_growth(**options):
    return lambda: fp.growth_rate(losses.vicreg, **(SMALL | options))


def coarse(z1, z2):
    return jnp.mean((z1 - z2).astype(jnp.bfloat16) ** 2)


CASES = (
    Case(
        "fingerprint.eigenvalue_rates",
        rates,
        (SPECTRUM, RHO),
        bad=(
            (_bad_rates([1.0, 0.0]), "spectrum must be > 0"),
            (_bad_rates([1.0, np.nan]), "spectrum must be > 0"),
            (_bad_rates([[1.0]]), "must be [modes]"),
            (_bad_rates(np.ones(4), correlation=1.5), "correlation must lie in"),
            (_bad_rates(np.ones(4), correlation=np.nan), "correlation must lie in"),
            (_bad_rates(np.ones(4), correlation=[0, 1]), "one number or [4]"),
            (_bad_rates(np.ones(2), views=VIEWS), "the views have 4 modes"),
            (_bad_rates(np.ones(10_000)), "use at most 2896 modes"),
            (lambda: fp.eigenvalue_rates(coarse, np.ones(4)), "computes in bfloat16"),
        ),
    ),
    Case(
        "fingerprint.eigenvalue_rates (stop-gradient)",
        predicted_rates,
        (SPECTRUM, NUMBER),
    ),
    Case(
        "fingerprint.eigenvalue_rates (eigh)",
        rates_by_eigh,
        (np.array([2.0, 1.0, 2.0, 1.0]), -0.5 * NUMBER),
        twice=False,
    ),
    Case(
        "fingerprint.growth_rate",
        growth,
        (NUMBER, np.array(0.7)),
        bad=(
            (_bad_growth(level=0.0), "level must be > 0"),
            (_bad_growth(reference=np.nan), "reference must be > 0"),
            (_bad_growth(correlation=-1.5), "correlation must lie in"),
            (_bad_growth(others=np.nan), "others must lie in"),
            (_bad_growth(modes=1), "modes must be a whole number >= 2"),
            (_bad_growth(modes=10_000, samples=None), "use at most 2896 modes"),
            (lambda: fp.growth_rate(coarse, **SMALL), "computes in bfloat16"),
        ),
    ),
    Case(
        "fingerprint.growth_rate (stop-gradient)",
        predicted_growth,
        (NUMBER, np.array(0.3), np.array(0.7)),
        twice=False,
    ),
    Case(
        "fingerprint.equalisation_rate",
        equalisation,
        (NUMBER, np.array(0.8), np.array(0.6)),
        bad=(
            (
                lambda: fp.equalisation_rate(losses.vicreg, -1.0, views=VIEWS),
                "level must be > 0",
            ),
            (
                lambda: fp.equalisation_rate(
                    losses.vicreg, 1.0, views=fp.gaussian_views(1)
                ),
                "modes must be a whole number >= 2",
            ),
        ),
    ),
    Case(
        "fingerprint.growth_boundary",
        boundary,
        (NUMBER, np.array(0.01), np.array(0.8)),
        bad=(
            (lambda: fp.growth_boundary("nt_xent"), "loss must be one of"),
            (lambda: fp.growth_boundary("vicreg", level=-1.0), "level must be > 0"),
            (lambda: fp.growth_boundary("vicreg", others=1.0), "others must lie in"),
        ),
    ),
    Case(
        "fingerprint.gaussian_views",
        reason="a draw of inputs from a seed and whole numbers",
        bad=(
            (lambda: fp.gaussian_views(0), "modes must be a whole number"),
            (lambda: fp.gaussian_views(10, samples=64), "multiple of 20"),
            (lambda: fp.gaussian_views(10_000), "use at most 2896 modes"),
            (lambda: fp.gaussian_views(4, basis="random"), "basis must be one of"),
        ),
    ),
    Case(
        "fingerprint.spectral_fingerprint",
        reason=RECORD + "; `growth_rate` and `equalisation_rate` are its functions",
        bad=(
            (
                lambda: fp.spectral_fingerprint(losses.vicreg, correlation=0.0),
                "correlation must lie in (0, 1]",
            ),
            (
                lambda: fp.spectral_fingerprint(losses.vicreg, modes=1),
                "modes must be a whole number >= 2",
            ),
            (lambda: fp.spectral_fingerprint(coarse, **SMALL), "computes in bfloat16"),
        ),
    ),
    Case(
        "fingerprint.fingerprints",
        reason=RECORD,
        bad=((lambda: fp.fingerprints(["vicregg"]), "loss must be one of"),),
    ),
    Case(
        "fingerprint.phase_map",
        reason="a grid of rates with regimes; `growth_rate` is its function",
        bad=(
            (lambda: fp.phase_map("vicregg", x="a"), "loss must be one of"),
            (lambda: fp.phase_map("nt_xent", x="weight"), "x must be one of"),
            (
                lambda: fp.phase_map("nt_xent", x="temperature", modes=1),
                "modes must be a whole number >= 2",
            ),
        ),
    ),
    Case("fingerprint.Fingerprint", reason="a record of measured numbers"),
    Case("fingerprint.PhaseMap", reason="a record of measured numbers"),
    Case("fingerprint.TwoViews", reason="a record of arrays"),
)

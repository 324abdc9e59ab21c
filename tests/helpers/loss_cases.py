"""Every public loss as a function of two views, with what it promises: the table."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax import losses

KEY = jax.random.key(0)
SHAPE = (6, 4)


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss of two views (and a predictor), and what it promises beyond the rest."""

    call: Callable
    unchanged: str = "swap rows columns"
    """Transformations of `TRANSFORMATIONS` that leave the value alone."""
    shape: tuple[int, int] = SHAPE
    """Of the inputs; where a covariance must be regular it is not SHAPE."""
    predictor: bool = False
    """Takes a matrix ``[D, D]`` as its third argument."""
    live: tuple[int, ...] = (0, 1)
    """Arguments that a gradient reaches; it is exactly zero on the others."""
    order: int = 2
    """Derivatives that equal differences of the value; 0 where a stop-gradient inside
    makes the gradient another one on purpose."""
    scale: float = 1.0
    """Factor on the float64 inputs, to stay off a kink."""
    partners: bool = True
    """Reversing the order of one view's rows raises the loss."""
    whitens: bool = False
    """Decomposes or inverts a covariance: float32 is looser, eager calls are slow."""
    float32_gap: float = 1e-4
    """Largest error of the gradient in float32, as a share of its largest entry."""
    dimensions: int = 1
    """Smallest D."""
    samples: int = 2
    """Smallest N."""


CONTRASTIVE = "swap rows columns lengths rotation"
COLD = {"temperature": 0.05}


def _whitening(call, unchanged="", shape=(8, 4), **promises):
    promises = dict(order=1, partners=False, whitens=True) | promises
    return Case(call, unchanged, shape, **promises)


def _cubed_difference(transform):
    # A cube, so that no gradient vanishes for a symmetric reason.
    return lambda a, b: jnp.mean((transform(a) - transform(b)) ** 3)


def _transformations():
    for axis, shape in (("batch", (8, 4)), ("channel", (4, 8))):
        make = functools.partial(_whitening, unchanged="rows columns", shape=shape)
        for method in ("zca", "pca", "cholesky"):
            # Centring takes one rank from a covariance over channels, so that its
            # Cholesky factor needs a part of the identity. It also has an order.
            kept = {"batch": "rows", "channel": "columns"}[axis]
            call = functools.partial(
                losses.whiten,
                method=method,
                axis=axis,
                eps=0.1 if (method, axis) == ("cholesky", "channel") else 0.0,
            )
            yield (
                f"whiten_{method}_{axis}",
                make(
                    _cubed_difference(call),
                    unchanged="rows columns" if method == "zca" else kept,
                ),
            )
        for name, call in (
            ("iterative_normalization", losses.iterative_normalization),
            (
                "spectral_transform",
                functools.partial(losses.spectral_transform, g=jnp.log1p),
            ),
        ):
            call = functools.partial(call, axis=axis)
            yield f"{name}_{axis}", make(_cubed_difference(call))


CASES = {
    "nt_xent": Case(losses.nt_xent, CONTRASTIVE),
    "nt_xent_cold": Case(
        functools.partial(losses.nt_xent, **COLD), CONTRASTIVE, order=1
    ),
    "nt_xent_squared": Case(
        functools.partial(losses.nt_xent, negatives="squared", **COLD), CONTRASTIVE
    ),
    "nt_xent_absolute": Case(
        functools.partial(losses.nt_xent, negatives="absolute", **COLD), CONTRASTIVE
    ),
    "info_nce": Case(losses.info_nce, CONTRASTIVE),
    "info_nce_one_way": Case(
        functools.partial(losses.info_nce, symmetric=False, **COLD),
        "rows columns lengths rotation",
    ),
    "dcl": Case(losses.dcl, CONTRASTIVE),
    "dcl_squared": Case(
        functools.partial(losses.dcl, negatives="squared", **COLD), CONTRASTIVE
    ),
    "dcl_absolute": Case(
        functools.partial(
            losses.dcl, negatives="absolute", pairs="within_view", **COLD
        ),
        CONTRASTIVE,
    ),
    "dclw": Case(losses.dclw, CONTRASTIVE),
    "dclw_cold": Case(
        functools.partial(losses.dclw, sigma=0.05, **COLD), CONTRASTIVE, order=1
    ),
    # All rows outside the ball, then none.
    "spectral_contrastive": Case(
        functools.partial(losses.spectral_contrastive, mu=0.2), CONTRASTIVE
    ),
    "spectral_contrastive_inside": Case(
        functools.partial(losses.spectral_contrastive, mu=100.0),
        "swap rows columns rotation",
    ),
    "barlow_twins": Case(losses.barlow_twins, scale=0.3),
    "linearized_barlow_twins": Case(
        losses.linearized_barlow_twins, "swap rows columns rotation", samples=1
    ),
    "tcr": Case(losses.tcr, CONTRASTIVE, samples=1),
    # At scale 0.3 no standard deviation reaches 1, the kink of the hinge.
    "vicreg": Case(losses.vicreg, scale=0.3),
    "vicreg_exp": Case(losses.vicreg_exp, scale=0.3, dimensions=2),
    "vicreg_exp_cold": Case(
        functools.partial(losses.vicreg_exp, **COLD), scale=0.3, dimensions=2, order=1
    ),
    "vicreg_ctr": Case(losses.vicreg_ctr, scale=0.3, dimensions=2),
    "vicreg_ctr_sample": Case(
        functools.partial(losses.vicreg_ctr, centering="sample"),
        scale=0.3,
        dimensions=2,
    ),
    "vicreg_ctr_none": Case(
        functools.partial(losses.vicreg_ctr, centering="none", **COLD),
        scale=0.3,
        dimensions=2,
    ),
    "negative_cosine": Case(losses.negative_cosine, CONTRASTIVE, samples=1),
    "normalized_mse": Case(losses.normalized_mse, CONTRASTIVE, samples=1),
    "asymmetric_euclidean": Case(
        losses.asymmetric_euclidean,
        "rows columns rotation",
        predictor=True,
        live=(0,),
        samples=1,
    ),
    "asymmetric_cosine": Case(
        losses.asymmetric_cosine,
        "rows columns rotation lengths",
        predictor=True,
        live=(0,),
        samples=1,
    ),
    "isoloss_euclidean": Case(
        losses.isoloss_euclidean,
        "rows columns rotation",
        predictor=True,
        live=(0,),
        order=0,
        samples=1,
    ),
    "isoloss_cosine": Case(
        losses.isoloss_cosine,
        "rows columns rotation",
        predictor=True,
        live=(0,),
        order=0,
        samples=1,
    ),
    # Of the first view alone.
    "sample_contrastive": Case(
        lambda z1, z2: losses.sample_contrastive(z1),
        "rows columns rotation",
        live=(0,),
        partners=False,
        samples=1,
    ),
    "dimension_contrastive": Case(
        lambda z1, z2: losses.dimension_contrastive(z1),
        "rows columns",
        live=(0,),
        partners=False,
        samples=1,
    ),
    "intl": _whitening(
        lambda a, b: losses.intl([a, b], trace_weight=0.1), "swap rows columns"
    ),
    "intl_batch": _whitening(
        lambda a, b: losses.intl([a, b], axis="batch", iterations=7),
        "swap rows columns",
    ),
    # Well conditioned, where the iteration has not yet converged.
    "intl_coupled": _whitening(
        lambda a, b: losses.intl([a, b], iterations=9), "swap rows columns", SHAPE
    ),
    "intl_ema": _whitening(
        lambda a, b: losses.intl_ema(a, [b], trace_weight=0.1),
        "rows columns",
        live=(1,),
    ),
    "trace_loss": _whitening(
        lambda a, b: losses.trace_loss(a) + losses.trace_loss(b),
        "swap rows columns",
        (4, 8),
    ),
    "trace_loss_batch": _whitening(
        lambda a, b: sum(losses.trace_loss(z, axis="batch") for z in (a, b)),
        "swap rows columns",
    ),
    "w_mse": _whitening(lambda a, b: losses.w_mse([a, b], key=KEY), "swap rows"),
    # Four samples with four channels each: condition numbers up to 520 multiply the
    # rounding of float32, which gives 2e-4.
    "cw_rgp": _whitening(
        lambda a, b: losses.cw_rgp([a, b], key=KEY, groups=2),
        "rows",
        (4, 8),
        float32_gap=1e-3,
    ),
    "shuffled_dbn": _whitening(
        lambda a, b: losses.shuffled_dbn([a, b], key=KEY, groups=2), "rows"
    ),
    **dict(_transformations()),
}


def public_name(name):
    """Return the public function that a case belongs to."""
    return max((n for n in losses.__all__ if name.startswith(n)), key=len)

"""Every loss of `ssljax.losses` as a function of two views, and how it is completed."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax import losses

# The contrastive losses are compared at one temperature; their own defaults differ.
TEMPERATURE = 0.5


class Entry(NamedTuple):
    """A loss of two views ``[N, D]`` and what was added to make it one."""

    family: str
    loss: Callable[..., jax.Array]
    """Of two embeddings and, by keyword, any of ``hyper``."""
    form: str = ""
    """What the loss does not say itself: predictor, key, target, temperature."""
    hyper: Mapping[str, float] = MappingProxyType({})
    """Its real hyper-parameters, which may be traced, at the values of the table."""


def power_predictor(z: jax.Array, exponent: float) -> jax.Array:
    """Return ``C^exponent`` of the second moment of an embedding, held constant."""
    z = jax.lax.stop_gradient(z)
    values, vectors = jnp.linalg.eigh(z.T @ z / z.shape[0])
    return (vectors * jnp.maximum(values, 0.0)[None, :] ** exponent) @ vectors.T


def squared_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return ``mean_i |a_i - b_i|^2``: alignment that sees the scale."""
    return jnp.mean(jnp.sum((a - b) ** 2, axis=1))


def _predicted(name: str) -> Entry:
    def loss(z1, z2, *, exponent=0.5):
        return getattr(losses, name)(z1, z2, power_predictor(z1, exponent))

    return Entry("asymmetric", loss, "predictor C^(1/2)", {"exponent": 0.5})


def _plain(name: str, **options) -> Callable:
    # Looked up at every call, so that a loss replaced in the module is the one used.
    return lambda z1, z2, **given: getattr(losses, name)(z1, z2, **(options | given))


def _contrastive(name: str, **more: float) -> Entry:
    """Return a loss with a temperature, at that of the table."""
    loss = _plain(name, temperature=TEMPERATURE)
    hyper = {"temperature": TEMPERATURE, **more}
    return Entry("contrastive", loss, f"temperature {TEMPERATURE:g}", hyper)


def _covariance(name: str, **hyper: float) -> Entry:
    """Return a loss at its own defaults, which are those named."""
    return Entry("covariance", _plain(name), "", hyper)


def _weighted(name: str, *weights: float, **more: float) -> Entry:
    """Return a relative of VICReg with the weights that its method trains with."""
    terms = ("invariance_weight", "variance_weight", "covariance_weight")
    form = ["weights " + ", ".join(f"{w:g}" for w in weights)]
    form += [f"{key} {value:g}" for key, value in more.items()]
    hyper = dict(zip(terms, weights, strict=True)) | more
    return Entry("covariance", _plain(name, **hyper), ", ".join(form), hyper)


def _of_one_view(name: str) -> Callable:
    """Sum over pairs of samples as a mean, averaged over the views."""

    def loss(z1, z2):
        criterion = getattr(losses, name)
        return 0.5 * (criterion(z1) + criterion(z2)) / z1.shape[0] ** 2

    return loss


def _drawing(name: str, *, draws: int = 1, **options) -> Callable:
    """Average a loss that permutes at random over fixed keys."""

    def loss(z1, z2):
        keys = jax.random.split(jax.random.key(0), draws)
        return jnp.mean(
            jax.vmap(lambda key: getattr(losses, name)([z1, z2], key=key, **options))(
                keys
            )
        )

    return loss


def _aligned(transform: Callable) -> Callable:
    return lambda z1, z2: squared_distance(transform(z1), transform(z2))


def quarter_power(value: jax.Array) -> jax.Array:
    """Return the distance of views half way from raw to whitened (exponent 1/4)."""
    return value**-0.25


def iterated(z: jax.Array) -> jax.Array:
    """Return the distance of views after IterNorm over the batch."""
    return losses.iterative_normalization(z, axis="batch")


def _traces(z1: jax.Array, z2: jax.Array) -> jax.Array:
    first, second = (losses.trace_loss(iterated(z), axis="batch") for z in (z1, z2))
    return first + second


_DISTANCE = "squared distance of the transformed views"

FINGERPRINTED: dict[str, Entry] = {
    "asymmetric_euclidean": _predicted("asymmetric_euclidean"),
    "isoloss_euclidean": _predicted("isoloss_euclidean"),
    "asymmetric_cosine": _predicted("asymmetric_cosine"),
    "isoloss_cosine": _predicted("isoloss_cosine"),
    "negative_cosine": Entry(
        "asymmetric", _plain("negative_cosine"), "no predictor, no stop-gradient"
    ),
    "normalized_mse": Entry(
        "asymmetric", _plain("normalized_mse"), "no predictor, no stop-gradient"
    ),
    "nt_xent": _contrastive("nt_xent"),
    "info_nce": _contrastive("info_nce"),
    "dcl": _contrastive("dcl"),
    "dclw": _contrastive("dclw", sigma=0.5),
    "spectral_contrastive": Entry(
        "contrastive", _plain("spectral_contrastive"), "", {"mu": 1.0}
    ),
    "sample_contrastive": Entry(
        "contrastive", _of_one_view("sample_contrastive"), "/ N^2, both views, alone"
    ),
    "barlow_twins": _covariance("barlow_twins", off_diagonal_weight=0.0051),
    "linearized_barlow_twins": _covariance(
        "linearized_barlow_twins", off_diagonal_weight=1.0
    ),
    "vicreg": _covariance(
        "vicreg", invariance_weight=25.0, variance_weight=25.0, covariance_weight=1.0
    ),
    "vicreg_exp": _weighted("vicreg_exp", 1.0, 1.0, 1.0, temperature=0.1),
    "vicreg_ctr": _weighted("vicreg_ctr", 10.0, 10.0, 1.0, temperature=0.1),
    "tcr": _covariance("tcr", eps_squared=0.2, invariance_weight=30.0),
    "dimension_contrastive": Entry(
        "covariance", _of_one_view("dimension_contrastive"), "/ N^2, both views, alone"
    ),
    "whiten": Entry("whitening", _aligned(lambda z: losses.whiten(z)), _DISTANCE),
    "w_mse": Entry("whitening", _drawing("w_mse"), "whole batch"),
    "shuffled_dbn": Entry("whitening", _drawing("shuffled_dbn", draws=4), "4 groups"),
    "cw_rgp": Entry(
        "whitening",
        _drawing("cw_rgp", sub_batch=4, groups=1),
        "sub-batches of 4, one group",
    ),
    "spectral_transform": Entry(
        "whitening",
        _aligned(lambda z: losses.spectral_transform(z, quarter_power)),
        "g = lambda^(-1/4), squared distance",
    ),
    "iterative_normalization": Entry(
        "whitening", _aligned(iterated), "T = 4 over the batch, squared distance"
    ),
    "trace_loss": Entry("whitening", _traces, "of IterNorm over the batch, alone"),
    # The default weight of the trace loss is that of 16 channels.
    "intl": Entry(
        "whitening",
        lambda z1, z2, **given: losses.intl([z1, z2], axis="batch", **given),
        "over the batch",
        {"trace_weight": 0.01},
    ),
    "intl_ema": Entry(
        "whitening",
        lambda z1, z2, **given: losses.intl_ema(z1, [z2], axis="batch", **given),
        "over the batch, teacher = student",
        {"trace_weight": 0.01},
    ),
}
"""Name in `ssljax.losses` to `Entry`: all of them, with their default settings but for
the temperatures of the contrastive losses, which are one, and the weights named."""

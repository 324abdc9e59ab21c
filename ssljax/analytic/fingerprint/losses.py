"""Every loss of `ssljax.losses` as a function of two views, and how it is completed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax import losses


class Entry(NamedTuple):
    """A loss of two views ``[N, D]`` and what was added to make it one."""

    family: str
    loss: Callable[[jax.Array, jax.Array], jax.Array]
    form: str = ""
    """What the loss does not say itself: predictor, key, target."""


def power_predictor(z: jax.Array, exponent: float) -> jax.Array:
    """Return ``C^exponent`` of the second moment of an embedding, held constant."""
    z = jax.lax.stop_gradient(z)
    values, vectors = jnp.linalg.eigh(z.T @ z / z.shape[0])
    return (vectors * jnp.maximum(values, 0.0)[None, :] ** exponent) @ vectors.T


def squared_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return ``mean_i |a_i - b_i|^2``: alignment that sees the scale."""
    return jnp.mean(jnp.sum((a - b) ** 2, axis=1))


def _predicted(name: str) -> Callable:
    def loss(z1, z2):
        return getattr(losses, name)(z1, z2, power_predictor(z1, 0.5))

    return loss


def _plain(name: str, **options) -> Callable:
    # Looked up at every call, so that a loss replaced in the module is the one used.
    return lambda z1, z2: getattr(losses, name)(z1, z2, **options)


def _weighted(name: str, *weights: float) -> Entry:
    """Return a relative of VICReg with the weights that its method trains with."""
    terms = ("invariance_weight", "variance_weight", "covariance_weight")
    loss = _plain(name, **dict(zip(terms, weights, strict=True)))
    return Entry("covariance", loss, "weights " + ", ".join(f"{w:g}" for w in weights))


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


_ROOT = "predictor C^(1/2)"
_DISTANCE = "squared distance of the transformed views"

FINGERPRINTED: dict[str, Entry] = {
    "asymmetric_euclidean": Entry(
        "asymmetric", _predicted("asymmetric_euclidean"), _ROOT
    ),
    "isoloss_euclidean": Entry("asymmetric", _predicted("isoloss_euclidean"), _ROOT),
    "asymmetric_cosine": Entry("asymmetric", _predicted("asymmetric_cosine"), _ROOT),
    "isoloss_cosine": Entry("asymmetric", _predicted("isoloss_cosine"), _ROOT),
    "negative_cosine": Entry(
        "asymmetric", _plain("negative_cosine"), "no predictor, no stop-gradient"
    ),
    "normalized_mse": Entry(
        "asymmetric", _plain("normalized_mse"), "no predictor, no stop-gradient"
    ),
    "nt_xent": Entry("contrastive", _plain("nt_xent")),
    "info_nce": Entry("contrastive", _plain("info_nce")),
    "dcl": Entry("contrastive", _plain("dcl")),
    "dclw": Entry("contrastive", _plain("dclw")),
    "spectral_contrastive": Entry("contrastive", _plain("spectral_contrastive")),
    "sample_contrastive": Entry(
        "contrastive", _of_one_view("sample_contrastive"), "/ N^2, both views, alone"
    ),
    "barlow_twins": Entry("covariance", _plain("barlow_twins")),
    "linearized_barlow_twins": Entry("covariance", _plain("linearized_barlow_twins")),
    "vicreg": Entry("covariance", _plain("vicreg")),
    "vicreg_exp": _weighted("vicreg_exp", 1.0, 1.0, 1.0),
    "vicreg_ctr": _weighted("vicreg_ctr", 10.0, 10.0, 1.0),
    "tcr": Entry("covariance", _plain("tcr")),
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
    "intl": Entry(
        "whitening",
        lambda z1, z2: losses.intl([z1, z2], axis="batch"),
        "over the batch",
    ),
    "intl_ema": Entry(
        "whitening",
        lambda z1, z2: losses.intl_ema(z1, [z2], axis="batch"),
        "over the batch, teacher = student",
    ),
}
"""Name in `ssljax.losses` to `Entry`: all of them, with their default settings."""

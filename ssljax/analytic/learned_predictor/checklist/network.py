"""The linear network with a learned predictor, trained with `ssljax.losses`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.simulate import gradient_descent, gradient_flow

Params = dict[str, jax.Array]
Loss = Callable[[Params], jax.Array]


def aligned(
    start: Any, predictor: Any, seed: int, *, inputs: int | None = None
) -> tuple[Params, jax.Array, jax.Array]:
    """Return weights with one eigenbasis, and their left and right singular vectors.

    Args:
        start: singular values of the online network, ``[modes]``.
        predictor: eigenvalues of the predictor, ``[modes]``.
        seed: of both bases.
        inputs: dimension of the inputs; None takes the number of modes.
    """
    w, p = np.asarray(start, float), np.asarray(predictor, float)
    rng = np.random.default_rng(seed)
    inputs = len(w) if inputs is None else inputs
    left = np.linalg.qr(rng.normal(size=(len(w), len(w))))[0]
    right = np.linalg.qr(rng.normal(size=(inputs, len(w))))[0]
    params = {
        "online": jnp.asarray((left * w[None, :]) @ right.T),
        "predictor": jnp.asarray((left * p[None, :]) @ left.T),
    }
    return params, jnp.asarray(left), jnp.asarray(right)


def exact_views(
    right: jax.Array, seed: int, *, signal: Any = 1.0, noise: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Return two views whose moments are those of the theory, exactly.

    The clean inputs have variance ``signal`` along the columns of ``right`` and 1
    across, and each view has its own white noise.
    """
    clean, *noises = toy.exact_views(len(right), seed)
    extra = jnp.broadcast_to(jnp.sqrt(jnp.asarray(signal)) - 1.0, right.shape[1:])
    clean = clean + clean @ (right * extra[None, :]) @ right.T
    first, second = (clean + noise * n for n in noises)
    return first, second


def loss_of(
    views: tuple[jax.Array, jax.Array], *, cosine: bool = False
) -> Callable[[Params], jax.Array]:
    """Return the loss of a prediction by a learned matrix; the target is held fixed."""

    def loss(params: Params) -> jax.Array:
        online = params["online"]
        target = jax.lax.stop_gradient(params.get("target", online))
        prediction = views[0] @ online.T @ params["predictor"].T
        if cosine:
            return losses.negative_cosine(prediction, views[1] @ target.T)
        # The loss multiplies its first argument by a constant predictor. Here that is
        # the identity, and the learned one has been applied before.
        identity = jnp.eye(online.shape[0])
        return losses.asymmetric_euclidean(prediction, views[1] @ target.T, identity)

    return loss


def rule(
    *,
    weight_decay: Any = 0.0,
    predictor_rate: Any = 1.0,
    target_rate: Any = None,
) -> Callable[[Params, Params], Params]:
    """Return the transform of gradients: rates, weight decay and moving average."""

    def transform(params: Params, gradient: Params) -> Params:
        moved = {
            "online": gradient["online"] + weight_decay * params["online"],
            "predictor": predictor_rate * gradient["predictor"]
            + weight_decay * params["predictor"],
        }
        if target_rate is not None:
            moved["target"] = target_rate * (params["target"] - params["online"])
        return moved

    return transform


def flow_of(
    loss: Callable[[Params], jax.Array], params: Params, times: Any, **numbers: Any
) -> dict[str, np.ndarray]:
    """Follow the gradient flow of a loss and return all weights, ``[times, ...]``.

    Numbers are arrays and nothing else is recorded, so that items with networks of one
    size share a program.

    Args:
        loss: of `loss_of`.
        params: the weights at time 0.
        times: ``[times]``.
        numbers: of `rule`.
    """
    given = {"weight_decay": 0.0, "predictor_rate": 1.0, **numbers}
    found = gradient_flow(
        loss,
        params,
        times,
        transform=rule(**{name: jnp.asarray(x, float) for name, x in given.items()}),
        rtol=1e-9,
        atol=1e-11,
        estimate_error=False,
    )
    return {name: np.asarray(x) for name, x in found.values.items()}


def descents(
    loss: Callable[[Params], jax.Array],
    params: Params,
    rates: Sequence[float],
    times: Any,
    **numbers: Any,
) -> list[dict[str, np.ndarray]]:
    """Descend at several rates, recorded at the same even times, in one program.

    Args:
        loss: of `loss_of`.
        params: the weights at time 0.
        rates: the largest first, each half of the one before; the time between two
            records is a multiple of the largest.
        times: ``[times]``, even from 0 on.
        numbers: of `rule`.
    """
    last, every = float(times[-1]), round(float(times[1]) / rates[0])

    @jax.jit
    def descend(rate: jax.Array) -> Params:
        return gradient_descent(
            loss,
            params,
            round(last / rates[-1]),
            rate,
            every=every,
            transform=rule(**numbers),
        ).values

    found = [descend(jnp.asarray(rate)) for rate in rates]
    return [
        {k: np.asarray(x)[:: 2**i][: len(times)] for k, x in values.items()}
        for i, values in enumerate(found)
    ]


def along(found: Mapping[str, Any], left: Any, right: Any) -> dict[str, np.ndarray]:
    """Return values along fixed singular vectors, of weights ``[..., out, in]``."""
    ends = {"predictor": left}
    return {
        name: np.einsum("ij,...ik,kj->...j", left, np.asarray(w), ends.get(name, right))
        for name, w in found.items()
    }


def commutators(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return the norm of ``[W_p, W W^T]`` over the product of their norms."""
    p, online = found["predictor"], found["online"]
    gram = online @ np.swapaxes(online, -1, -2)
    norm = np.linalg.norm
    return norm(p @ gram - gram @ p, axis=(-2, -1)) / (
        norm(p, axis=(-2, -1)) * norm(gram, axis=(-2, -1))
    )

"""Losses of the PyTorch twin: lightly's where it is installed, else written here."""

from collections.abc import Callable
from typing import Any

METHODS = ("simclr", "barlow_twins", "vicreg", "byol")
"""Methods that the twin can train."""

Loss = Callable[[list[Any], list[Any]], Any]


def torch_loss(name: str, options: dict[str, Any], *, lightly: Any) -> tuple[Loss, str]:
    """Return the loss of a method, and whose it is.

    Args:
        name: one of `METHODS`.
        options: hyper-parameters by the names of `ssljax.losses`.
        lightly: the module ``lightly.loss``, or None if it is not installed.

    Returns:
        ``loss(first, second)``. For BYOL these are the predictions and the targets of
        both views, otherwise the projections of both views and nothing. The values are
        those of `ssljax.losses`, up to each library's small constants.
    """
    if name == "simclr":
        temperature = options["temperature"]
        if lightly is not None:
            return _between(lightly.NTXentLoss(temperature)), "lightly's NTXentLoss"
        return _between(lambda a, b: nt_xent(a, b, temperature=temperature)), _OURS
    if name == "barlow_twins":
        weight = options["off_diagonal_weight"]
        if lightly is not None:
            loss = lightly.BarlowTwinsLoss(lambda_param=weight)
            return _between(loss), "lightly's BarlowTwinsLoss"
        return _between(lambda a, b: barlow_twins(a, b, weight=weight)), _OURS
    if name == "vicreg":
        weights = [options[f"{x}_weight"] for x in _TERMS]
        if lightly is not None:
            loss = lightly.VICRegLoss(*weights)
            return _between(loss), "lightly's VICRegLoss"
        return _between(lambda a, b: vicreg(a, b, weights=weights)), _OURS
    if lightly is not None:
        cosine, whose = lightly.NegativeCosineSimilarity(), "NegativeCosineSimilarity"
        return _of_targets(cosine), f"lightly's {whose}"
    return _of_targets(negative_cosine), _OURS


_OURS = "written in PyTorch, without lightly"
_TERMS = ("invariance", "variance", "covariance")


def _between(loss: Callable[[Any, Any], Any]) -> Loss:
    return lambda z, _: loss(z[0], z[1])


def _of_targets(cosine: Callable[[Any, Any], Any]) -> Loss:
    """Return BYOL's ``2 - 2 cos``, summed over both directions."""
    return lambda p, t: 4 + 2 * (cosine(p[0], t[1]) + cosine(p[1], t[0]))


def nt_xent(a: Any, b: Any, *, temperature: float) -> Any:
    """Compute SimCLR's loss of two views ``[N, D]``, the mean over the 2N anchors."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    z = F.normalize(torch.cat([a, b]), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    half = len(a)
    partner = torch.arange(2 * half, device=z.device).roll(half)
    return F.cross_entropy(logits, partner)


def barlow_twins(a: Any, b: Any, *, weight: float) -> Any:
    """Compute Barlow Twins' loss of two views ``[N, D]``."""
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    a, b = (F.batch_norm(z, None, None, training=True) for z in (a, b))
    correlation = a.T @ b / len(a)
    diagonal = correlation.diagonal()
    on, off = (diagonal - 1).square().sum(), correlation.square().sum()
    return on + weight * (off - diagonal.square().sum())


def vicreg(a: Any, b: Any, *, weights: list[float]) -> Any:
    """Compute VICReg's loss of two views ``[N, D]``.

    Args:
        a: projections of the first view.
        b: projections of the second view.
        weights: of invariance, variance and covariance.
    """
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    variance = covariance = 0.0
    for z in (a, b):
        variance = variance + F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2
        centred = z - z.mean(0)
        moment = centred.T @ centred / (len(z) - 1)
        off = moment.square().sum() - moment.diagonal().square().sum()
        covariance = covariance + off / z.shape[1]
    terms = (F.mse_loss(a, b), variance, covariance)
    return sum(w * term for w, term in zip(weights, terms, strict=True))


def negative_cosine(p: Any, target: Any) -> Any:
    """Compute the mean of ``-cos`` between rows of ``[N, D]``."""
    from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

    return -F.cosine_similarity(p, target, dim=1).mean()

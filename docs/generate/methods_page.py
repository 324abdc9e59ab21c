"""The page of all methods, from the table of methods."""

import re
from collections.abc import Mapping

from tables import table

from ssljax import losses
from ssljax.methods.table import METHODS, Head, Method

_HEAD = """\
<!-- Written by `python docs/generate/write_pages.py` from ssljax/methods/table.py. -->

# Methods

`--method.name NAME` chooses one. Heads and options are the defaults of its paper;
recipes override them, and so do `--method.projector`, `--method.predictor` and flags of
the loss such as `--method.options.temperature`. `ssljax cite NAME` prints the paper as
BibTeX, and [Conventions](conventions.md) says which form of a formula each loss has.

- *Projector* and *predictor* are MLPs, by the widths of their layers. A predictor `C^a`
  is not trained: it is a power of the running covariance of the projections.
- *Target*: which network makes the embedding that is predicted. "average" is a moving
  average of the trained weights, with its momentum; "stop-gradient" is the network
  itself, without a gradient.
- *Views*: how many are made of each image, unless a recipe says otherwise, and whether
  they pass through the network in one batch ("joint") or one view at a time
  ("separate"), which decides what BatchNorm normalises over.
"""
_FAMILIES = {
    "sample-contrastive": "Contrastive between samples: embeddings of different images "
    "repel each other.",
    "dimension-contrastive": "Contrastive between dimensions: dimensions of the "
    "embedding are decorrelated.",
    "asymmetric": "One view predicts the other's embedding, which is held constant.",
    "whitening": "The spectrum of the embedding is transformed before the views are "
    "compared.",
    "supervised baseline": "With labels, for comparison.",
}


def page(methods: Mapping[str, Method] = METHODS) -> str:
    """Return the page.

    >>> "| `vicreg` |" in page()
    True
    """
    parts = [_HEAD]
    for family, sentence in _FAMILIES.items():
        rows = [
            _row(name, method)
            for name, method in methods.items()
            if method.family == family
        ]
        title = family[0].upper() + family[1:]
        heads = ("method", "paper", "loss", "projector", "predictor", "target", "views")
        parts.append(f"## {title}\n\n{sentence}\n\n{table(heads, rows)}\n")
    left_out = {m.family for m in methods.values()} - _FAMILIES.keys()
    if left_out:
        raise ValueError(
            f"no sentence for the families {sorted(left_out)}; add them to _FAMILIES "
            "in docs/generate/methods_page.py"
        )
    return "\n".join(parts)


def _row(name: str, method: Method) -> tuple[str, ...]:
    return (
        f"`{name}`",
        _paper(method.paper),
        _loss(method.loss_name),
        _layers(method.projector),
        _predictor(method),
        _target(method),
        f"{method.views}, {method.forward}" if method.views > 1 else "1",
    )


def _paper(text: str) -> str:
    match = re.fullmatch(r"(.*), arXiv (\S+)", text)
    return f"[{match[1]}](https://arxiv.org/abs/{match[2]})" if match else text


def _loss(name: str) -> str:
    if name not in losses.__all__:
        return name
    return f"[{name}](api/losses.md#ssljax.losses.{name})"


def _layers(head: Head) -> str:
    return head.layers.replace("_", " ") if head.layers != "none" else "-"


def _predictor(method: Method) -> str:
    if method.closed_form:
        return f"C^{method.options['exponent']:g}"
    return _layers(method.predictor)


def _target(method: Method) -> str:
    if method.target and method.target_momentum:
        return f"average, {method.target_momentum:g}"
    return "stop-gradient" if method.family == "asymmetric" else "-"

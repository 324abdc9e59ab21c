"""The table of methods: the heads, target network, loss and options of each.

Heads and options are each paper's ImageNet defaults, or its defaults on the data set it
was published on. Recipes override them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import jax

from ssljax import losses
from ssljax.methods.views_to_loss import (
    agreement_of_spectral_transforms,
    between_projections,
    cross_entropy,
    on_all_views,
    prediction_of_target,
    students_of_first_target,
    with_closed_form_predictor,
)

Option = float | int | str


@dataclass(frozen=True)
class Head:
    """An MLP head: Linear, BatchNorm, ReLU per hidden layer, then Linear.

    A linear layer before BatchNorm has no bias, because BatchNorm would cancel it.
    """

    layers: str
    """Widths such as ``2048-2048-128``; ``none`` is the identity; ``classes`` is one
    output per class. A predictor may also be one of the linear kinds of
    `ssljax.models.linear_heads`, such as ``off_diagonal``."""
    norm: Literal["off", "hidden", "affine", "plain"] = "hidden"
    """BatchNorm after no layer, all but the last, or all, see `MethodConfig`."""
    bias: bool = False
    """Whether the layers without a BatchNorm after them have biases."""


@dataclass(frozen=True)
class Method:
    """One row of the table of methods."""

    family: str
    paper: str
    loss: Callable[..., jax.Array]
    """``loss(outputs, **options)``, a scalar over the global batch."""
    loss_name: str
    """Name of its function in `ssljax.losses`."""
    projector: Head
    predictor: Head = Head("none")
    forward: Literal["joint", "separate"] = "separate"
    target: bool = False
    """Whether it may have a target network; it has one if the momentum is > 0."""
    target_momentum: float = 0.0
    target_start: Literal["copy", "random"] = "copy"
    """Whether the target starts as a copy of the online network or from its own key."""
    constant_predictor_rate: bool = False
    closed_form: bool = False
    """Whether the predictor is computed from the projections' running covariance."""
    teacher_first: bool = False
    """Whether only the teacher sees the first view, and students see the others."""
    preset: str = "byol"
    """Augmentation preset."""
    views: int = 2
    options: dict[str, Option] = field(default_factory=dict)
    """Keywords of the loss (and of the closed-form predictor); ``auto`` is passed as
    None, so that the loss chooses."""
    labels: bool = False
    """Whether the loss needs labels."""


def _contrastive(loss: str, paper: str, **options: Option) -> Method:
    """Return a row; ``negatives`` and ``pairs`` choose a fixed variant of the loss."""
    variants = {k: options.pop(k) for k in ("negatives", "pairs") if k in options}
    function = partial(getattr(losses, loss), **variants)
    return Method(
        family="sample-contrastive",
        paper=paper,
        loss=between_projections(function),
        loss_name=loss,
        projector=Head("2048-2048-128", norm="affine"),
        forward="joint",
        preset="simclr",
        options=options,
    )


def _dimension_contrastive(loss: str, paper: str, **options: Option) -> Method:
    return Method(
        family="dimension-contrastive",
        paper=paper,
        loss=between_projections(getattr(losses, loss)),
        loss_name=loss,
        projector=Head("8192-8192-8192"),
        preset="barlow_twins" if loss == "barlow_twins" else "vicreg",
        options=options,
    )


def _closed_form(loss: str, paper: str, *, exponent: float, epsilon: float) -> Method:
    return Method(
        family="asymmetric",
        paper=paper,
        loss=with_closed_form_predictor(getattr(losses, loss)),
        loss_name=loss,
        projector=Head("4096-256"),
        target=True,
        target_momentum=0.99,
        closed_form=True,
        options={
            "exponent": exponent,
            "epsilon": epsilon,
            "convention": "fmi",
            "covariance_momentum": "auto",
        },
    )


def _whitening(loss: str, paper: str, projector: Head, **options: Option) -> Method:
    return Method(
        family="whitening",
        paper=paper,
        loss=on_all_views(getattr(losses, loss), stochastic=loss != "intl"),
        loss_name=loss,
        projector=projector,
        preset="byol" if loss == "intl" else "simsiam",
        options=options,
    )


_SIMCLR = "Chen et al. 2020, arXiv 2002.05709"
_DUALITY = "Garrido et al. 2023, arXiv 2206.02574"
_DCL = "Yeh et al. 2022, arXiv 2110.06848"
_FMI = "Halvagal et al. 2023, arXiv 2212.04858"
_DIRECTPRED = "Tian et al. 2021, arXiv 2102.06810"
_DIRECTCOPY = "Wang et al. 2021, arXiv 2110.04947"
_INTL = "Weng et al. 2024, arXiv 2305.16789"
_VICREG_WEIGHTS = dict(
    invariance_weight=25.0, variance_weight=25.0, covariance_weight=1.0
)
_INTL_OPTIONS: dict[str, Option] = dict(
    iterations=4, axis="channel", trace_weight="auto"
)
_INTL_HEAD = Head("2048-2048-2048", bias=True)

METHODS: dict[str, Method] = {
    "simclr": _contrastive("nt_xent", _SIMCLR, temperature=0.1),
    "simclr_sq": _contrastive(
        "nt_xent", _DUALITY, temperature=0.1, negatives="squared"
    ),
    "simclr_abs": _contrastive(
        "nt_xent", _DUALITY, temperature=0.1, negatives="absolute"
    ),
    "dcl": _contrastive("dcl", _DCL, temperature=0.1),
    "dcl_sq": _contrastive("dcl", _DUALITY, temperature=0.1, negatives="squared"),
    "dcl_abs": _contrastive("dcl", _DUALITY, temperature=0.1, negatives="absolute"),
    "dclw": _contrastive("dclw", _DCL, temperature=0.1, sigma=0.5),
    "spectral_contrastive": replace(
        _contrastive(
            "spectral_contrastive", "HaoChen et al. 2021, arXiv 2106.04156", mu=10.0
        ),
        projector=Head("8192-8192-8192", norm="affine"),
        forward="separate",
        preset="simsiam",
    ),
    "barlow_twins": _dimension_contrastive(
        "barlow_twins",
        "Zbontar et al. 2021, arXiv 2103.03230",
        off_diagonal_weight=0.0051,
    ),
    "vicreg": _dimension_contrastive(
        "vicreg", "Bardes et al. 2022, arXiv 2105.04906", **_VICREG_WEIGHTS
    ),
    "vicreg_exp": _dimension_contrastive(
        "vicreg_exp",
        _DUALITY,
        temperature=0.1,
        invariance_weight=1.0,
        variance_weight=1.0,
        covariance_weight=1.0,
    ),
    "vicreg_ctr": _dimension_contrastive(
        "vicreg_ctr",
        _DUALITY,
        temperature=0.1,
        centering="batch",
        invariance_weight=10.0,
        variance_weight=10.0,
        covariance_weight=1.0,
    ),
    "tcr": replace(
        _dimension_contrastive(
            "tcr",
            "Tong et al. 2023, arXiv 2304.03977",
            eps_squared=0.2,
            invariance_weight=30.0,
        ),
        projector=Head("4096-512"),
        preset="simclr",
    ),
    "byol": Method(
        family="asymmetric",
        paper="Grill et al. 2020, arXiv 2006.07733",
        loss=prediction_of_target(losses.normalized_mse, reduce="sum"),
        loss_name="normalized_mse",
        projector=Head("4096-256"),
        predictor=Head("4096-256"),
        target=True,
        target_momentum=0.99,
        # As in the official code.
        target_start="random",
    ),
    "simsiam": Method(
        family="asymmetric",
        paper="Chen and He 2021, arXiv 2011.10566",
        loss=prediction_of_target(losses.negative_cosine, reduce="mean"),
        loss_name="negative_cosine",
        projector=Head("2048-2048-2048", norm="plain"),
        predictor=Head("512-2048", bias=True),
        constant_predictor_rate=True,
        preset="simsiam",
    ),
    "offdiagonal_head": Method(
        family="asymmetric",
        paper="Wen and Li 2022, arXiv 2205.06226",
        loss=prediction_of_target(losses.negative_cosine, reduce="mean"),
        loss_name="negative_cosine",
        projector=Head("2048-64", norm="plain"),
        predictor=Head("off_diagonal"),
        target=True,
        preset="simsiam",
    ),
    "directpred_euclidean": _closed_form(
        "asymmetric_euclidean", _DIRECTPRED, exponent=0.5, epsilon=0.0
    ),
    "directpred_cosine": _closed_form(
        "asymmetric_cosine", _DIRECTPRED, exponent=0.5, epsilon=0.0
    ),
    "directcopy_euclidean": _closed_form(
        "asymmetric_euclidean", _DIRECTCOPY, exponent=1.0, epsilon=0.25
    ),
    "directcopy_cosine": _closed_form(
        "asymmetric_cosine", _DIRECTCOPY, exponent=1.0, epsilon=0.25
    ),
    "isoloss_euclidean": _closed_form(
        "isoloss_euclidean", _FMI, exponent=0.5, epsilon=0.0
    ),
    "isoloss_cosine": _closed_form("isoloss_cosine", _FMI, exponent=0.5, epsilon=0.0),
    "intl": _whitening("intl", _INTL, _INTL_HEAD, **_INTL_OPTIONS),
    "intl_ema": Method(
        family="whitening",
        paper=_INTL,
        loss=students_of_first_target(losses.intl_ema),
        loss_name="intl_ema",
        projector=_INTL_HEAD,
        target=True,
        target_momentum=0.996,
        teacher_first=True,
        options=_INTL_OPTIONS,
    ),
    "w_mse": _whitening(
        "w_mse",
        "Ermolov et al. 2021, arXiv 2007.06346",
        Head("1024-64"),
        sub_batch=128,
        repetitions=1,
        eps=0.0,
    ),
    "cw_rgp": _whitening(
        "cw_rgp",
        "Weng et al. 2022, arXiv 2210.03586",
        Head("1024-512"),
        sub_batch=64,
        groups=4,
    ),
    "shuffled_dbn": _whitening(
        "shuffled_dbn",
        "Hua et al. 2021, arXiv 2105.00470",
        Head("2048-512"),
        groups=4,
        eps=0.0,
    ),
    "spectral": Method(
        family="whitening",
        paper=_INTL,
        loss=on_all_views(agreement_of_spectral_transforms),
        loss_name="spectral_transform",
        projector=_INTL_HEAD,
        options={"g": "whitening", "axis": "batch"},
    ),
    "supervised": Method(
        family="supervised baseline",
        paper="cross-entropy on labels",
        loss=cross_entropy,
        loss_name="cross-entropy",
        projector=Head("classes", bias=True),
        views=1,
        preset="supervised",
        labels=True,
    ),
}

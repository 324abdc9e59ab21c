"""The checklist of Halvagal, Laborieux and Zenke (2023) on implicit variance."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.implicit_variance.checklist import (
    closed,
    collapse,
    coupled,
    settings,
)
from ssljax.analytic.implicit_variance.checklist.pictures import pictures

THEORY = Theory(
    name="implicit-variance",
    paper=(
        "Halvagal, Laborieux and Zenke, Implicit variance regularization in "
        "non-contrastive SSL, NeurIPS 2023"
    ),
    items=(
        Item(
            "1",
            "the Euclidean losses follow their closed forms, "
            "at first order in the step",
            closed.closed_forms,
        ),
        Item(
            "2",
            "a mode at .02 reaches .048 in 1500 steps, with IsoLoss .89 in 300",
            closed.smallest_mode,
        ),
        Item(
            "3",
            "population gradients are those of ||WW^T-I||^2/4 and tr C^3/6 - tr C^2/4",
            closed.gradient_identities,
        ),
        Item(
            "4",
            "IsoLoss recruits a mode at .02 nine times as fast as the Euclidean loss",
            closed.recruitment,
        ),
        Item(
            "5",
            "cosine keeps tr C, its IsoLoss tr C^(1+alpha), "
            "and all modes meet at the mean",
            coupled.conservation,
        ),
        Item(
            "6",
            "the cosine losses follow the coupled modes and decay at the linear rates",
            coupled.coupled_modes,
        ),
        Item(
            "7",
            "two neurons: Euclidean modes end at 1, "
            "cosine modes at the mean of the start",
            coupled.two_neurons,
        ),
        Item(
            "8",
            "Euclidean: collapse without stop-gradient, frozen without predictor",
            collapse.euclidean_collapse,
        ),
        Item(
            "9",
            "cosine: few modes survive without stop-gradient, all without predictor",
            collapse.cosine_collapse,
        ),
        Item(
            "10",
            "weight decay: a threshold and a limit, for IsoLoss only the limit",
            settings.weight_decay,
        ),
        Item(
            "11",
            "two noisy views, a moving target, a normalised predictor",
            settings.other_variants,
        ),
        Item(
            "12",
            "rectifiers: IsoLoss recruits every mode, the Euclidean loss does not",
            settings.rectifiers,
        ),
    ),
    pictures=pictures,
)

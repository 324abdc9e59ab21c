"""The checklist of Weng et al. (2024) on spectral transformations."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.spectral_transformation.checklist import forces, limits, training
from ssljax.analytic.spectral_transformation.checklist.pictures import pictures

THEORY = Theory(
    name="spectral-transformation",
    paper=(
        "Weng et al., Modulate Your Spectrum in Self-Supervised Learning, ICLR 2024"
    ),
    items=(
        Item(
            "1",
            "the trace loss is convex in the spectrum, with its floor at equality",
            forces.trace_loss_theorem,
        ),
        Item(
            "2",
            "descent on the trace loss makes all eigenvalues equal",
            forces.direct_descent,
        ),
        Item(
            "3",
            "with too many iterations it does not: the loss is flat",
            forces.saturation,
        ),
        Item(
            "4",
            "alignment pushes eigenvalues by the slope of the output variance",
            forces.implicit_gradient,
        ),
        Item("5", "the trace weight that revives a dead direction", limits.revival),
        Item(
            "6",
            "the printed recursion breaks by rounding, the library's does not",
            limits.rounding,
        ),
        Item(
            "7",
            "a network over the channels collapses without the trace loss only",
            training.channel_toy,
        ),
        Item(
            "8",
            "a linear encoder keeps its rank by whitening or by the trace loss",
            training.linear_toy,
        ),
        Item(
            "9",
            "without normalised rows eigenvalues vanish, or grow without bound",
            training.plain_alignment,
        ),
        Item("10", "no log of training lies below the floors", training.floors),
    ),
    pictures=pictures,
)

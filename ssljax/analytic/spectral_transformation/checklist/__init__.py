"""The checklist of spectral transformations."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.spectral_transformation.checklist import limits, pictures, training
from ssljax.analytic.spectral_transformation.checklist import theory as static

THEORY = Theory(
    name="spectral-transformation",
    paper="Weng et al., Modulate Your Spectrum in Self-Supervised Learning, ICLR 2024",
    items=(
        Item(
            "13",
            "the trace loss is convex in the spectrum, with its floor at equality",
            static.trace_loss_theorem,
        ),
        Item(
            "14",
            "descent on the trace loss makes all eigenvalues equal",
            static.direct_descent,
            slow=True,
        ),
        Item(
            "15",
            "with too many iterations it does not: the loss is flat",
            static.saturation,
        ),
        Item(
            "16",
            "alignment pushes eigenvalues by the slope of the output variance",
            static.implicit_gradient,
        ),
        Item(
            "17",
            "the trace weight that revives a dead direction",
            limits.revival,
            slow=True,
        ),
        Item(
            "18",
            "the printed recursion breaks by rounding, the library's does not",
            limits.rounding,
        ),
        Item(
            "19",
            "a network over the channels collapses without the trace loss only",
            training.channel_toy,
            slow=True,
        ),
        Item(
            "20",
            "a linear encoder keeps its rank by whitening or by the trace loss",
            training.linear_toy,
            slow=True,
        ),
        Item(
            "21",
            "without normalised rows eigenvalues vanish, or grow without bound",
            training.plain_alignment,
            slow=True,
        ),
        Item(
            "22",
            "no log of training lies below the floors",
            training.floors,
            slow=True,
        ),
    ),
    pictures=pictures.pictures,
)

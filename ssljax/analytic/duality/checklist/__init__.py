"""The checklist of Garrido et al. (2023) on samples and dimensions."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.duality.checklist import algebra, minimizers
from ssljax.analytic.duality.checklist.pictures import pictures

THEORY = Theory(
    name="duality",
    paper=(
        "Garrido et al., On the duality between contrastive and non-contrastive "
        "self-supervised learning, ICLR 2023"
    ),
    items=(
        Item("1", "the two criteria differ by norms only", algebra.identity),
        Item("2", "one criterion is the other on the transpose", algebra.transposition),
        Item(
            "3",
            "gradients in closed form, and one flow where norms are pulled alike",
            algebra.gradients,
        ),
        Item(
            "4",
            "with both norms held they differ by N - N^2 / M, not by N - M",
            algebra.double_normalization,
        ),
        Item("5", "bounds of one criterion by the other", algebra.bounds),
        Item("6", "the Welch bound is reached by tight frames", minimizers.welch),
        Item(
            "7",
            "samples that repel have the cosines of random directions",
            minimizers.repulsion,
        ),
        Item(
            "8",
            "VICReg-ctr is the decoupled contrastive loss within views",
            algebra.decoupled,
        ),
    ),
    pictures=pictures,
)

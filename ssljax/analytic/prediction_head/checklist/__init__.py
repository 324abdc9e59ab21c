"""The checklist of Wen and Li (2022) on the prediction head."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.prediction_head.checklist import (
    controls,
    phases,
    population,
    sampled,
)
from ssljax.analytic.prediction_head.checklist.pictures import pictures

THEORY = Theory(
    name="prediction-head",
    paper=(
        "Wen and Li, The mechanism of prediction head in non-contrastive "
        "self-supervised learning, NeurIPS 2022"
    ),
    items=(
        Item(
            "1",
            "constants, loss at the start and its lower bound",
            population.constants,
        ),
        Item(
            "2",
            "gradients are those of finite differences; target and diagonal have none",
            population.gradients,
        ),
        Item(
            "3",
            "Euler's identities, in the population and on a batch",
            population.euler,
        ),
        Item(
            "4",
            "with a head the neurons learn one feature each",
            population.with_head,
            seeded=False,
        ),
        Item(
            "5",
            "with a frozen head both learn the strong feature",
            population.without_head,
            seeded=False,
        ),
        Item(
            "6",
            "the collapsed solution is as good as the diverse one",
            population.equally_good,
            seeded=False,
        ),
        Item(
            "7",
            "the four phases come in order",
            phases.phases,
            seeded=False,
        ),
        Item(
            "8",
            "substitution: E_21 rises below its bound",
            phases.substitution,
            seeded=False,
        ),
        Item(
            "9",
            "acceleration: neuron 2 prefers the weak feature",
            phases.accelerated,
            seeded=False,
        ),
        Item(
            "10",
            "descent conserves Q1 and Q2 to first order in its rate",
            phases.conserved,
            seeded=False,
        ),
        Item(
            "11",
            "what collapses: no head, no stop-gradient, no normalisation",
            controls.negative,
            seeded=False,
        ),
        Item(
            "12",
            "what does not: one entry, full, symmetric head, moving target",
            controls.positive,
            seeded=False,
        ),
        Item(
            "13",
            "64 starts: all collapse without a head, none with a fast one",
            controls.sweep,
        ),
        Item("14", "drawn patches and masks follow the population", sampled.sampled),
    ),
    pictures=pictures,
)

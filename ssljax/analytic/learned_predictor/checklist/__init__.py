"""The checklist of a learned linear predictor: Tian et al. (2021) and Bao (2023)."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.learned_predictor.checklist import cosine, euclidean
from ssljax.analytic.learned_predictor.checklist.pictures import pictures

THEORY = Theory(
    name="learned-predictor",
    paper=(
        "Tian, Chen and Ganguli, Understanding self-supervised learning dynamics "
        "without contrastive pairs, ICML 2021"
    ),
    items=(
        Item(
            "1",
            "predictor, network and moving target follow three equations per mode",
            euclidean.modes,
        ),
        Item(
            "2",
            "weight decay balances network and predictor, whatever target and loss",
            euclidean.balance,
        ),
        Item(
            "3",
            "threshold, limit and largest weight decay, with a moving target too",
            euclidean.thresholds,
        ),
        Item("4", "times of balanced modes in closed form", euclidean.times_to_learn),
        Item(
            "5",
            "the predictor turns to the axes of the embedding",
            euclidean.alignment,
        ),
        Item(
            "6",
            "without decay: regression, or collapse of a predictor begun too large",
            euclidean.undecayed,
        ),
        Item("7", "cosine: coupled modes, norms that only decay", cosine.coupled),
        Item("8", "cosine: weight decay only speeds the clock up", cosine.clock),
        Item(
            "9",
            "cosine with constants for norms: right to 1 / modes, as its sixth order",
            cosine.concentration,
        ),
    ),
    pictures=pictures,
)

"""Networks: the only part of the package that imports flax.linen."""

from ssljax.models.heads import MLP, OUTPUT_NORMS, parse_layers
from ssljax.models.linear_heads import LinearPredictor, OffDiagonalPredictor
from ssljax.models.networks import (
    Network,
    activation_bytes,
    forward,
    initialise,
    outputs_by_layer,
)
from ssljax.models.outputs import Outputs
from ssljax.models.predictors import direct_predictor, update_covariance
from ssljax.models.resnet import ARCHS, STEMS, Arch, ResNet, choose_stem, resnet

__all__ = [
    "ARCHS",
    "MLP",
    "OUTPUT_NORMS",
    "STEMS",
    "Arch",
    "LinearPredictor",
    "Network",
    "Outputs",
    "OffDiagonalPredictor",
    "ResNet",
    "activation_bytes",
    "choose_stem",
    "direct_predictor",
    "forward",
    "initialise",
    "outputs_by_layer",
    "parse_layers",
    "resnet",
    "update_covariance",
]

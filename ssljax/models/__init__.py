"""Networks. The only part of the package that imports flax.linen."""

from ssljax.models.heads import MLP, OUTPUT_NORMS, parse_layers
from ssljax.models.networks import Network, activation_bytes, forward, initialise
from ssljax.models.outputs import Outputs
from ssljax.models.resnet import ARCHS, STEMS, Arch, ResNet, choose_stem, resnet

__all__ = [
    "ARCHS",
    "MLP",
    "OUTPUT_NORMS",
    "STEMS",
    "Arch",
    "Network",
    "Outputs",
    "ResNet",
    "activation_bytes",
    "choose_stem",
    "forward",
    "initialise",
    "parse_layers",
    "resnet",
]

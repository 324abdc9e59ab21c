"""The package's ResNets and heads in PyTorch, with equally many parameters."""

from typing import Any

from ssljax.models import MLP, Network
from ssljax.models.resnet import ResNet


def torch_network(network: Network, *, channels: int = 3) -> Any:
    """Build the same network: encoder, projector, and predictor if there is one.

    Args:
        network: the network in flax, whose heads are all MLPs.
        channels: channels of the images.

    Returns:
        A ``torch.nn.ModuleDict`` of ``encoder``, ``projector`` and ``predictor``; a
        head without layers is the identity.

    Raises:
        ValueError: for a linear predictor, which is not translated.
    """
    from torch import nn  # pyright: ignore[reportMissingImports]

    if not isinstance(network.predictor, MLP):
        raise ValueError("only MLP heads are translated; choose another predictor")
    features = network.encoder.feature_dim
    projector = network.projector
    width = projector.layers[-1] if projector.layers else features
    return nn.ModuleDict(
        {
            "encoder": resnet(network.encoder, channels=channels),
            "projector": mlp(projector, features),
            "predictor": mlp(network.predictor, width),
        }
    )


def parameter_count(module: Any) -> int:
    """Return the number of trained numbers in a PyTorch module."""
    return sum(parameter.numel() for parameter in module.parameters())


def resnet(encoder: ResNet, *, channels: int = 3) -> Any:
    """Build a ResNet with the stem, stages and widths of one in flax.

    Args:
        encoder: the ResNet in flax.
        channels: channels of the images.

    Returns:
        A ``torch.nn.Sequential`` from images ``[N, C, H, W]`` to features ``[N, F]``.
    """
    from torch import nn  # pyright: ignore[reportMissingImports]

    width = encoder.stage_widths[0]
    kernel, stride = (7, 2) if encoder.stem == "large" else (3, encoder.stem_stride)
    padding = kernel // 2 if encoder.stem_padding is None else encoder.stem_padding
    layers = [
        nn.Conv2d(channels, width, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    if encoder.stem != "small":
        layers.append(nn.MaxPool2d(3, 2, 1))
    before = width
    for stage, (count, wide) in enumerate(
        zip(encoder.stage_sizes, encoder.stage_widths, strict=True)
    ):
        for index in range(count):
            stride = 2 if stage and index == 0 else 1
            block = _block(before, wide, stride, bottleneck=encoder.bottleneck)
            if encoder.zero_init_residual:
                nn.init.zeros_(block.branch[-1].weight)
            layers.append(block)
            before = wide * (4 if encoder.bottleneck else 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _block(before: int, wide: int, stride: int, *, bottleneck: bool) -> Any:
    from torch import nn  # pyright: ignore[reportMissingImports]

    class Residual(nn.Module):
        """Add a branch of convolutions to its input, or to a projection of that."""

        def __init__(self, branch: Any, shortcut: Any) -> None:
            super().__init__()
            self.branch, self.shortcut = branch, shortcut
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            return self.relu(self.branch(x) + self.shortcut(x))

    def unit(inside: int, outside: int, kernel: int, stride: int = 1) -> list[Any]:
        pad = kernel // 2
        convolution = nn.Conv2d(inside, outside, kernel, stride, pad, bias=False)
        return [convolution, nn.BatchNorm2d(outside)]

    after = wide * (4 if bottleneck else 1)
    if bottleneck:
        units = [unit(before, wide, 1), unit(wide, wide, 3, stride)]
        units.append(unit(wide, after, 1))
    else:
        units = [unit(before, wide, 3, stride), unit(wide, wide, 3)]
    branch = list(units[0])
    for more in units[1:]:
        branch += [nn.ReLU(inplace=True), *more]
    same = stride == 1 and before == after
    shortcut = nn.Identity() if same else nn.Sequential(*unit(before, after, 1, stride))
    return Residual(nn.Sequential(*branch), shortcut)


def mlp(head: MLP, features: int) -> Any:
    """Build a projector or predictor with the layers and norms of one in flax.

    Args:
        head: the MLP in flax.
        features: width of its input.

    Returns:
        A ``torch.nn.Sequential`` from ``[N, features]`` to ``[N, D]``.
    """
    from torch import nn  # pyright: ignore[reportMissingImports]

    layers: list[Any] = []
    last = len(head.layers)
    for k, width in enumerate(head.layers, start=1):
        if k < last:
            normed, bias = head.hidden_norm, head.hidden_bias
        else:
            normed, bias = head.output_norm != "none", head.output_bias
        layers.append(nn.Linear(features, width, bias=bias and not normed))
        if normed:
            affine = k < last or head.output_norm == "affine"
            layers.append(nn.BatchNorm1d(width, affine=affine))
        if k < last:
            layers.append(nn.ReLU(inplace=True))
        features = width
    return nn.Sequential(*layers)

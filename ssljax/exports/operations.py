"""List what a ResNet computes, in PyTorch's terms, apart from our own network.

The list says for each convolution its weights, stride and padding, and for each array
where it comes from. The ONNX graph, the torch module and the reference forward pass are
three readings of it. It is derived from the architecture alone, so that comparing any
of them with our own network finds a wrong stride, padding or connection.
"""

from typing import NamedTuple

from ssljax.exports.description import Description

EPSILON = 1e-5
"""Of every BatchNorm, as in PyTorch."""


class Operation(NamedTuple):
    """One step from named arrays to another; the last array is pooled to features."""

    kind: str
    """``conv`` (with its BatchNorm), ``relu``, ``add`` or ``max_pool``."""
    inputs: tuple[str, ...]
    output: str
    conv: str = ""
    """Name of the convolution's module, in torchvision's names."""
    norm: str = ""
    """Name of the BatchNorm behind it."""
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    """Zeros (of a pooling: minus infinity) on each of the four sides."""


IMAGES = "images"
"""Name of the input, ``[N, C, H, W]``."""


def operations(description: Description) -> list[Operation]:
    """Return the operations from images to the map that is pooled.

    Args:
        description: the encoder.

    >>> resnet18 = Description("resnet18", "large", None, 1.0, 224, (0.5,), (0.2,))
    >>> first, *_, last = operations(resnet18)
    >>> first.conv, first.kernel, first.stride, first.padding, last.output
    ('conv1', 7, 2, 3, 'layer4.1.out')
    """
    sizes = description.encoder()
    kernel, stride = (7, 2) if description.stem == "large" else (3, sizes.stem_stride)
    padding = description.stem_padding
    padding = (kernel - 1) // 2 if padding is None else padding
    found = [
        Operation("conv", (IMAGES,), "stem", "conv1", "bn1", kernel, stride, padding),
        Operation("relu", ("stem",), "stem.relu"),
    ]
    if description.stem != "small":
        found.append(
            Operation(
                "max_pool", ("stem.relu",), "stem.pool", kernel=3, stride=2, padding=1
            )
        )
    entering = sizes.stage_widths[0]
    for stage, (count, width) in enumerate(
        zip(sizes.stage_sizes, sizes.stage_widths, strict=True)
    ):
        for block in range(count):
            strided = 2 if stage > 0 and block == 0 else 1
            leaving = 4 * width if sizes.bottleneck else width
            found += _block(
                f"layer{stage + 1}.{block}",
                found[-1].output,
                bottleneck=sizes.bottleneck,
                stride=strided,
                # The shortcut is the identity where shapes allow it.
                projected=strided != 1 or entering != leaving,
            )
            entering = leaving
    return found


def _block(
    name: str, entering: str, *, bottleneck: bool, stride: int, projected: bool
) -> list[Operation]:
    # Kernel and stride of the convolutions: a bottleneck strides in its 3x3 (v1.5).
    shapes = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
    found: list[Operation] = []
    array = entering
    for number, (kernel, step) in enumerate(shapes, start=1):
        conv, norm = f"{name}.conv{number}", f"{name}.bn{number}"
        found.append(
            Operation("conv", (array,), conv, conv, norm, kernel, step, kernel // 2)
        )
        array = conv
        if number < len(shapes):
            found.append(Operation("relu", (array,), f"{conv}.relu"))
            array = f"{conv}.relu"
    shortcut = entering
    if projected:
        conv, norm = f"{name}.downsample.0", f"{name}.downsample.1"
        found.append(Operation("conv", (entering,), conv, conv, norm, 1, stride, 0))
        shortcut = conv
    return [
        *found,
        Operation("add", (array, shortcut), f"{name}.sum"),
        Operation("relu", (f"{name}.sum",), f"{name}.out"),
    ]

"""ResNets (v1.5) as flax.linen modules, from images to pooled features.

Convolutions are padded as in PyTorch (1 for 3x3, 3 for 7x7, 0 for 1x1) and not with
"SAME", which for stride 2 pads one side only. Parameters have torchvision's names, so
that weights can be exported: ``layer1_0/conv1`` here is ``layer1.0.conv1`` there, and
``downsample_conv`` and ``downsample_bn`` are ``downsample.0`` and ``downsample.1``.
BatchNorm's running variance is the biased one (PyTorch stores the unbiased one).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.config.checks import nearest
from ssljax.models.convolution import convolution

STEMS = ("small", "medium", "large")


class Arch(NamedTuple):
    """Sizes that distinguish one ResNet from another."""

    stage_sizes: tuple[int, ...]  # blocks per stage
    stage_widths: tuple[int, ...]  # channels of the 3x3 convolutions
    bottleneck: bool
    stem_stride: int = 1  # of a 3x3 stem; the 7x7 stem always has stride 2


_WIDTHS = (64, 128, 256, 512)
ARCHS: dict[str, Arch] = {
    # For tests and CPU runs. Full-resolution maps cost the most there, so the stem has
    # stride 2 and the stages are narrow.
    "resnet_tiny": Arch((1, 1, 1), (16, 32, 128), False, stem_stride=2),
    "resnet18": Arch((2, 2, 2, 2), _WIDTHS, False),
    "resnet34": Arch((3, 4, 6, 3), _WIDTHS, False),
    "resnet50": Arch((3, 4, 6, 3), _WIDTHS, True),
    "resnet101": Arch((3, 4, 23, 3), _WIDTHS, True),
    "resnet152": Arch((3, 8, 36, 3), _WIDTHS, True),
}
_EXPANSION = 4  # channels out of a bottleneck block per channel of its 3x3

_conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class BasicBlock(nn.Module):
    """Apply two 3x3 convolutions and add the shortcut."""

    features: int
    stride: int
    zero_init_residual: bool
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv(self.features, 3, self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(self.features, 3, 1, name="conv2")(y)
        y = self.norm(scale_init=_last_scale(self.zero_init_residual), name="bn2")(y)
        return nn.relu(y + _shortcut(self, x, self.features))


class BottleneckBlock(nn.Module):
    """Apply 1x1, 3x3 and 1x1 convolutions, the 3x3 strided, and add the shortcut."""

    features: int
    stride: int
    zero_init_residual: bool
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        out = self.features * _EXPANSION
        y = self.conv(self.features, 1, 1, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(self.features, 3, self.stride, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.conv(out, 1, 1, name="conv3")(y)
        y = self.norm(scale_init=_last_scale(self.zero_init_residual), name="bn3")(y)
        return nn.relu(y + _shortcut(self, x, out))


class ResNet(nn.Module):
    """Encode images with residual blocks; build an instance with `resnet`.

    Parameters and BatchNorm statistics are float32 whatever ``dtype`` is. With
    ``axis_name=None`` BatchNorm sees the batch as given, which is the global batch
    under ``jax.jit`` with a sharded batch. Under ``pmap`` or ``shard_map`` pass the
    name of the mapped axis.

    Attributes:
        stage_sizes: residual blocks per stage.
        stage_widths: channels of each stage's 3x3 convolutions.
        bottleneck: use bottleneck blocks (expansion 4) instead of basic ones.
        stem: "small", "medium" or "large", see `choose_stem`.
        stem_stride: stride of the 3x3 convolution of a small or medium stem.
        stem_padding: zeros around the image, in pixels; None keeps its size (1 for a
            3x3 convolution, 3 for the 7x7).
        zero_init_residual: start the last BatchNorm scale of each block at zero, so
            that every block starts as its shortcut.
        dtype: type of the computation, float32 or bfloat16.
        axis_name: mapped axis over which BatchNorm averages its statistics.
    """

    stage_sizes: tuple[int, ...]
    stage_widths: tuple[int, ...]
    bottleneck: bool
    stem: str
    stem_stride: int = 1
    stem_padding: int | None = None
    zero_init_residual: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def feature_dim(self) -> int:
        """Number of features per image."""
        return self.stage_widths[-1] * (_EXPANSION if self.bottleneck else 1)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Encode images.

        Args:
            x: images ``[N, H, W, C]``, floating point, any number of channels.
            train: normalise with the batch statistics and update the running ones
                (``mutable=["batch_stats"]``); otherwise use the running ones.

        Returns:
            Features ``[N, feature_dim]``, the spatial mean, float32.

        Raises:
            ValueError: if ``x`` is not a batch of floating-point images.
        """
        if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                "images must be floating point [N, H, W, C], got "
                f"{x.dtype}{list(x.shape)}: normalise uint8 images first"
            )
        conv = partial(_conv, dtype=self.dtype)
        norm = partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        x = x.astype(self.dtype)
        kernel, stride = (7, 2) if self.stem == "large" else (3, self.stem_stride)
        first = self.stage_widths[0]
        x = conv(first, kernel, stride, self.stem_padding, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x))
        if self.stem != "small":
            pad: Any = ((1, 1), (1, 1))  # flax annotates str, and takes pairs too
            x = nn.max_pool(x, (3, 3), (2, 2), padding=pad)
        block = BottleneckBlock if self.bottleneck else BasicBlock
        stages = zip(self.stage_sizes, self.stage_widths, strict=True)
        for stage, (size, features) in enumerate(stages, start=1):
            stride = 1 if stage == 1 else 2
            for index in range(size):
                x = block(
                    features,
                    stride=stride if index == 0 else 1,
                    zero_init_residual=self.zero_init_residual,
                    conv=conv,
                    norm=norm,
                    name=f"layer{stage}_{index}",
                )(x)
        # A bfloat16 mean over the map would lose digits of every feature.
        return x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean(axis=(1, 2))


def resnet(
    arch: str,
    *,
    stem: str,
    stem_padding: int | None = None,
    width: float = 1.0,
    zero_init_residual: bool = True,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> ResNet:
    """Build a ResNet encoder by name, without a classifier.

    Args:
        arch: a key of `ARCHS`: "resnet18", "resnet34", "resnet50", "resnet101",
            "resnet152", or "resnet_tiny" for tests and CPU runs on 32 x 32 images.
        stem: "small", "medium" or "large"; `choose_stem` chooses it by image size.
        stem_padding: zeros around the image in pixels; None keeps its size. solo-learn
            uses 2 on CIFAR, which gives maps of 34 pixels.
        width: factor on the channels of every layer, stem and features included, as in
            the "2x" of SimCLR and BYOL (torchvision's wide_resnet widens 3x3s only).
        zero_init_residual: start every block as its shortcut.
        dtype: type of the computation; parameters and statistics stay float32.
        axis_name: mapped axis of BatchNorm; None for the batch as given.

    Returns:
        The linen module; ``.feature_dim`` is its number of features.

    Raises:
        ValueError: for an unknown architecture or stem, or a width without channels.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016; the
    stride in the 3x3 and the zero initialisation from Goyal et al., 2017.

    >>> encoder = resnet("resnet50", stem="large")
    >>> encoder.feature_dim
    2048
    """
    if arch not in ARCHS:
        raise ValueError(
            f"unknown architecture {arch!r}; allowed: {', '.join(ARCHS)}"
            f"{nearest(str(arch), ARCHS)}"
        )
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {', '.join(STEMS)}, got {stem!r}")
    spec = ARCHS[arch]
    widths = tuple(round(width * channels) for channels in spec.stage_widths)
    if min(widths) < 1:
        least = 1 / min(spec.stage_widths)
        raise ValueError(f"width {width} leaves no channel; use at least {least:g}")
    return ResNet(
        stage_sizes=spec.stage_sizes,
        stage_widths=widths,
        bottleneck=spec.bottleneck,
        stem=stem,
        stem_stride=spec.stem_stride,
        stem_padding=stem_padding,
        zero_init_residual=zero_init_residual,
        dtype=dtype,
        axis_name=axis_name,
    )


def choose_stem(image_size: int) -> str:
    """Choose the stem for square images of this size.

    - up to 32 (CIFAR): "small", 3x3 stride 1 without max-pool. The large stem would
      leave 8 x 8 maps for the first stage.
    - 33 to 96 (TinyImageNet 64, STL-10 96): "medium", 3x3 stride 1 and 3x3 max-pool
      stride 2. It halves once where the large stem halves twice, which leaves 4 x 4
      and 6 x 6 maps for the mean. The published results on these two data sets (W-MSE
      and its successors) use this stem.
    - above: "large", 7x7 stride 2 and max-pool (ImageNet).

    Args:
        image_size: height and width in pixels.

    Raises:
        ValueError: if ``image_size`` is below 1.

    >>> [choose_stem(size) for size in (32, 64, 96, 224)]
    ['small', 'medium', 'medium', 'large']
    """
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
    if image_size <= 32:
        return "small"
    return "medium" if image_size <= 96 else "large"


def _conv(
    features: int,
    kernel: int,
    stride: int,
    padding: int | None = None,
    *,
    dtype: Any,
    name: str,
) -> nn.Conv:
    # Half the kernel on both sides: PyTorch's padding, which keeps the size.
    pad = kernel // 2 if padding is None else padding
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        use_bias=False,
        kernel_init=_conv_init,
        dtype=dtype,
        conv_general_dilated=convolution,
        name=name,
    )


def _last_scale(zero: bool) -> Callable[..., jax.Array]:
    return nn.initializers.zeros if zero else nn.initializers.ones


def _shortcut(block: Any, x: jax.Array, features: int) -> jax.Array:
    if block.stride == 1 and x.shape[-1] == features:
        return x
    x = block.conv(features, 1, block.stride, name="downsample_conv")(x)
    return block.norm(name="downsample_bn")(x)

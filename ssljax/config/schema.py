"""The settings of a run, with their types and defaults, section by section.

The strings below the fields are the texts of ``--help``. The sections of how a run is
carried out are in `ssljax.config.operation`.
"""

import itertools
from dataclasses import dataclass, field
from typing import Literal

from ssljax.config.checks import (
    as_tuples,
    at_least,
    check_types,
    fraction,
    not_empty,
    positive,
    refuse,
    within,
)
from ssljax.config.operation import (
    CheckpointConfig,
    DevicesConfig,
    LogConfig,
    MonitorConfig,
    ProbeConfig,
)
from ssljax.config.paths import absolute

LARGEST_SIDE = 4096  # of an image, in pixels


@dataclass(frozen=True)
class DataConfig:
    """The images: data set, splits, size and storage."""

    name: str = "shapes"
    """`shapes` (generated), `folder`, `arrays` (Python only) or any name in TFDS."""
    split: str = "train"
    """Split to pretrain on."""
    test_split: str = "test"
    """Split to evaluate on."""
    labelled_split: str | None = None
    """Split to fit kNN and the linear probe on; None uses `split`."""
    path: str | None = None
    """Folder of images, for the data set `folder`."""
    data_dir: str | None = None
    """TFDS directory; None uses TFDS_DATA_DIR, or else ~/tensorflow_datasets."""
    image_size: int | None = None
    """Resize images to this many pixels per side; None keeps the data set's size."""
    examples: int | None = None
    """Train on a fixed random subset of this many images; None uses all."""
    test_examples: int | None = None
    """Evaluate on a fixed random subset of this many images; None uses all."""
    store: Literal["auto", "memory", "stream"] = "auto"
    """`memory` keeps all images on the device as uint8, `stream` decodes each batch,
    `auto` uses memory up to 2 GiB."""
    crop: Literal["auto", "original", "stored"] = "auto"
    """Cut random crops out of the `original` (only with `stream`) or of the image
    `stored` at `image_size`; `auto` takes the original above 96 pixels."""
    workers: int = 4
    """Worker processes that decode images, with `stream`."""

    def __post_init__(self):
        check_types(self, "data")
        positive(self, "data", "image_size", "examples", "test_examples")
        within(self, "data", 0, 1024, "workers")
        if self.image_size is not None and self.image_size > LARGEST_SIDE:
            refuse("data.image_size", self.image_size, f"1 to {LARGEST_SIDE} pixels")
        if self.path is not None:
            # A run resumed from another directory must read the same images.
            object.__setattr__(self, "path", absolute(self.path))


@dataclass(frozen=True)
class AugmentConfig:
    """The views of an image. None keeps the value of the preset."""

    preset: str = "auto"
    """Augmentation: `simclr`, `byol`, `simsiam`, `barlow_twins`, `vicreg`, `multi_crop`
    or `supervised`; `auto` uses the method's own."""
    variant: Literal["auto", "small", "large"] = "auto"
    """The preset's variant for small images or 224 pixels; `auto`: by the view size."""
    size: int | None = None
    """Side of the views in pixels; None uses the image size."""
    sizes: tuple[int, ...] | None = None
    """Multi-crop: side of each view in pixels, largest first, instead of `size`. Views
    alternate between the preset's two distributions."""
    crop_scales: tuple[tuple[float, float], ...] | None = None
    """Multi-crop: smallest and largest crop of each view, as fractions of the area."""
    crop_scale_min: float | None = None
    """Smallest crop, as a fraction of the image area."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Filter that resizes the crops, antialiased as in Pillow and torchvision."""
    blur: float | None = None
    """Probability of Gaussian blur, in all views."""
    grayscale: float | None = None
    """Probability of grayscale, in all views."""
    jitter_strength: float | None = None
    """Factor on brightness, contrast, saturation and hue of all views. 0.5 halves them,
    as the SimCLR paper does for CIFAR-10."""

    def __post_init__(self):
        for name in ("sizes", "crop_scales"):
            # Parsed files contain lists.
            object.__setattr__(self, name, as_tuples(getattr(self, name)))
        check_types(self, "augment")
        positive(self, "augment", "size")
        if self.sizes is not None:
            self._check_crops(self.sizes)
        elif self.crop_scales is not None:
            refuse("augment.crop_scales", self.crop_scales, "only with augment.sizes")
        if self.size is not None and self.size > LARGEST_SIDE:
            refuse("augment.size", self.size, f"1 to {LARGEST_SIDE} pixels")
        fraction(self, "augment", "blur", "grayscale")
        # Presets have a hue shift of 0.1 turns or more, and half a turn is the largest.
        if self.jitter_strength is not None and not 0 <= self.jitter_strength <= 5:
            refuse("augment.jitter_strength", self.jitter_strength, "0 to 5")
        if self.crop_scale_min is not None and not 0 < self.crop_scale_min <= 1:
            refuse("augment.crop_scale_min", self.crop_scale_min, "0 < value <= 1")

    def _check_crops(self, sizes: tuple[int, ...]) -> None:
        descending = all(a >= b for a, b in itertools.pairwise(sizes))
        if len(sizes) < 2 or not descending or sizes[0] > LARGEST_SIDE or sizes[-1] < 1:
            refuse(
                "augment.sizes",
                sizes,
                f"two or more sides of 1 to {LARGEST_SIDE} pixels, largest first",
            )
        if self.size not in (None, sizes[0]):
            refuse("augment.size", self.size, f"None where augment.sizes is {sizes}")
        scales = self.crop_scales
        if scales is None:
            return
        if self.crop_scale_min is not None:
            refuse(
                "augment.crop_scale_min",
                self.crop_scale_min,
                "None where augment.crop_scales is set",
            )
        if len(scales) != len(sizes) or not all(0 < a <= b <= 1 for a, b in scales):
            refuse(
                "augment.crop_scales",
                scales,
                f"{len(sizes)} pairs 0 < low <= high <= 1, one for each size",
            )


@dataclass(frozen=True)
class ModelConfig:
    """The encoder."""

    arch: str = "resnet18"
    """Architecture: `resnet_tiny`, `resnet18`, `resnet34`, `resnet50`, `resnet101` or
    `resnet152`."""
    width: float = 1.0
    """Factor on the channels of every layer."""
    stem: Literal["auto", "small", "medium", "large"] = "auto"
    """First layers: `small` keeps the resolution (up to 32 pixels), `medium` halves it
    (up to 96), `large` divides it by 4; `auto` chooses by the view size."""
    stem_padding: int | None = None
    """Zero padding of the first convolution in pixels; None keeps the size (1 for 3x3,
    3 for 7x7). solo-learn and its successors use 2 on CIFAR, for maps of 34 pixels."""
    zero_init_residual: bool = False
    """Initialise the last BatchNorm scale of every residual block to zero."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters, statistics and losses stay float32."""
    init_from: str | None = None
    """Run folder to take the encoder's first weights from; `ssljax import` makes one of
    a foreign checkpoint."""
    init_step: int | None = None
    """Step of that run's checkpoint; None takes the newest."""
    frozen: bool = False
    """Train the heads alone; the encoder keeps its weights and statistics."""

    def __post_init__(self):
        check_types(self, "model")
        if self.init_from is not None:
            object.__setattr__(self, "init_from", absolute(self.init_from))
        if self.init_from is None and self.init_step is not None:
            refuse("model.init_step", self.init_step, "None without model.init_from")
        at_least(self, "model", 0, "init_step")
        positive(self, "model", "width")
        within(self, "model", 0, 100, "width")
        within(self, "model", 0, 8, "stem_padding")


@dataclass(frozen=True)
class MethodConfig:
    """The method and its heads. None uses the method's own default."""

    name: str = "simclr"
    """Method; `ssljax list methods` shows all."""
    options: dict[str, float | int | str] = field(default_factory=dict)
    """Hyper-parameters of the loss, by the names of its keyword arguments."""
    projector: str | None = None
    """Projector's layer widths, such as `2048-2048-128`; `none` for no projector."""
    projector_norm: Literal["off", "hidden", "affine", "plain"] | None = None
    """BatchNorm of the projector: `off`, `hidden` (after all layers but the last),
    `affine` (after all layers) or `plain` (the last one without scale and bias)."""
    projector_bias: bool | None = None
    """Biases in projector layers without BatchNorm."""
    predictor: str | None = None
    """Predictor's layer widths, or a linear kind such as `off_diagonal`; `none` for no
    predictor."""
    predictor_bias: bool | None = None
    """Biases in predictor layers without BatchNorm."""
    forward: Literal["joint", "separate"] | None = None
    """Pass the views through the network together (`joint`) or one by one (`separate`).
    This decides which images BatchNorm's statistics include."""
    target_momentum: float | None = None
    """Initial momentum of the target network, which rises to 1; 0 for no target."""

    def __post_init__(self):
        check_types(self, "method")
        fraction(self, "method", "target_momentum")
        not_empty(self, "method", "projector", "predictor")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and the learning rate schedule."""

    name: Literal["sgd", "adamw", "lars", "lars_byol", "lars_clip"] = "sgd"
    """Optimizer. Implementations of LARS differ, so each variant has a name."""
    learning_rate: float = 0.06
    """Peak learning rate, for a batch of 256 if `scale_by_batch` is set."""
    scale_by_batch: bool = True
    """Multiply the learning rate by batch_size / 256."""
    momentum: float = 0.9
    """Momentum of SGD and LARS; b1 of AdamW."""
    weight_decay: float = 5e-4
    """Weight decay."""
    decay_norm_and_bias: bool = False
    """Apply weight decay to BatchNorm parameters and biases as well."""
    warmup_epochs: float = 10.0
    """Epochs of linear warm-up to the peak learning rate."""
    final_fraction: float = 0.0
    """Final learning rate as a fraction of the peak, at the end of the cosine decay."""
    eta: float | None = None
    """LARS trust coefficient; None uses the variant's usual value."""
    clip_norm: float | None = None
    """Clip the global norm of the gradient to this value; None for no clipping."""
    norm_and_bias_learning_rate: float | None = None
    """Peak rate of BatchNorm parameters and biases; None uses `learning_rate`."""
    encoder_factor: float = 1.0
    """Factor on the encoder's learning rate."""
    constant_predictor_rate: bool | None = None
    """Keep the predictor's learning rate constant; None uses the method's default."""

    def __post_init__(self):
        check_types(self, "optimizer")
        rates = ("learning_rate", "norm_and_bias_learning_rate")
        positive(self, "optimizer", *rates, "eta", "clip_norm", "encoder_factor")
        at_least(self, "optimizer", 0, "weight_decay", "warmup_epochs")
        fraction(self, "optimizer", "momentum", "final_fraction")


@dataclass(frozen=True)
class Config:
    """All settings of a run. The same config on the same device gives the same run.

    Raises:
        ConfigError: one line that names the key, the value and what is allowed.

    >>> Config(epochs=0)
    Traceback (most recent call last):
        ...
    ssljax.config.checks.ConfigError: epochs is 0; allowed: > 0
    """

    method: MethodConfig = MethodConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    probe: ProbeConfig = ProbeConfig()
    monitor: MonitorConfig = MonitorConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    devices: DevicesConfig = DevicesConfig()
    epochs: float = 100.0
    """Passes over the training images; may be a fraction."""
    batch_size: int = 256
    """Images per step, over all devices and processes."""
    seed: int = 0
    """Seed of weights, data order, augmentation and subsets."""

    def __post_init__(self):
        check_types(self, "")
        positive(self, "", "epochs")
        at_least(self, "", 2, "batch_size")
        at_least(self, "", 0, "seed")
        self.checkpoint.check_best(self.monitor)
        self.devices.check_batch(self.batch_size)

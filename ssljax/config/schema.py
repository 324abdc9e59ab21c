"""Typed, validated configuration: the only place where run defaults live."""

import itertools
import os
from dataclasses import dataclass, field
from typing import Literal

from ssljax.config.checks import (
    as_tuples,
    at_least,
    at_most,
    check_types,
    fraction,
    near_multiples,
    positive,
    refuse,
)

LARGEST = 4096  # side of an image in pixels


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they are held."""

    name: str = "shapes"
    """`shapes` (embedded), `folder`, `arrays` (Python only) or any TFDS name."""
    split: str = "train"
    test_split: str = "test"
    labelled_split: str | None = None
    """Images that kNN and the linear probe are fitted on; None takes `split`."""
    path: str | None = None
    """Folder of images, for `folder`."""
    data_dir: str | None = None
    """TFDS directory; None reads TFDS_DATA_DIR, then ~/tensorflow_datasets."""
    image_size: int | None = None
    """Side in pixels; None keeps the data set's own."""
    examples: int | None = None
    """Train on a fixed subset of this many images; None uses all."""
    test_examples: int | None = None
    store: Literal["auto", "memory", "stream"] = "auto"
    """`memory` keeps uint8 images on the device, `stream` decodes as it goes."""
    workers: int = 4
    """Worker processes that decode when streaming."""

    def __post_init__(self):
        check_types(self, "data")
        positive(self, "data", "image_size", "examples", "test_examples")
        at_least(self, "data", 0, "workers")
        if self.image_size is not None and self.image_size > LARGEST:
            refuse("data.image_size", self.image_size, f"1 to {LARGEST} pixels")
        if self.path is not None:
            # Another directory must not make the run read other images.
            object.__setattr__(self, "path", os.path.abspath(self.path))


@dataclass(frozen=True)
class AugmentConfig:
    """Which views are made of an image."""

    preset: str = "auto"
    """A preset of `ssljax.data.augment`; `auto` takes the method's own."""
    variant: Literal["auto", "small", "large"] = "auto"
    """The preset's form for small images or for 224 pixels; `auto` goes by the size of
    the views."""
    size: int | None = None
    """Side of the views in pixels; None takes the image size."""
    sizes: tuple[int, ...] | None = None
    """Multi-crop: the side of every view in pixels, largest first, instead of `size`;
    the further views draw from the preset's two in turn."""
    crop_scales: tuple[tuple[float, float], ...] | None = None
    """Multi-crop: smallest and largest crop of every view as fractions of the image
    area; None keeps the preset's."""
    crop_scale_min: float | None = None
    """Smallest crop as a fraction of the image area; None keeps the preset's."""
    blur: float | None = None
    """Probability of Gaussian blur in every view; None keeps the preset's."""
    grayscale: float | None = None
    """Probability of dropping the colour in every view; None keeps the preset's."""
    jitter_strength: float | None = None
    """Multiplies brightness, contrast, saturation and hue of every view; None keeps the
    preset's. 0.5 halves them, as SimCLR's paper does for CIFAR-10."""

    def __post_init__(self):
        for name in ("sizes", "crop_scales"):
            # Lists are what a parsed file has.
            object.__setattr__(self, name, as_tuples(getattr(self, name)))
        check_types(self, "augment")
        positive(self, "augment", "size")
        if self.sizes is not None:
            self._check_crops(self.sizes)
        elif self.crop_scales is not None:
            refuse("augment.crop_scales", self.crop_scales, "only with augment.sizes")
        if self.size is not None and self.size > LARGEST:
            refuse("augment.size", self.size, f"1 to {LARGEST} pixels")
        fraction(self, "augment", "blur", "grayscale")
        # A preset's hue is 0.1 of a turn or more, and half a turn is all there is.
        if self.jitter_strength is not None and not 0 <= self.jitter_strength <= 5:
            refuse("augment.jitter_strength", self.jitter_strength, "0 to 5")
        if self.crop_scale_min is not None and not 0 < self.crop_scale_min <= 1:
            refuse("augment.crop_scale_min", self.crop_scale_min, "0 < value <= 1")

    def _check_crops(self, sizes: tuple[int, ...]) -> None:
        descending = all(a >= b for a, b in itertools.pairwise(sizes))
        if len(sizes) < 2 or not descending or sizes[0] > LARGEST or sizes[-1] < 1:
            refuse(
                "augment.sizes",
                sizes,
                f"two or more sides of 1 to {LARGEST} pixels, largest first",
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
    """resnet_tiny, resnet18, resnet34, resnet50, resnet101 or resnet152."""
    width: float = 1.0
    stem: Literal["auto", "small", "medium", "large"] = "auto"
    """`auto` chooses from the view size."""
    stem_padding: int | None = None
    """Pixels of zeros around the image; None keeps its size (1 for 3x3, 3 for 7x7).
    solo-learn and the codes made from it have 2 on CIFAR: maps of 34 px."""
    zero_init_residual: bool = False
    """Start every residual branch at zero (its last BatchNorm scale)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type; parameters, statistics and losses stay float32."""

    def __post_init__(self):
        check_types(self, "model")
        positive(self, "model", "width")
        at_least(self, "model", 0, "stem_padding")
        at_most(self, "model", 8, "stem_padding")


@dataclass(frozen=True)
class MethodConfig:
    """The method and what it takes; None means the method's own default."""

    name: str = "simclr"
    options: dict[str, float | int | str] = field(default_factory=dict)
    """Hyper-parameters of the loss, by the names of its keyword arguments."""
    projector: str | None = None
    """Layer widths such as `2048-2048-128`; `none` leaves the projector out."""
    projector_norm: Literal["off", "hidden", "affine", "plain"] | None = None
    """BatchNorm behind no layer, behind all but the last, or behind all; the last one
    then with scale and bias or, `plain`, without."""
    projector_bias: bool | None = None
    """Biases of its layers that no BatchNorm follows."""
    predictor: str | None = None
    """Layer widths, or a linear kind such as `off_diagonal`; `none` leaves it out."""
    predictor_bias: bool | None = None
    """Biases of its layers that no BatchNorm follows."""
    forward: Literal["joint", "separate"] | None = None
    """Whether BatchNorm sees both views together or one at a time."""
    target_momentum: float | None = None
    """First value of the target network's momentum, which rises to 1; 0 does without a
    target network."""

    def __post_init__(self):
        check_types(self, "method")
        fraction(self, "method", "target_momentum")


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights move."""

    name: Literal["sgd", "adamw", "lars", "lars_byol", "lars_clip"] = "sgd"
    learning_rate: float = 0.06
    """Peak rate; multiplied by batch / 256 while `scale_by_batch` is set."""
    scale_by_batch: bool = True
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = False
    """Apply weight decay to BatchNorm parameters and biases as well."""
    warmup_epochs: float = 10.0
    final_fraction: float = 0.0
    """Learning rate at the end as a fraction of the peak (cosine in between)."""
    eta: float | None = None
    """LARS trust coefficient; None takes the form's usual value."""
    clip_norm: float | None = None
    """Clip the global gradient norm."""
    norm_and_bias_learning_rate: float | None = None
    """Peak rate of BatchNorm parameters and biases; None takes `learning_rate`."""
    constant_predictor_rate: bool | None = None
    """Keep the predictor at the peak rate (SimSiam); None asks the method."""

    def __post_init__(self):
        check_types(self, "optimizer")
        rates = ("learning_rate", "norm_and_bias_learning_rate")
        positive(self, "optimizer", *rates, "eta", "clip_norm")
        at_least(self, "optimizer", 0, "weight_decay", "warmup_epochs")
        fraction(self, "optimizer", "momentum", "final_fraction")


@dataclass(frozen=True)
class ProbeConfig:
    """The online linear probe, trained behind a stop-gradient."""

    enabled: bool = True
    learning_rate: float = 0.1
    momentum: float = 0.9

    def __post_init__(self):
        check_types(self, "probe")
        positive(self, "probe", "learning_rate")
        fraction(self, "probe", "momentum")


@dataclass(frozen=True)
class MonitorConfig:
    """The spectrum panel, the kNN monitor and the collapse alarm."""

    every_epochs: float = 1.0
    """Cadence; 0 switches the monitor off."""
    examples: int = 1024
    """Training images whose two views make the spectrum panel."""
    eigenvalues: int = 16
    """How many eigenvalues of the embedding covariance are kept."""
    knn_k: int = 20
    knn_examples: int = 5000
    """Training images in the kNN bank; 0 leaves the kNN monitor out."""
    knn_test_examples: int = 2000
    collapse: Literal["warn", "stop", "off"] = "warn"

    def __post_init__(self):
        check_types(self, "monitor")
        at_least(self, "monitor", 0, "every_epochs", "knn_examples")
        at_least(self, "monitor", 1, "eigenvalues", "knn_k", "knn_test_examples")
        at_least(self, "monitor", 2, "examples")


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state is saved."""

    every_epochs: float = 1.0
    keep: int = 2
    """How many checkpoints stay; at least two, so that one can be damaged."""

    def __post_init__(self):
        check_types(self, "checkpoint")
        positive(self, "checkpoint", "every_epochs")
        at_least(self, "checkpoint", 2, "keep")


@dataclass(frozen=True)
class LogConfig:
    """What is written beside JSONL and CSV."""

    every_steps: int = 50
    tensorboard: bool = False
    wandb: bool = False
    wandb_project: str = "ssljax"

    def __post_init__(self):
        check_types(self, "log")
        positive(self, "log", "every_steps")


@dataclass(frozen=True)
class DevicesConfig:
    """Which devices share the global batch, and how."""

    count: int | None = None
    """How many local devices to use; None takes all."""
    engine: Literal["jit", "pmap"] = "jit"
    """`jit` over one mesh of all devices, or `pmap`: the same step and numbers."""
    microbatch: int | None = None
    """Images that pass through the network at a time, a divisor of `batch_size`: the
    gradient is that of the loss of the whole batch, BatchNorm is per microbatch."""
    distributed: bool = False
    """Join other processes, which the environment names: TPU pod, SLURM, GKE, MPI."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where the environment names none."""
    processes: int | None = None
    """How many processes there are, with `coordinator`."""
    process: int | None = None
    """Which of them this is, from 0, with `coordinator`."""
    timeout: int = 300
    """Seconds to wait for the other processes to come."""

    def __post_init__(self):
        check_types(self, "devices")
        positive(self, "devices", "count", "processes", "timeout")
        at_least(self, "devices", 2, "microbatch")
        at_least(self, "devices", 0, "process")
        if self.coordinator is None and (self.processes, self.process) != (None, None):
            refuse("devices.coordinator", None, "HOST:PORT, with devices.processes")
        if self.coordinator is not None:
            self._check_explicit(self.coordinator)
        if self.microbatch is not None and self.engine == "pmap":
            refuse("devices.microbatch", self.microbatch, "None with engine pmap")

    def _check_explicit(self, coordinator: str) -> None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit():
            refuse("devices.coordinator", coordinator, "HOST:PORT")
        if self.processes is None or self.process is None:
            missing = "processes" if self.processes is None else "process"
            refuse(f"devices.{missing}", None, "a number, with devices.coordinator")
        elif self.process >= self.processes:
            refuse("devices.process", self.process, f"0 to {self.processes - 1}")


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; equal configs and seeds give equal runs.

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
    batch_size: int = 256
    """Images per step over all devices and processes."""
    seed: int = 0

    def __post_init__(self):
        check_types(self, "")
        positive(self, "", "epochs")
        at_least(self, "", 2, "batch_size")
        at_least(self, "", 0, "seed")
        if self.seed >= 2**32:
            refuse("seed", self.seed, "0 to 4294967295")
        part = self.devices.microbatch
        if part is not None and self.batch_size % part:
            near = near_multiples(self.batch_size, part)
            refuse(
                "batch_size", self.batch_size, f"multiples of microbatch {part}: {near}"
            )

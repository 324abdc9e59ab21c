"""The data-set blocks: images, encoder and monitor that a data set's recipes share."""

from dataclasses import dataclass, field, replace

from ssljax.config import AugmentConfig, DataConfig, ModelConfig, MonitorConfig


@dataclass(frozen=True)
class Dataset:
    """Everything in a config that follows from the images and not from the method."""

    title: str
    """How a recipe's title names it, with the encoder."""
    data: DataConfig
    model: ModelConfig
    monitor: MonitorConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    notes: tuple[str, ...] = ()
    """Paragraphs that hold for each of its recipes."""


CIFAR10 = Dataset(
    title="CIFAR-10, ResNet-18",
    data=DataConfig("cifar10"),
    model=ModelConfig(arch="resnet18", dtype="bfloat16"),
    monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
    notes=("CIFAR-100: add --data.name cifar100.",),
)

# solo-learn, and the code derived from it (INTL, implicit-var-reg), pad the 3x3 stem by
# two pixels: the first feature maps are 34 pixels wide.
CIFAR10_PADDED = replace(CIFAR10, model=replace(CIFAR10.model, stem_padding=2))

STL10 = Dataset(
    title="STL-10, ResNet-18",
    # Pretrained on all images; kNN and the linear probe need the labelled ones.
    data=DataConfig("stl10", split="train+unlabelled", labelled_split="train"),
    model=ModelConfig(arch="resnet18", dtype="bfloat16"),
    monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=20_000),
)

# implicit-var-reg treats images of 96 pixels as ImageNet's: stem and augmentations.
STL10_LARGE = replace(
    STL10,
    model=replace(STL10.model, stem="large"),
    augment=AugmentConfig(variant="large"),
)

IMAGENET64 = Dataset(
    title="ImageNet at 64 px, ResNet-18",
    data=DataConfig("imagenet_resized/64x64", test_split="validation"),
    model=ModelConfig(arch="resnet18", dtype="bfloat16"),
    monitor=MonitorConfig(
        every_epochs=10, knn_k=20, knn_examples=50_000, knn_test_examples=5000
    ),
    notes=(
        "The 1000 epochs come from Tiny-ImageNet, which has a tenth as many images: "
        "--epochs 100 takes as many steps.",
    ),
)

IMAGENET64_LARGE = replace(IMAGENET64, model=replace(IMAGENET64.model, stem="large"))

IMAGENET = Dataset(
    title="ImageNet, ResNet-50",
    # Views of 224 are cut out of the original, evaluation resizes it to 256 pixels.
    data=DataConfig("imagenet2012", image_size=256),
    augment=AugmentConfig(size=224),
    model=ModelConfig(arch="resnet50", dtype="bfloat16"),
    # 50 images of each class: at 224 pixels encoding them takes less than one hundredth
    # of five epochs. They are read again each time, in memory they would take 10 GB.
    monitor=MonitorConfig(
        every_epochs=5, knn_k=20, knn_examples=50_000, knn_test_examples=5000
    ),
)

SHAPES = Dataset(
    title="the generated `shapes` images",
    # A subset and half the width, so that two CPU cores finish within minutes.
    data=DataConfig("shapes", examples=8000),
    model=ModelConfig(arch="resnet_tiny", width=0.5),
    monitor=MonitorConfig(every_epochs=2, knn_examples=4000),
)

FOLDER = Dataset(
    title="a folder of images, ResNet-18",
    data=DataConfig("folder"),
    model=ModelConfig(arch="resnet18"),
    monitor=MonitorConfig(every_epochs=5),
    notes=(
        "The folder may have one sub-folder per class; without them the run reports "
        "the spectrum panel but no accuracies.",
        "The shorter side is resized to --data.image-size (chosen from the images by "
        "default) and the centre is kept; above 96 pixels a streamed folder's random "
        "crops come from the original images.",
    ),
)

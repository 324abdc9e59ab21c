"""IsoLoss, Euclidean on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_isoloss_euclidean.py \\
              --workdir runs/imagenet_isoloss_euclidean
Time:     100 epochs; not yet measured on an accelerator
Result:   no figure of this recipe is known to us; ours is not yet measured
Source:   implicit-var-reg's ImageNet settings: LARS, rate 0.45 x batch / 256, eta
          0.001, weight decay 1e-5, 100 epochs of 256 x 16 accumulated images

The source has no Euclidean settings; these are its cosine ones with the gradient
clipped to norm 1. Unclipped, IsoLoss on CIFAR-10 blew up during the warm-up and lost
its features within 7 epochs (experiments/results/cifar10_h100.md): the Euclidean losses
grow with the square of the embeddings, and vectors have no trust ratio to hold them.
"""

from ssljax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
)


def config() -> Config:
    return Config(
        method=MethodConfig(
            "isoloss_euclidean",
            projector="4096-256",
            projector_bias=True,
            target_momentum=0.99,
        ),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_byol",
            learning_rate=0.45,
            weight_decay=1e-5,
            warmup_epochs=10,
            clip_norm=1.0,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=100,
        batch_size=4096,
    )

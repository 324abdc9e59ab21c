"""BYOL on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_byol.py \\
              --workdir runs/imagenet_byol
Time:     1000 epochs; not yet measured on an accelerator
Result:   the official README reports 74.0 to 74.5 % (linear, 1000 epochs); ours is not
          yet measured
Source:   deepmind-research/byol, preset of 1000 epochs; of 100 epochs: rate 0.45,
          weight decay 1e-6, target momentum 0.99
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
            "byol", projector="4096-256", predictor="4096-256", target_momentum=0.996
        ),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_byol", learning_rate=0.2, weight_decay=1.5e-6, warmup_epochs=10
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=1000,
        batch_size=4096,
    )

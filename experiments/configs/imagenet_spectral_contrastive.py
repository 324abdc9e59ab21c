"""Spectral contrastive on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_spectral_contrastive.py \\
              --workdir runs/imagenet_spectral_contrastive
Time:     100 epochs; not yet measured on an accelerator
Result:   no figure of this recipe is known to us; ours is not yet measured
Source:   the paper's official code for ImageNet: SGD, rate 0.05 x batch / 256, three
          layers of 8192, mu 10
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
        method=MethodConfig("spectral_contrastive", options={"mu": 10.0}),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", zero_init_residual=True, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.05,
            weight_decay=1e-4,
            decay_norm_and_bias=True,
            warmup_epochs=0,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=100,
        batch_size=384,
    )

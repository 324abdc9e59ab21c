"""SimSiam on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_simsiam.py \\
              --workdir runs/imagenet_simsiam
Time:     100 epochs; not yet measured on an accelerator
Result:   the official README reports 68.1 % (linear, 100 epochs, batch 512); ours is
          not yet measured
Source:   facebookresearch/simsiam: SGD, rate 0.05 x batch / 256, no warm-up, the
          predictor's rate constant
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
            "simsiam", projector="2048-2048-2048", predictor="512-2048"
        ),
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
        batch_size=512,
    )

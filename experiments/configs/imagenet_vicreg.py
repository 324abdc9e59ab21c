"""VICReg on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_vicreg.py \\
              --workdir runs/imagenet_vicreg
Time:     1000 epochs; not yet measured on an accelerator
Result:   the paper reports 73.2 % (linear, 1000 epochs); ours is not yet measured
Source:   facebookresearch/vicreg: LARS, rate 0.2 x batch / 256 (0.3 for 100 epochs)
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
        method=MethodConfig("vicreg", projector="8192-8192-8192"),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", zero_init_residual=True, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_byol",
            learning_rate=0.2,
            weight_decay=1e-6,
            final_fraction=1e-3,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=1000,
        batch_size=2048,
    )

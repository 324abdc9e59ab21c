"""SimCLR on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_simclr.py \\
              --workdir runs/imagenet_simclr
Time:     100 epochs; not yet measured on an accelerator
Result:   google-research's README reports 64.5 % (linear, 100 epochs); ours is not yet
          measured
Source:   google-research/simclr: LARS, rate 0.3 x batch / 256, weight decay 1e-4; its
          loss is twice ours, which LARS sees in vectors only: twice the rate for them
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
            "simclr", options={"temperature": 0.1}, projector="2048-2048-128"
        ),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars",
            learning_rate=0.3,
            norm_and_bias_learning_rate=0.6,
            weight_decay=1e-4,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=100,
        batch_size=4096,
    )

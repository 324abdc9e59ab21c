"""INTL on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_intl.py \\
              --workdir runs/imagenet_intl
Time:     800 epochs; not yet measured on an accelerator
Result:   the paper's code reports 73.1 % (linear, 800 epochs, two views); ours is not
          yet measured
Source:   released script of INTL: SGD, rate 0.3, 2 warm-up epochs, weight decay on
          kernels only
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
            "intl", options={"trace_weight": 0.05}, projector="8192-8192-8192"
        ),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", zero_init_residual=True, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.3,
            weight_decay=1e-5,
            final_fraction=1e-3,
            warmup_epochs=2,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=800,
        batch_size=256,
    )

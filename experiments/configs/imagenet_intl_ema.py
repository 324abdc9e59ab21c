"""INTL with a moving-average teacher and multi-crop on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_intl_ema.py \\
              --workdir runs/imagenet_intl_ema
Time:     100 epochs; not yet measured on an accelerator
Result:   the paper's code reports 73.5 % (linear) after 100 epochs; 75.2, 76.1 and 76.6
          % after 200, 400 and 800, at the rates 0.4, 0.4 and 0.3; ours is not yet
          measured
Source:   released script of INTL: SGD, rate 0.5, 2 warm-up epochs, weight decay on
          kernels only; the teacher sees the first view, the student the other five
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
            "intl_ema",
            options={"trace_weight": 0.05},
            projector="8192-8192-8192",
            target_momentum=0.996,
        ),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(
            preset="multi_crop",
            sizes=(224, 224, 192, 160, 128, 96),
            crop_scales=(
                (0.2, 1.0),
                (0.2, 1.0),
                (0.171, 0.857),
                (0.143, 0.714),
                (0.114, 0.571),
                (0.086, 0.429),
            ),
        ),
        model=ModelConfig(arch="resnet50", zero_init_residual=True, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.5,
            weight_decay=1e-5,
            final_fraction=1e-3,
            warmup_epochs=2,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=100,
        batch_size=256,
    )

"""SimSiam on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_simsiam.py \\
              --workdir runs/simsiam
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   solo-learn reports 90.51 / 66.04 % online accuracy
          on CIFAR-10 / CIFAR-100; ours is not yet measured
Source:   solo-learn's CIFAR script: SGD, rate 0.5, 1000 epochs of batch 256
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
        data=DataConfig("cifar10"),
        augment=AugmentConfig(crop_scale_min=0.08, blur=0.5),
        model=ModelConfig(arch="resnet18", stem_padding=2, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.5,
            weight_decay=1e-5,
            decay_norm_and_bias=True,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=256,
    )

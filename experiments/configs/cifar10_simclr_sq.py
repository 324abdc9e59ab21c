"""SimCLR with squared negatives on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_simclr_sq.py \\
              --workdir runs/simclr_sq
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   solo-learn's CIFAR script of SimCLR: LARS clipped, eta 0.02, 1000 epochs of
          batch 256
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
            "simclr_sq",
            options={"temperature": 0.2},
            projector="2048-256",
            projector_norm="off",
            projector_bias=True,
            forward="separate",
        ),
        data=DataConfig("cifar10"),
        augment=AugmentConfig(blur=0.5),
        model=ModelConfig(arch="resnet18", stem_padding=2, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_clip", learning_rate=0.4, weight_decay=1e-4, warmup_epochs=10
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=256,
    )

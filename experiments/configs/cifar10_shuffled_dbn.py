"""Shuffled DBN on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_shuffled_dbn.py \\
              --workdir runs/shuffled_dbn
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   CW-RGP's paper reports 90.45 / 66.07 % (linear), 88.15 / 56.97 % (5-NN) on
          CIFAR-10 / CIFAR-100; ours is not yet measured
Source:   optimizer and augmentation as W-MSE, for want of released code
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
            "shuffled_dbn", options={"groups": 4}, projector="1024-512"
        ),
        data=DataConfig("cifar10"),
        augment=AugmentConfig(blur=0.0, grayscale=0.1),
        model=ModelConfig(arch="resnet18", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=3e-3,
            scale_by_batch=False,
            weight_decay=1e-6,
            warmup_epochs=5,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=512,
    )

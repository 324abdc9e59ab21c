"""Supervised baseline on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_supervised.py \\
              --workdir runs/supervised
          (CIFAR-100: add --data.name cifar100)
Time:     200 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   usual CIFAR settings
"""

from ssljax.config import (
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
)


def config() -> Config:
    return Config(
        method=MethodConfig("supervised"),
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd", learning_rate=0.1, weight_decay=5e-4, warmup_epochs=10
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=200,
        batch_size=128,
    )

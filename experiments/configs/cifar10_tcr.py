"""Total coding rate on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_tcr.py \\
              --workdir runs/tcr
          (CIFAR-100: add --data.name cifar100)
Time:     600 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   NMCE's released CIFAR-10 script: 128 numbers, LARS clipped, eta 0.02, rate
          0.3, 600 epochs of batch 1024; width of the hidden layer and warm-up are ours
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
        method=MethodConfig("tcr", projector="2048-128"),
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_clip",
            learning_rate=0.3,
            scale_by_batch=False,
            weight_decay=1e-4,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=600,
        batch_size=1024,
    )

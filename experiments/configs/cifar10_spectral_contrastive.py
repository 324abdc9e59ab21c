"""Spectral contrastive loss on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_spectral_contrastive.py \\
              --workdir runs/spectral_contrastive
          (CIFAR-100: add --data.name cifar100)
Time:     800 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   released code: SGD, rate 0.03 x batch / 256, 10 warm-up epochs, mu 1
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
        method=MethodConfig(
            "spectral_contrastive", options={"mu": 1.0}, projector="2048-1000"
        ),
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.03,
            weight_decay=5e-4,
            decay_norm_and_bias=True,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=800,
        batch_size=512,
    )

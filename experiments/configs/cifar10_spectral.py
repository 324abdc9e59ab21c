"""A spectral transformation of one's choice on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_spectral.py \\
              --workdir runs/spectral
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   released script of INTL: SGD, rate 0.3 x batch / 256, 2 warm-up epochs

--method.options.g takes a name or an expression of the eigenvalue x.
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
            "spectral",
            options={"g": "x ** -0.5", "axis": "channel"},
            projector="2048-2048-2048",
        ),
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", stem_padding=2, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.3,
            weight_decay=1e-4,
            final_fraction=1e-3,
            decay_norm_and_bias=True,
            warmup_epochs=2,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=256,
    )

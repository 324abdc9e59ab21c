"""VICReg on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_vicreg.py \\
              --workdir runs/vicreg
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   solo-learn reports 92.07 / 68.54 % online accuracy
          on CIFAR-10 / CIFAR-100; ours is not yet measured
Source:   solo-learn's CIFAR script: LARS clipped, eta 0.02, 1000 epochs of batch 256;
          it does not halve the variance term: its weight 25 is 50 here
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
            "vicreg", options={"variance_weight": 50.0}, projector="2048-2048-2048"
        ),
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", stem_padding=2, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_clip", learning_rate=0.3, weight_decay=1e-4, warmup_epochs=10
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=256,
    )

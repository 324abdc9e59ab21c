"""SimSiam with a trained off-diagonal linear head on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_offdiagonal_head.py \\
              --workdir runs/offdiagonal_head
          (CIFAR-100: add --data.name cifar100)
Time:     800 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   SimSiam's CIFAR settings (SGD, rate 0.03 x batch / 256, 800 epochs), but no
          decay of vectors and of the linear head, which it would pull to the
          identity; the paper's own recipe is not public

Arms: --method.predictor identity, diagonal, symmetric, full, random, or widths such
as 512-64; --method.target-momentum 0.99 adds a moving target.
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
            "offdiagonal_head", projector="2048-64", predictor="off_diagonal"
        ),
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="sgd", learning_rate=0.03, weight_decay=5e-4, warmup_epochs=0
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=800,
        batch_size=512,
    )

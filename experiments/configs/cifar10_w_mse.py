"""W-MSE on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_w_mse.py \\
              --workdir runs/w_mse
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   the paper reports 91.55 / 66.10 % (linear), 89.69 / 56.69 % (5-NN) on
          CIFAR-10 / CIFAR-100; ours is not yet measured
Source:   released script of W-MSE: Adam, rate 3e-3, 1000 epochs of batch 512, 500
          steps of warm-up, no blur (ours decouples the decay and follows a cosine)
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
        method=MethodConfig("w_mse", options={"sub_batch": 128}, projector="1024-64"),
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

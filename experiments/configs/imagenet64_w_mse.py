"""W-MSE on ImageNet at 64 px, ResNet-18.

Command:  ssljax pretrain experiments/configs/imagenet64_w_mse.py \\
              --workdir runs/imagenet64_w_mse
Time:     1000 epochs; not yet measured on an accelerator
Result:   the paper reports 48.20 % (linear), 34.16 % (5-NN) on Tiny-ImageNet, another
          set; ours is not yet measured
Source:   released script of W-MSE: Adam, rate 2e-3, 1000 epochs of batch 512, 128
          numbers whitened 256 at a time (ours decouples the decay and follows a cosine)

The 1000 epochs are those of Tiny-ImageNet, a tenth of this set: --epochs 100 takes as
many steps.
"""

from dataclasses import replace

from ssljax.commands.main import shrink
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
        method=MethodConfig("w_mse", options={"sub_batch": 256}, projector="1024-128"),
        data=DataConfig("imagenet_resized/64x64", test_split="validation"),
        augment=AugmentConfig(blur=0.0, grayscale=0.1),
        model=ModelConfig(arch="resnet18", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=2e-3,
            scale_by_batch=False,
            weight_decay=1e-6,
            warmup_epochs=0.2,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=512,
    )


def smoke() -> Config:
    """Fewer numbers than samples in a sub-batch, which the smaller batch limits."""
    small = shrink(config())
    method = replace(small.method, options={"sub_batch": 128}, projector="256-64")
    return replace(small, method=method)

"""CW-RGP on ImageNet at 64 px, ResNet-18.

Command:  ssljax pretrain experiments/configs/imagenet64_cw_rgp.py \\
              --workdir runs/imagenet64_cw_rgp
Time:     1000 epochs; not yet measured on an accelerator
Result:   the paper reports 49.23 % (linear), 34.04 % (5-NN) on Tiny-ImageNet, another
          set; ours is not yet measured
Source:   released script of CW-RGP for Tiny-ImageNet: Adam, rate 2e-3, 1000 epochs of
          batch 512, 1024 numbers, 128 samples whitened in 2 groups (ours decouples the
          decay and follows a cosine)

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
        method=MethodConfig(
            "cw_rgp",
            options={"sub_batch": 128, "groups": 2},
            projector="2048-1024",
            projector_bias=True,
        ),
        data=DataConfig("imagenet_resized/64x64", test_split="validation"),
        augment=AugmentConfig(blur=0.0, grayscale=0.1),
        model=ModelConfig(arch="resnet18", zero_init_residual=True, dtype="bfloat16"),
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
    """Narrower heads leave fewer channels per group, so fewer samples in each."""
    small = shrink(config())
    options = small.method.options | {"sub_batch": 32}
    return replace(small, method=replace(small.method, options=options))

"""Barlow Twins on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_barlow_twins.py \\
              --workdir runs/imagenet_barlow_twins
Time:     1000 epochs; not yet measured on an accelerator
Result:   the paper reports 73.5 % (linear, 1000 epochs); ours is not yet measured
Source:   facebookresearch/barlowtwins: LARS, rate 0.2 x batch / 256, of biases and
          BatchNorm 0.0048 x batch / 256

The original averages the correlation over devices without a gradient through the sum,
so that its gradients are smaller than ours by the number of devices. LARS does not see
that in the kernels; the rate of the biases was tuned with it: on W devices of the
original, 0.0048 stands for 0.0048 / W here.
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
        method=MethodConfig("barlow_twins", projector="8192-8192-8192"),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", zero_init_residual=True, dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_byol",
            learning_rate=0.2,
            norm_and_bias_learning_rate=0.0048,
            weight_decay=1e-6,
            final_fraction=1e-3,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=1000,
        batch_size=2048,
    )

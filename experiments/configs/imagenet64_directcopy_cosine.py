"""DirectCopy, cosine on ImageNet at 64 px, ResNet-18.

Command:  ssljax pretrain experiments/configs/imagenet64_directcopy_cosine.py \\
              --workdir runs/imagenet64_directcopy_cosine
Time:     1000 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   implicit-var-reg's Tiny-ImageNet scripts: LARS clipped, rate 1, weight decay
          1e-4, 1000 epochs of batch 256, the stem of 224 px

Without a moving target: --method.target-momentum 0 --optimizer.name sgd
--optimizer.learning-rate 0.2
--optimizer.norm-and-bias-learning-rate None --optimizer.weight-decay 5e-5
--optimizer.decay-norm-and-bias.

Its losses are twice ours. LARS does not see that in the kernels that it adapts; of
BatchNorm and biases the rate is doubled instead.

The 1000 epochs are those of Tiny-ImageNet, a tenth of this set: --epochs 100 takes as
many steps.
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
            "directcopy_cosine",
            projector="4096-256",
            projector_bias=True,
            target_momentum=0.99,
        ),
        data=DataConfig("imagenet_resized/64x64", test_split="validation"),
        model=ModelConfig(arch="resnet18", stem="large", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_clip",
            learning_rate=1.0,
            norm_and_bias_learning_rate=2.0,
            weight_decay=1e-4,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=256,
    )

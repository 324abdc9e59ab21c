"""IsoLoss, cosine on STL-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/stl10_isoloss_cosine.py \\
              --workdir runs/stl10_isoloss_cosine
Time:     1000 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   implicit-var-reg's STL-10 scripts: LARS clipped, rate 1, weight decay 1e-4,
          1000 epochs of batch 256, the stem of 224 px

Without a moving target: --method.target-momentum 0 --optimizer.name sgd
--optimizer.learning-rate 0.2
--optimizer.norm-and-bias-learning-rate None --optimizer.weight-decay 5e-5
--optimizer.decay-norm-and-bias.

Its losses are twice ours. LARS does not see that in the kernels that it adapts; of
BatchNorm and biases the rate is doubled instead.
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
        method=MethodConfig(
            "isoloss_cosine",
            projector="4096-256",
            projector_bias=True,
            target_momentum=0.99,
        ),
        data=DataConfig("stl10", split="train+unlabelled", labelled_split="train"),
        augment=AugmentConfig(variant="large"),
        model=ModelConfig(arch="resnet18", stem="large", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_clip",
            learning_rate=1.0,
            norm_and_bias_learning_rate=2.0,
            weight_decay=1e-4,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=20_000),
        epochs=1000,
        batch_size=256,
    )

"""DirectPred, cosine on ImageNet, ResNet-50.

Command:  ssljax pretrain experiments/configs/imagenet_directpred_cosine.py \\
              --workdir runs/imagenet_directpred_cosine
Time:     100 epochs; not yet measured on an accelerator
Result:   no figure of this recipe is known to us; ours is not yet measured
Source:   implicit-var-reg's ImageNet settings: LARS, rate 0.45 x batch / 256, eta
          0.001, weight decay 1e-5, 100 epochs of 256 x 16 accumulated images

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
            "directpred_cosine",
            projector="4096-256",
            projector_bias=True,
            target_momentum=0.99,
        ),
        data=DataConfig("imagenet2012", image_size=256),
        augment=AugmentConfig(size=224),
        model=ModelConfig(arch="resnet50", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_byol",
            learning_rate=0.45,
            norm_and_bias_learning_rate=0.9,
            weight_decay=1e-5,
            warmup_epochs=10,
        ),
        monitor=MonitorConfig(every_epochs=5, knn_k=20, knn_examples=10_000),
        epochs=100,
        batch_size=4096,
    )

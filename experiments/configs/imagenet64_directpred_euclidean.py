"""DirectPred, Euclidean on ImageNet at 64 px, ResNet-18.

Command:  ssljax pretrain experiments/configs/imagenet64_directpred_euclidean.py \\
              --workdir runs/imagenet64_directpred_euclidean
Time:     1000 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   implicit-var-reg's Tiny-ImageNet scripts: LARS clipped, rate 1, weight decay
          1e-4, 1000 epochs of batch 256, the stem of 224 px

Without a moving target: --method.target-momentum 0 --optimizer.name sgd
--optimizer.learning-rate 0.2 --optimizer.weight-decay 5e-5
--optimizer.decay-norm-and-bias.

The source has no Euclidean settings; these are its cosine ones with the gradient
clipped to norm 1. Unclipped, IsoLoss on CIFAR-10 blew up during the warm-up and lost
its features within 7 epochs (experiments/results/cifar10_h100.md): the Euclidean losses
grow with the square of the embeddings, and vectors have no trust ratio to hold them.

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
            "directpred_euclidean",
            projector="4096-256",
            projector_bias=True,
            target_momentum=0.99,
        ),
        data=DataConfig("imagenet_resized/64x64", test_split="validation"),
        model=ModelConfig(arch="resnet18", stem="large", dtype="bfloat16"),
        optimizer=OptimizerConfig(
            name="lars_clip",
            learning_rate=1.0,
            weight_decay=1e-4,
            warmup_epochs=10,
            clip_norm=1.0,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=50_000),
        epochs=1000,
        batch_size=256,
    )

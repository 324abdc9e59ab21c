"""DirectPred, Euclidean on STL-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/stl10_directpred_euclidean.py \\
              --workdir runs/stl10_directpred_euclidean
Time:     1000 epochs; not yet measured on an accelerator
Result:   not yet measured
Source:   implicit-var-reg's STL-10 scripts: LARS clipped, rate 1, weight decay 1e-4,
          1000 epochs of batch 256, the stem of 224 px

Without a moving target: --method.target-momentum 0 --optimizer.name sgd
--optimizer.learning-rate 0.2 --optimizer.weight-decay 5e-5
--optimizer.decay-norm-and-bias.

The source has no Euclidean settings; these are its cosine ones with the gradient
clipped to norm 1. Unclipped, IsoLoss on CIFAR-10 blew up during the warm-up and lost
its features within 7 epochs (experiments/results/cifar10_h100.md): the Euclidean losses
grow with the square of the embeddings, and vectors have no trust ratio to hold them.
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
            "directpred_euclidean",
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
            weight_decay=1e-4,
            warmup_epochs=10,
            clip_norm=1.0,
        ),
        monitor=MonitorConfig(every_epochs=10, knn_k=200, knn_examples=20_000),
        epochs=1000,
        batch_size=256,
    )

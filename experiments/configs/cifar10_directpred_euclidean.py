"""DirectPred, Euclidean on CIFAR-10, ResNet-18.

Command:  ssljax pretrain experiments/configs/cifar10_directpred_euclidean.py \\
              --workdir runs/directpred_euclidean
          (CIFAR-100: add --data.name cifar100)
Time:     1000 epochs; not yet measured on an accelerator
Result:   online accuracy 30, 54, 82, 86, 88 % at epochs 50, 100, 200,
          300, 490 is what the stored run of implicit-var-reg shows (read off its
          figure, +-1); ours is not yet measured
Source:   implicit-var-reg's scripts: LARS clipped, rate 1, weight decay 1e-4, 1000
          epochs

Without a moving target: --method.target-momentum 0 --optimizer.name sgd
--optimizer.learning-rate 0.2 --optimizer.weight-decay 5e-5
--optimizer.decay-norm-and-bias.

The source has no Euclidean settings; these are its cosine ones with the gradient
clipped to norm 1. Unclipped, IsoLoss on CIFAR-10 blew up during the warm-up and lost
its features within 7 epochs (experiments/results/cifar10_h100.md): the Euclidean losses
grow with the square of the embeddings, and vectors have no trust ratio to hold them.
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
        data=DataConfig("cifar10"),
        model=ModelConfig(arch="resnet18", stem_padding=2, dtype="bfloat16"),
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

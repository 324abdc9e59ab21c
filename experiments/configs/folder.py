"""SimCLR on a folder of images, with or without class sub-folders.

Command:  ssljax pretrain experiments/configs/folder.py --data.path DIR \\
              --workdir runs/mine
Time:     depends on the folder; `--dry-run` prints steps, stem, crop and memory
Result:   no reference value; without class sub-folders accuracies are not reported,
          the spectrum panel is
Source:   Chen et al. 2020; SGD rate and weight decay as in the SimSiam paper's CIFAR
          settings, which suit small batches

The shorter side is resized to `--data.image-size` (chosen from the images when left
out) and the centre is kept.
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
            "simclr", options={"temperature": 0.2}, projector="512-128"
        ),
        data=DataConfig("folder"),
        model=ModelConfig(arch="resnet18"),
        optimizer=OptimizerConfig(name="sgd", learning_rate=0.03, weight_decay=5e-4),
        monitor=MonitorConfig(every_epochs=5),
        epochs=100,
        batch_size=256,
    )

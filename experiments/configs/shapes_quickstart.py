"""SimCLR on the embedded `shapes` images: what `make quickstart` runs.

Command:  ssljax pretrain experiments/configs/shapes_quickstart.py \\
              --workdir runs/quickstart
Time:     pretraining about 2.5 minutes on 2 CPU cores, with evaluation and report 3.6
Result:   linear probe on held-out images 58.0 %, untrained network 26.2 %, raw pixels
          11.2 % (seed 0; seed 1: 58.1 and 22.5 %)
Source:   Chen et al. 2020 for the method; crop, rate and temperature tuned on the
          training images of `shapes`
"""

from ssljax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    LogConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
)


def config() -> Config:
    return Config(
        method=MethodConfig("simclr", options={"temperature": 0.2}, projector="256-64"),
        data=DataConfig("shapes", examples=8000),
        augment=AugmentConfig(crop_scale_min=0.3),
        model=ModelConfig(arch="resnet_tiny"),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=2e-3,
            scale_by_batch=False,
            weight_decay=1e-4,
            warmup_epochs=1,
        ),
        monitor=MonitorConfig(every_epochs=2, knn_examples=4000),
        checkpoint=CheckpointConfig(every_epochs=5),
        log=LogConfig(every_steps=26),
        epochs=10,
        batch_size=128,
    )

"""SimCLR on the embedded `shapes` images: what `make quickstart` runs.

Command:  ssljax pretrain experiments/configs/shapes_quickstart.py \\
              --workdir runs/quickstart
Time:     pretraining about 3 minutes on 2 CPU cores, with evaluation and report 4.2
Result:   linear probe on held-out images 47.3 %, untrained network 20.1 %, raw pixels
          13.1 % (seed 0). At full width (`--model.width 1 --epochs 12
          --data.examples None`, twice the time) 58.0, 26.2 and 11.2 %
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
        model=ModelConfig(arch="resnet_tiny", width=0.5),
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
        epochs=17,
        batch_size=128,
    )

"""Build network, optimizers and views from a resolved config."""

import math
from dataclasses import replace

import jax.numpy as jnp
import optax

from ssljax import methods
from ssljax.config import Config
from ssljax.data.augment import View, preset
from ssljax.models import MLP, Network, choose_stem, parse_layers, resnet
from ssljax.models.linear_heads import LINEAR_PREDICTORS, LinearPredictor
from ssljax.training import optimizers, schedules


def peak_learning_rate(config: Config) -> float:
    """Return the peak rate, scaled by batch / 256 where the config asks for it."""
    factor = config.batch_size / 256 if config.optimizer.scale_by_batch else 1.0
    return config.optimizer.learning_rate * factor


def build_network(config: Config, *, view_size: int, num_classes: int | None):
    """Return the encoder with the heads that a resolved config names.

    Args:
        config: with every default filled in.
        view_size: side of the largest view in pixels; chooses the stem "auto".
        num_classes: width of a head with layers "classes".
    """
    method, model = methods.get(config.method.name), config.model
    dtype = jnp.dtype(model.dtype)
    stem = choose_stem(view_size) if model.stem == "auto" else model.stem
    wanted = config.method

    def head(layers: str | None, norm: str | None, bias: bool | None) -> MLP:
        # A supervised projector has as many outputs as the data set has classes, which
        # the config does not know.
        widths = parse_layers(
            str(num_classes) if layers == "classes" else layers or "none"
        )
        return MLP(
            layers=widths,
            hidden_norm=norm != "off",
            output_norm=norm if norm in ("affine", "plain") else "none",
            hidden_bias=bool(bias),
            output_bias=bool(bias),
            dtype=dtype,
        )

    return Network(
        encoder=resnet(
            model.arch,
            stem=stem,
            stem_padding=model.stem_padding,
            width=model.width,
            zero_init_residual=model.zero_init_residual,
            dtype=dtype,
        ),
        projector=head(wanted.projector, wanted.projector_norm, wanted.projector_bias),
        predictor=LinearPredictor(kind=wanted.predictor)
        if wanted.predictor in LINEAR_PREDICTORS
        else head(wanted.predictor, method.predictor.norm, wanted.predictor_bias),
        frozen=model.frozen,
    )


def total_steps(config: Config, steps_per_epoch: int) -> int:
    """Return the number of steps of a run.

    >>> total_steps(Config(epochs=1.5), 10)
    15
    """
    # 1.1 x 10 is a little more than 11 in floating point.
    return max(1, math.ceil(config.epochs * steps_per_epoch - 1e-9))


def warmup_steps(config: Config, *, total_steps: int, steps_per_epoch: int) -> int:
    """Return the number of linear warm-up steps, at most half of the run."""
    wanted = round(config.optimizer.warmup_epochs * steps_per_epoch)
    return min(wanted, total_steps // 2)


def build_schedule(config: Config, *, total_steps: int, steps_per_epoch: int):
    """Return the learning rate as a function of the step."""
    warmup = warmup_steps(
        config, total_steps=total_steps, steps_per_epoch=steps_per_epoch
    )
    return schedules.schedule(
        peak=peak_learning_rate(config),
        total_steps=total_steps,
        warmup_steps=warmup,
        final_fraction=config.optimizer.final_fraction,
    )


def build_optimizers(config: Config, *, total_steps: int, steps_per_epoch: int):
    """Return optimizer, probe optimizer and learning-rate schedule."""
    settings = config.optimizer
    peak = peak_learning_rate(config)
    schedule = build_schedule(
        config, total_steps=total_steps, steps_per_epoch=steps_per_epoch
    )
    optimizer = optimizers.make(
        settings.name,
        learning_rate=schedule,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        weight_decay_norm_and_bias=settings.decay_norm_and_bias,
        eta=settings.eta,
        clip_norm=settings.clip_norm,
        # In an ablation without a predictor there is no rate to keep constant.
        constant_learning_rate_for=("predictor",)
        if settings.constant_predictor_rate and config.method.predictor != "none"
        else (),
        peak=peak,
        norm_and_bias_factor=None
        if settings.norm_and_bias_learning_rate is None
        else settings.norm_and_bias_learning_rate / settings.learning_rate,
        learning_rate_factors={
            "encoder": 0.0 if config.model.frozen else settings.encoder_factor
        },
    )
    probe_rate = optax.cosine_decay_schedule(config.probe.learning_rate, total_steps)
    return optimizer, optax.sgd(probe_rate, config.probe.momentum), schedule


def build_views(config: Config, sizes: tuple[int, ...]) -> tuple[View, ...]:
    """Return the preset's views with the config's overrides.

    Args:
        config: with every default filled in.
        sizes: side of each view in pixels. Multi-crop has more views than the preset,
            whose two views then alternate.
    """
    augment = config.augment
    meant = {"auto": sizes[0], "small": 32, "large": 224}[augment.variant]
    pair = preset(augment.preset, image_size=meant)
    chances = {"blur": augment.blur, "grayscale": augment.grayscale}
    chances = {name: value for name, value in chances.items() if value is not None}
    views = []
    for i in range(len(sizes)):
        view = replace(
            pair[i % len(pair)], interpolation=augment.interpolation, **chances
        )
        if augment.jitter_strength is not None:
            view = view.with_jitter(augment.jitter_strength)
        if augment.crop_scale_min is not None:
            largest = view.crop_scale[1]
            view = replace(view, crop_scale=(augment.crop_scale_min, largest))
        if augment.crop_scales is not None:
            view = replace(view, crop_scale=augment.crop_scales[i])
        views.append(view)
    return tuple(views)

"""From a config and a data set to everything static that a run needs."""

import collections
import functools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp

from ssljax import methods
from ssljax.config import Config
from ssljax.data import Source, channel_statistics, load, steps_per_epoch
from ssljax.data.augment import View, preset, skipped_operations
from ssljax.models import activation_bytes
from ssljax.training.state import Setup, build_network, build_optimizers, init_state, warmup_steps
from ssljax.training.step import train_step
from ssljax.config.checks import ConfigError


def load_split(
    config: Config,
    *,
    train: bool,
    labelled: bool = False,
    image_shape: tuple[int, int, int] | None = None,
) -> Source:
    """The training or the test split that a config names.

    Args:
        config: the recipe.
        train: which of the two.
        labelled: of the training images, those that classifiers are fitted on.
        image_shape: of the training images, whose size the test images then take.
    """
    data = config.data
    if data.name == "folder" and not data.path:
        raise ConfigError(
            "data.path is not set; a folder of images needs --data.path DIR"
        )
    size = data.image_size
    if size is None and image_shape is not None and image_shape[0] == image_shape[1]:
        size = image_shape[0]
    if data.name == "arrays":
        raise ConfigError(
            "data.name is 'arrays', which exists in Python only: pass "
            "train=ssljax.data.from_arrays(...)"
        )
    split = (labelled and data.labelled_split) or data.split
    return load(
        data.name,
        split=split if train else data.test_split,
        path=data.path,
        data_dir=data.data_dir,
        image_size=size,
        examples=data.examples if train else data.test_examples,
        store=data.store,
        seed=config.seed,
    )


def prepare(config: Config, source: Source) -> Setup:
    """Resolve the config against the training data and build the static parts.

    Raises:
        ConfigError: settings that this data set cannot serve, one line each.
    """
    config = methods.resolve(config)
    if config.batch_size > source.size:
        raise ConfigError(
            f"batch_size is {config.batch_size}, but {source.name} ({source.split}) "
            f"has {source.size} images; allowed: 2 to {source.size}"
        )
    method = methods.get(config.method.name)
    if method.labels and not source.labelled:
        raise ConfigError(
            f"method.name is {config.method.name!r}, which needs labels, but "
            f"{source.name} ({source.split}) has none; choose another method"
        )
    mean, std = channel_statistics(source, seed=config.seed)
    setup = assemble(
        config,
        image_shape=source.image_shape,
        num_classes=source.num_classes,
        examples=source.size,
        mean=tuple(mean),
        std=tuple(std),
    )
    _check_step(setup)
    return setup


def _check_step(setup: Setup) -> None:
    """Trace one step on shapes alone: what it refuses is refused before a run exists.

    Raises:
        ConfigError: widths that do not fit together, an option out of its range.
    """
    config, method = setup.config, setup.method
    if method.labels:
        layers = setup.network.projector.layers
        if not layers or layers[-1] != setup.num_classes:
            raise ConfigError(
                f"method.projector is {config.method.projector!r}, but "
                f"{config.method.name} needs {setup.num_classes} outputs, one for each "
                "class; leave it out"
            )
    batch = {
        "image": jax.ShapeDtypeStruct(
            (config.batch_size, *setup.image_shape), jnp.uint8
        ),
        "label": jax.ShapeDtypeStruct((config.batch_size,), jnp.int32),
    }
    try:
        state = jax.eval_shape(lambda: init_state(setup))
        jax.eval_shape(functools.partial(train_step, setup=setup), state, batch)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        told = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"method {config.method.name!r} cannot run with these settings: {told} "
            f"(options {config.method.options}, projector "
            f"{config.method.projector!r}, predictor {config.method.predictor!r})"
        ) from error


def assemble(
    config: Config,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    examples: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Setup:
    """The static parts of a resolved config for a data set of these properties."""
    method = methods.get(config.method.name)
    per_epoch = steps_per_epoch(examples, config.batch_size)
    # 1.1 x 10 is a little more than 11 in floating point.
    total = max(1, math.ceil(config.epochs * per_epoch - 1e-9))
    crops = config.augment.sizes
    if crops and method.views == 1:
        raise ConfigError(
            f"augment.sizes is {crops}, but {config.method.name} takes one view; "
            "leave it out"
        )
    view_size = config.augment.size or min(image_shape[:2])
    sizes = crops or (view_size,) * method.views
    try:
        optimizer, probe_optimizer, schedule = build_optimizers(
            config, total_steps=total, steps_per_epoch=per_epoch
        )
        network = build_network(config, view_size=sizes[0], num_classes=num_classes)
        views = build_views(config, sizes)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Setup(
        config=config,
        method=method,
        network=network,
        optimizer=optimizer,
        probe_optimizer=probe_optimizer,
        schedule=schedule,
        views=views,
        view_sizes=sizes,
        mean=mean,
        std=std,
        image_shape=image_shape,
        num_classes=num_classes,
        total_steps=total,
        steps_per_epoch=per_epoch,
    )


def build_views(config: Config, sizes: tuple[int, ...]) -> tuple[View, ...]:
    """The preset's views, in turn for multi-crop, with the config's overrides."""
    augment = config.augment
    meant = {"auto": sizes[0], "small": 32, "large": 224}[augment.variant]
    pair = preset(augment.preset, image_size=meant)
    chances = {"blur": augment.blur, "grayscale": augment.grayscale}
    chances = {name: value for name, value in chances.items() if value is not None}
    views = []
    for i in range(len(sizes)):
        view = replace(pair[i % len(pair)], **chances)
        if augment.jitter_strength is not None:
            view = view.with_jitter(augment.jitter_strength)
        if augment.crop_scale_min is not None:
            largest = view.crop_scale[1]
            view = replace(view, crop_scale=(augment.crop_scale_min, largest))
        if augment.crop_scales is not None:
            view = replace(view, crop_scale=augment.crop_scales[i])
        views.append(view)
    return tuple(views)


def describe(setup: Setup, source: Source) -> list[tuple[str, str]]:
    """What the run is going to do, for people: names and values in reading order."""
    config = setup.config
    state = jax.eval_shape(lambda: init_state(setup))
    size = lambda tree: sum(x.size for x in jax.tree.leaves(tree))  # noqa: E731
    weight = lambda tree: sum(  # noqa: E731
        x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )
    channels = setup.image_shape[2]
    at_a_time = config.devices.microbatch or config.batch_size
    activations = sum(
        count * activation_bytes(setup.network, at_a_time, (side, side, channels))
        for side, count in collections.Counter(setup.view_sizes).items()
    )
    data_bytes = source.size * math.prod(source.image_shape)
    resident = data_bytes if source.images is not None else 0
    # The batch is shared by the devices, all else lies on each of them. State and
    # gradients live together; saved outputs are the forward activations.
    count = config.devices.count or jax.local_device_count()
    pixels = sum(side**2 * channels for side in setup.view_sizes)
    drawn = 4 * at_a_time * pixels
    memory = weight(state) + weight(state.params) + resident
    memory += (activations + drawn) / count
    skipped = skipped_operations(setup.views[0], channels=source.image_shape[2])
    parts = state.params
    named = {name: size(parts.get(name, {})) for name in ("encoder", "projector")}
    named["predictor"] = size(parts.get("predictor", {}))
    rows = [
        ("method", f"{config.method.name}, {config.method.forward} forward"),
        ("data", f"{source.name} ({source.split}), {source.size} images"),
        ("labels", f"{source.num_classes} classes" if source.labelled else "none"),
        ("image", "x".join(map(str, source.image_shape))),
        ("views", f"{_sizes(setup)}, preset {config.augment.preset}"),
        ("crop", f"area {setup.views[0].crop_scale[0]:g} to 1, antialiased"),
        ("stem", f"{setup.stem} (for {setup.view_size} px{_padding(config)})"),
        ("global batch", _batch(config)),
        ("effective learning rate", f"{setup.peak_learning_rate:g}"),
        ("steps", f"{setup.total_steps} ({setup.steps_per_epoch} per epoch)"),
        ("warm-up", f"{warmup_steps(setup)} steps"),
        ("parameters", ", ".join(f"{k} {v:,}" for k, v in named.items() if v)),
        ("memory estimate", f"{memory / 2**20:,.0f} MiB on each of {count} devices"),
        ("images", "on the device" if resident else "streamed from disk"),
    ]
    if config.devices.engine != "jit":
        rows.append(("engine", config.devices.engine))
    if skipped:
        rows.append(("not RGB, skipped", ", ".join(skipped)))
    if source.note:
        rows.append(("note", source.note))
    return rows


def _padding(config: Config) -> str:
    asked = config.model.stem_padding
    return "" if asked is None else f", padded by {asked}"


def _sizes(setup: Setup) -> str:
    counts = collections.Counter(setup.view_sizes)
    return " + ".join(f"{count} of {side} px" for side, count in counts.items())


def _batch(config: Config) -> str:
    part = config.devices.microbatch
    if part is None:
        return str(config.batch_size)
    return (
        f"{config.batch_size} in parts of {part}: gradient of the whole loss, "
        "BatchNorm per part"
    )

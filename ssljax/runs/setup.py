"""Build a run's static setup from a resolved config and a data set."""

import jax

from ssljax import methods
from ssljax.config import Config
from ssljax.config.checks import LARGEST_INT, ConfigError
from ssljax.data import Source, channel_statistics, load, steps_per_epoch
from ssljax.data.host_crop import LARGEST_STORED
from ssljax.runs.build import (
    build_network,
    build_optimizers,
    build_views,
    peak_learning_rate,
    total_steps,
    warmup_steps,
)
from ssljax.training import devices
from ssljax.training.global_step import traced_once
from ssljax.training.state import Setup, state_shapes
from ssljax.training.step import batch_shapes

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def load_split(
    config: Config,
    *,
    train: bool,
    labelled: bool = False,
    image_shape: tuple[int, int, int] | None = None,
) -> Source:
    """Load the training or the test split that a config names.

    Args:
        config: the recipe.
        train: load the training split, otherwise the test split.
        labelled: load the training images that classifiers are fitted on, if the
            config names a split of its own for them.
        image_shape: shape of the training images, to resize test images to.

    Raises:
        ConfigError: if the config does not name data that can be loaded.
    """
    data = config.data
    if data.name == "folder" and not data.path:
        raise ConfigError("a folder of images needs --data.path DIR")
    size = data.image_size
    if size is None and image_shape is not None and image_shape[0] == image_shape[1]:
        size = image_shape[0]
    if data.name == "arrays":
        raise ConfigError(
            "data.name is 'arrays', which only the Python API can load; pass "
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


def prepare(
    config: Config, source: Source, *, statistics: Statistics | None = None
) -> Setup:
    """Check a config against the training data and return the run's static setup.

    Args:
        config: the recipe with every default filled in, see `ssljax.methods.resolve`.
        source: the training images.
        statistics: mean and standard deviation of each channel, where they are known;
            None measures them.

    Raises:
        ConfigError: if a setting does not fit this data set; the message is one line.
    """
    if config.batch_size > source.size:
        raise ConfigError(
            f"batch_size {config.batch_size} exceeds the {source.size} images of "
            f"{source.name} ({source.split}); allowed: 2 to {source.size}"
        )
    method = methods.get(config.method.name)
    if method.labels and not source.labelled:
        raise ConfigError(
            f"method.name is {config.method.name!r}, which needs labels, but "
            f"{source.name} ({source.split}) has none; choose another method"
        )
    on_host = crops_on_host(config, source)
    mean, std = statistics or channel_statistics(source, seed=config.seed)
    setup = assemble(
        config,
        image_shape=source.image_shape,
        num_classes=source.num_classes,
        examples=source.size,
        mean=tuple(mean),
        std=tuple(std),
        crops_on_host=on_host,
    )
    if config.log.traced.stop > setup.total_steps:
        raise ConfigError(
            f"log.profile_steps is {config.log.profile_steps!r}, but the run has "
            f"{setup.total_steps} steps; allowed: up to {setup.total_steps}"
        )
    _check_step(setup)
    return setup


def crops_on_host(config: Config, source: Source) -> bool:
    """Return whether the host cuts the views out of a set's original images.

    Args:
        config: says which, or leaves it to the images.
        source: the training images.

    Raises:
        ConfigError: if the config asks for originals that the source does not have.
    """
    crop = config.data.crop
    if crop == "original" and not source.has_originals:
        where = "in memory" if source.images is not None else "read without originals"
        raise ConfigError(
            f"data.crop is 'original', but the images of {source.name} are {where}; "
            "use --data.store stream with a folder or a TFDS set, or --data.crop stored"
        )
    large = min(source.image_shape[:2]) > LARGEST_STORED
    return crop == "original" or (crop == "auto" and large and source.has_originals)


def _check_step(setup: Setup) -> None:
    """Trace one step on shapes alone, to reject bad settings before a run exists.

    Raises:
        ConfigError: widths that do not fit together, or an option out of range.
    """
    config = setup.config
    if methods.get(config.method.name).labels:
        layers = setup.network.projector.layers
        if not layers or layers[-1] != setup.num_classes:
            raise ConfigError(
                f"method.projector is {config.method.projector!r}, but "
                f"{config.method.name} needs {setup.num_classes} outputs, one for each "
                "class; leave it out"
            )
    # On the mesh of the run: elsewhere the compiled step would trace it again.
    mesh = devices.make_mesh(
        count=config.devices.count,
        batch_size=config.batch_size,
        microbatch=config.devices.microbatch,
    )
    batch = batch_shapes(setup)
    try:
        state = state_shapes(setup)
        if config.devices.microbatch is None:
            state = devices.abstract(state, devices.replicated(mesh))
            batch = devices.abstract(batch, devices.over_batch(mesh))
        # Kept for the compiled step, which need not trace it again.
        jax.eval_shape(traced_once(setup), state, batch)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        message = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"method {config.method.name!r} cannot run with these settings: {message} "
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
    crops_on_host: bool = False,
) -> Setup:
    """Return the static setup of a resolved config for a data set of this shape.

    Args:
        config: with every default filled in.
        image_shape: ``(H, W, C)``.
        num_classes: None if unlabelled.
        examples: number of training images.
        mean: per channel.
        std: per channel.
        crops_on_host: whether batches are views that the host has cropped.

    Raises:
        ConfigError: if settings do not fit together.
    """
    method = methods.get(config.method.name)
    per_epoch = steps_per_epoch(examples, config.batch_size)
    most = LARGEST_INT // per_epoch
    if config.epochs > most:
        raise ConfigError(
            f"epochs is {config.epochs:g}, at {per_epoch} steps per epoch more than "
            f"the {LARGEST_INT} steps that can be counted; allowed: at most {most}"
        )
    total = total_steps(config, per_epoch)
    if config.model.frozen and config.method.target_momentum:
        raise ConfigError(
            f"model.frozen is True, but {config.method.name} trains a target network; "
            "use --method.name supervised, or leave it out"
        )
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
        loss=methods.bind_loss(config),
        predictors=methods.bind_predictors(config),
        joint_forward=config.method.forward == "joint",
        teacher_first=method.teacher_first,
        target_momentum=config.method.target_momentum or 0.0,
        target_start=method.target_start,
        peak_learning_rate=peak_learning_rate(config),
        warmup_steps=warmup_steps(config, total_steps=total, steps_per_epoch=per_epoch),
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
        crops_on_host=crops_on_host,
    )

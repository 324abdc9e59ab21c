"""Describe a run before it starts: method, data, views, steps and memory."""

import collections
import math
import statistics

import jax

from ssljax.config import Config
from ssljax.data import Source
from ssljax.data.augment import skipped_operations
from ssljax.data.shared_memory import PLACE, free_bytes, needed_bytes
from ssljax.data.subsets import sizes_of, subset_indices
from ssljax.models import activation_bytes
from ssljax.training.state import Setup, state_shapes
from ssljax.training.step import batch_shapes

LESS = "use --devices.microbatch, a smaller --batch-size or --model.dtype bfloat16"
"""What to do where the memory of a device is too small."""
_SAMPLE = 200  # images whose sizes are looked at


def describe(setup: Setup, source: Source) -> list[tuple[str, str]]:
    """Return the run's plan as (name, value) rows in reading order."""
    config = setup.config
    size = lambda tree: sum(x.size for x in jax.tree.leaves(tree))  # noqa: E731
    # Devices share the batch and replicate everything else.
    count = config.devices.count or jax.device_count()
    resident = source.images is not None
    skipped = skipped_operations(setup.views[0], channels=source.image_shape[2])
    parts = state_shapes(setup).params
    named = {name: size(parts.get(name, {})) for name in ("encoder", "projector")}
    named["predictor"] = size(parts.get("predictor", {}))
    rows = [
        ("method", f"{config.method.name}, {config.method.forward} forward"),
        ("data", f"{source.name} ({source.split}), {source.size} images"),
        ("labels", f"{source.num_classes} classes" if source.labelled else "none"),
        ("image", "x".join(map(str, source.image_shape))),
        ("views", f"{_sizes(setup)}, preset {config.augment.preset}"),
        ("crop", _crop(setup, source)),
        ("stem", f"{setup.stem} (for {setup.view_size} px{_padding(config)})"),
        ("global batch", _batch(config)),
        ("effective learning rate", f"{setup.peak_learning_rate:g}"),
        ("steps", f"{setup.total_steps} ({setup.steps_per_epoch} per epoch)"),
        ("warm-up", f"{setup.warmup_steps} steps"),
        ("parameters", ", ".join(f"{k} {v:,}" for k, v in named.items() if v)),
        ("memory estimate", _memory(needed_memory(setup, source), count)),
        ("images", "on the device" if resident else "streamed from disk"),
    ]
    if config.model.init_from is not None:
        step = config.model.init_step
        at = "" if step is None else f", step {step}"
        rows.append(("first weights", f"encoder of {config.model.init_from}{at}"))
    if config.model.frozen:
        rows.append(("trained", "the heads; the encoder is frozen"))
    elif config.optimizer.encoder_factor != 1:
        factor = config.optimizer.encoder_factor
        rows.append(("encoder's learning rate", f"{factor:g} times the others'"))
    if not resident and config.data.workers:
        rows.append(_shared_memory(setup))
    if config.devices.engine != "jit":
        rows.append(("engine", config.devices.engine))
    if skipped:
        rows.append(("not RGB, skipped", ", ".join(skipped)))
    if source.note:
        rows.append(("note", source.note))
    return rows


def needed_memory(setup: Setup, source: Source) -> float:
    """Estimate the bytes that a step needs on each device at its peak.

    Args:
        setup: static parts of the run.
        source: the training images; those in memory lie whole on every device.
    """
    config = setup.config
    state = state_shapes(setup)
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
    # The peak is in the backward pass, which needs state, gradients and the saved
    # activations at the same time.
    count = config.devices.count or jax.device_count()
    drawn = 4 * at_a_time * sum(side**2 * channels for side in setup.view_sizes)
    memory = weight(state) + weight(state.params) + resident
    return memory + (activations + drawn) / count


def device_bytes() -> int | None:
    """Return the memory that JAX may use on a device, None where it does not say."""
    found = jax.local_devices()[0].memory_stats() or {}
    return found.get("bytes_limit")


def _memory(wanted: float, count: int) -> str:
    text, limit = f"{wanted / 2**20:,.0f} MiB {_on(count)}", device_bytes()
    if limit is None:
        return text
    text += f", which has {limit / 2**20:,.0f}"
    return text if wanted <= limit else f"{text}: it will probably not fit; {LESS}"


def _shared_memory(setup: Setup) -> tuple[str, str]:
    most = needed_bytes(host_bytes(setup), workers=setup.config.data.workers)
    free = free_bytes()
    of = "" if free is None else f" of the {free / 2**20:,.0f} free in {PLACE}"
    return "shared memory", f"up to {most / 2**20:,.0f} MiB{of}"


def host_bytes(setup: Setup) -> int:
    """Return the bytes of one batch of this process, as its workers hand it over."""
    shapes = jax.tree.leaves(batch_shapes(setup))
    whole = sum(math.prod(x.shape) * x.dtype.itemsize for x in shapes)
    return whole // jax.process_count()


def _on(count: int) -> str:
    return "on 1 device" if count == 1 else f"on each of {count} devices"


def _padding(config: Config) -> str:
    padding = config.model.stem_padding
    return "" if padding is None else f", padding {padding}"


def _crop(setup: Setup, source: Source) -> str:
    low, high = setup.views[0].crop_scale
    text = f"area {low:g} to {high:g}"
    if setup.host_crops is None:
        return f"{text}, antialiased"
    sample = subset_indices(source.size, min(_SAMPLE, source.size), seed=0)
    sizes = sizes_of(source, sample)
    text += " of the original image, antialiased"
    if not sizes:
        return text
    # What a set of smaller copies costs, see `ssljax data prepare --out`.
    share = setup.host_crops.enlarged(sizes)
    width, height = (statistics.median(side) for side in zip(*sizes, strict=True))
    return f"{text}; {share:.0%} enlarged (median image {width:g} x {height:g})"


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

"""Any config at the scale of a CPU, for `--smoke`."""

from dataclasses import replace

from ssljax.config import Config

LARGEST_VIEW = 64  # pixels; larger views are scaled down to SMALL_VIEW
SMALL_VIEW = 32
WIDEST = 256  # units of a projector's or predictor's layer


def shrink(config: Config) -> Config:
    """Return the config with a tiny network, narrow heads, few images and epochs.

    The method, its loss options, the optimizer and the augmentations stay, so that a
    smoke run exercises what the full run uses.
    """
    # Imported here, since it imports JAX and listing recipes should not.
    from ssljax import methods

    method = methods.resolve(config).method
    data, augment = config.data, config.augment
    largest = augment.sizes[0] if augment.sizes else augment.size or data.image_size
    if largest is not None and largest > LARGEST_VIEW:
        # The stored image keeps its margin around the crop, and multi-crop its ratios.
        def small(side: int) -> int:
            return max(8, round(side * SMALL_VIEW / largest))

        data = replace(data, image_size=data.image_size and small(data.image_size))
        augment = replace(
            augment,
            size=augment.size and small(augment.size),
            sizes=augment.sizes and tuple(map(small, augment.sizes)),
        )
    return replace(
        config,
        data=replace(data, examples=4000, test_examples=1000),
        augment=augment,
        model=replace(config.model, arch="resnet_tiny", dtype="float32"),
        method=replace(
            config.method,
            projector=_narrowed(method.projector),
            predictor=_narrowed(method.predictor),
        ),
        monitor=replace(config.monitor, every_epochs=1, knn_k=20, knn_examples=4000),
        optimizer=replace(
            config.optimizer, warmup_epochs=min(config.optimizer.warmup_epochs, 1)
        ),
        epochs=5,
        batch_size=min(config.batch_size, 128),
    )


def _narrowed(layers: str | None) -> str | None:
    """Cap the layer widths; ``none``, ``classes`` and linear kinds stay."""
    parts = (layers or "none").split("-")
    if not all(part.isdigit() for part in parts):
        return layers
    return "-".join(str(min(int(part), WIDEST)) for part in parts)

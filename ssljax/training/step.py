"""The train step: a pure function of the state and a global batch.

The file is in the order of execution: views, forward pass, loss, update. Nothing here
depends on a particular method: the loss and the closed-form predictor are in `Setup`.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.data.augment import make_views, normalize
from ssljax.models import Outputs, forward
from ssljax.training.state import Setup, TrainState
from ssljax.training.update import update

Batch = dict[str, Any]


def batch_shapes(setup: Setup) -> Batch:
    """Return shapes and types of a whole batch, for tracing a step without images."""
    size, channels = setup.config.batch_size, setup.image_shape[2]
    label = jax.ShapeDtypeStruct((size,), jnp.int32)
    if not setup.crops_on_host:
        image = jax.ShapeDtypeStruct((size, *setup.image_shape), jnp.uint8)
        return {"image": image, "label": label}
    views = tuple(
        jax.ShapeDtypeStruct((size, side, side, channels), jnp.uint8)
        for side in setup.view_sizes
    )
    return {"views": views, "label": label}


_LOSS_STREAM = 2  # after the views (0) and the monitor's views (1)


def train_step(
    state: TrainState, batch: Batch, *, setup: Setup, axis: str | None = None
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Take one step on the global batch.

    Under ``jax.jit`` with the batch sharded over a mesh, every sum below is over the
    whole batch, so BatchNorm, loss and gradients equal those of one device. Under
    ``jax.pmap`` the batch is one device's part, and ``axis`` joins the parts.

    Args:
        state: the state, donated in the compiled step.
        batch: ``image`` uint8 ``[N, H, W, C]``, or ``views`` that the host has cropped
            (a tuple of uint8 ``[N, S, S, C]``), and ``label`` int32 ``[N]``, -1 where
            unknown.
        setup: static parts, bound with `functools.partial`.
        axis: name of the mapped axis, None for the global view.

    Returns:
        The next state, and metrics as float32 scalars. If the loss or the gradient is
        not finite, the state does not change except that ``failed_at`` is set.
    """
    rows = None
    if axis is not None:
        own = batch["label"].shape[0]
        rows = jax.lax.axis_index(axis) * own, jax.lax.axis_size(axis) * own
    views = view_batch(state.step, batch, setup=setup, rows=rows)
    return step_on_views(state, views, batch["label"], setup=setup, axis=axis)


def step_on_views(
    state: TrainState,
    views: list[jax.Array],
    labels: jax.Array,
    *,
    setup: Setup,
    axis: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Take `train_step` on views that are made already.

    Args:
        state: the state.
        views: normalised, ``[N, S, S, C]`` each, as from `view_batch`.
        labels: int32 ``[N]``, -1 where unknown.
        setup: static parts.
        axis: as for `train_step`.
    """

    def loss_of(params: Any):
        outputs, new_stats = run_networks(
            params, state, views, labels, setup, axis=axis
        )
        with jax.named_scope("loss"):
            loss = setup.loss(outputs).astype(jnp.float32)
        # Every device computes the whole loss. Averaging both loss and gradients is
        # correct whichever way JAX transposes a sum over devices.
        return _mean_over(axis, loss), (new_stats, outputs)

    (loss, (new_stats, outputs)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        state.params
    )
    gradients = _mean_over(axis, gradients)
    return update(state, loss, gradients, new_stats, outputs, setup=setup)


def take(data: Batch, indices: jax.Array) -> Batch:
    """Return rows of device-resident data, sharded like the indices."""
    return {name: jnp.take(values, indices, axis=0) for name, values in data.items()}


@jax.named_scope("views")
def view_batch(
    step: jax.Array,
    batch: Batch,
    *,
    setup: Setup,
    stream: int = 0,
    count: int | None = None,
    rows: tuple[jax.Array | int, int] | None = None,
) -> list[jax.Array]:
    """Return normalised views ``[N, S, S, C]`` of a batch, a function of seed and step.

    Args:
        step: number of the step.
        batch: ``image`` uint8 ``[N, H, W, C]``, or the ``views`` of `train_step`.
        setup: has the views and their sizes S.
        stream: folded into the key; each purpose has its own constant.
        count: make only this many of the first views.
        rows: which rows of the global batch these are, see `make_views`.
    """
    views = make_views(
        step_key(step, setup, stream=stream),
        batch["views"][:count] if "views" in batch else batch["image"],
        setup.views[:count],
        size=setup.view_sizes[:count],
        rows=rows,
    )
    normalized = [normalize(view, setup.mean, setup.std) for view in views]
    # Without the barrier XLA fuses the views into the network, recomputes parts of them
    # many times, and compiles for minutes.
    return jax.lax.optimization_barrier(normalized)


def step_key(step: jax.Array, setup: Setup, *, stream: int) -> jax.Array:
    """Return a step's key, a pure function of seed, step and stream."""
    root = jax.random.fold_in(jax.random.key(setup.config.seed), stream)
    return jax.random.fold_in(root, step)


class Embedded(NamedTuple):
    """Network outputs for some rows, one entry per view; `Outputs` needs all rows.

    Without a target network the targets still carry gradients, which `collect_outputs`
    stops.
    """

    features: list[jax.Array]
    projections: list[jax.Array]
    predictions: list[jax.Array]
    targets: list[jax.Array]


def run_networks(
    params: Any,
    state: TrainState,
    views: list[jax.Array],
    labels: jax.Array,
    setup: Setup,
    *,
    axis: str | None = None,
) -> tuple[Outputs, dict[str, Any]]:
    """Return the networks' outputs for the whole batch, and their new statistics.

    Args:
        params: parameters of the online network.
        state: has the other network inputs, such as batch statistics.
        views: ``[N, S, S, C]`` each, as from `view_batch`.
        labels: ``[N]``.
        setup: static parts.
        axis: mapped axis to gather the rows over if they are one device's, else None.

    Returns:
        The outputs that the loss reads, and the new statistics: ``batch_stats``,
        ``target`` (its batch statistics), ``covariance`` and ``features``.
    """
    embedded, new_stats = forward_views(params, state, views, setup)
    embedded, labels = _gathered(axis, (embedded, labels))
    return collect_outputs(embedded, new_stats, labels, state, setup)


def forward_views(
    params: Any, state: TrainState, views: list[jax.Array], setup: Setup
) -> tuple[Embedded, dict[str, Any]]:
    """Run the online and the target network, each on the views it sees.

    Targets come from the views of the largest size only, as in multi-crop methods. With
    ``setup.teacher_first``, only the teacher sees the first view.

    Returns:
        The embeddings, and the new ``batch_stats`` and ``target`` (its batch
        statistics).
    """
    network, apart = setup.network, setup.teacher_first
    large = [view for view in views if view.shape == views[0].shape]
    teacher_views = views[:1] if apart else large
    # Without a target network the online network is also the teacher.
    online_views = views[1:] if apart and setup.has_target else views
    online, stats = _per_view(
        network, params, state.batch_stats, online_views, setup.joint_forward
    )
    features, projections, predictions = map(list, zip(*online, strict=True))
    if setup.has_target:
        passes, target_stats = _per_view(
            network,
            state.target["params"],
            state.target["batch_stats"],
            teacher_views,
            setup.joint_forward,
            "project",
        )
        targets = [z for _, z in passes]
    else:
        targets, target_stats = projections[: len(teacher_views)], {}
        if apart:
            projections, predictions = projections[1:], predictions[1:]
    embedded = Embedded(features, projections, predictions, targets)
    return embedded, {"batch_stats": stats, "target": target_stats}


def collect_outputs(
    embedded: Embedded,
    new_stats: dict[str, Any],
    labels: jax.Array,
    state: TrainState,
    setup: Setup,
) -> tuple[Outputs, dict[str, Any]]:
    """Return the loss's inputs from the embeddings of the whole batch.

    This is the part of the forward pass that needs all rows: the closed-form
    predictors and the running covariance.
    """
    predictors, covariance = [], state.covariance
    if setup.predictors is not None:
        with jax.named_scope("loss"):
            predictors, covariance = setup.predictors(covariance, embedded.projections)
    outputs = Outputs(
        projections=embedded.projections,
        predictions=embedded.predictions,
        targets=[jax.lax.stop_gradient(z) for z in embedded.targets],
        labels=labels,
        predictors=predictors,
        key=step_key(state.step, setup, stream=_LOSS_STREAM),
    )
    rest = {"covariance": covariance, "features": embedded.features}
    return outputs, jax.lax.stop_gradient(new_stats | rest)


def projections_of(
    state: TrainState, views: list[jax.Array], setup: Setup
) -> list[jax.Array]:
    """Return the online network's projections ``[N, D]`` of views, in training mode."""
    passes, _ = _per_view(
        setup.network,
        state.params,
        state.batch_stats,
        views,
        setup.joint_forward,
        "project",
    )
    return [z for _, z in passes]


def _per_view(network, params, stats, views, joint, method="__call__"):
    """Return outputs per view, from one forward pass per view or (jointly) per size."""
    if not joint:
        groups = [[view] for view in views]
    else:  # views are sorted by size
        groups = [list(g) for _, g in itertools.groupby(views, lambda v: v.shape)]
    results = []
    for group in groups:
        # Interleave the views of each image, so that rows stay on the device that made
        # them. A concatenation would gather the batch on every device.
        count = len(group)
        rows = jnp.stack(group, axis=1).reshape(-1, *group[0].shape[1:])
        outputs, stats = forward(network, params, stats, rows, method=method)
        split = [
            [output.reshape(-1, count, output.shape[1])[:, i] for i in range(count)]
            for output in outputs
        ]
        results += zip(*split, strict=True)
    return results, stats


def _gathered(axis: str | None, tree: Any) -> Any:
    """Gather the rows of all devices, in the order of the global batch."""
    if axis is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axis, tiled=True), tree)


def _mean_over(axis: str | None, tree: Any) -> Any:
    return tree if axis is None else jax.lax.pmean(tree, axis)

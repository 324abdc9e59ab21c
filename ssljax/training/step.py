"""The train step: a pure function of the state and a global batch."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssljax import methods
from ssljax.data.augment import make_views, normalize
from ssljax.methods import Outputs
from ssljax.methods.views_to_loss import cross_entropy_of_known
from ssljax.models import forward
from ssljax.training import optimizers, schedules
from ssljax.training.state import Setup, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
_LOSS_STREAM = 2  # after the views (0) and the monitor's views (1)


def train_step(
    state: TrainState, batch: Batch, *, setup: Setup, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One step on the global batch.

    Under ``jax.jit`` with the batch sharded over a mesh, every sum below runs over the
    whole batch: BatchNorm, the loss and the gradients are those of one device. Under
    ``jax.pmap`` the batch is one device's part of it, and ``axis`` joins the parts.

    Args:
        state: the state; a donated argument in the compiled step.
        batch: ``image`` uint8 ``[N, H, W, C]`` and ``label`` int32 ``[N]``, -1 where
            unknown.
        setup: static parts, bound with `functools.partial`.
        axis: name of the mapped axis, None for the global view.

    Returns:
        The next state, and float32 scalars. Where the loss or the gradient is not
        finite the state stays as it was, with ``failed_at`` set.
    """
    rows = None
    if axis is not None:
        own = batch["label"].shape[0]
        rows = jax.lax.axis_index(axis) * own, jax.lax.axis_size(axis) * own
    views = view_batch(state.step, batch, setup=setup, rows=rows)

    def loss_of(params: Any):
        outputs, moved = run_networks(
            params, state, views, batch["label"], setup, axis=axis
        )
        loss = methods.loss_of(outputs, setup.config).astype(jnp.float32)
        # Every device has the whole loss. With a mean here and one of the gradients,
        # these are right whatever the transpose of a sum over devices is taken to be.
        return _mean_over(axis, loss), (moved, outputs)

    (loss, (moved, outputs)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        state.params
    )
    return update(state, loss, _mean_over(axis, gradients), moved, outputs, setup=setup)


def update(
    state: TrainState,
    loss: jax.Array,
    gradients: Any,
    moved: dict[str, Any],
    outputs: Outputs,
    *,
    setup: Setup,
) -> tuple[TrainState, Metrics]:
    """The rest of a step, once loss and gradients of the global batch are known.

    Args:
        state: the state before the step.
        loss: scalar.
        gradients: of the loss, a tree like the parameters.
        moved: what `run_networks` returned beside the outputs.
        outputs: what it returned, for the whole batch.
        setup: static parts.

    Returns:
        As `train_step`.
    """
    norm = optax.tree.norm(gradients)
    updates, opt_state = setup.optimizer.update(
        gradients, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    target, momentum = _move_target(state, params, moved["target"], setup)
    probe, probe_metrics = _move_probe(state, moved["features"], outputs.labels, setup)
    advanced = TrainState(
        step=state.step + 1,
        failed_at=state.failed_at,
        params=params,
        batch_stats=moved["batch_stats"],
        opt_state=opt_state,
        target=target,
        covariance=moved["covariance"],
        probe=probe,
    )
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    proceed = finite & (state.failed_at < 0)
    failed_at = jnp.where(
        finite | (state.failed_at >= 0), state.failed_at, state.step
    ).astype(jnp.int32)
    kept = jax.tree.map(lambda new, old: jnp.where(proceed, new, old), advanced, state)
    metrics = {
        "loss": loss,
        "gradient_norm": norm,
        "learning_rate": jnp.asarray(setup.schedule(state.step), jnp.float32),
        "embedding_std": _embedding_std(outputs.projections[0]),
        "failed_at": failed_at,
        **probe_metrics,
    }
    if momentum is not None:
        metrics["target_momentum"] = momentum
    return kept.replace(failed_at=failed_at), metrics


def resident_step(
    state: TrainState,
    data: Batch,
    indices: jax.Array,
    *,
    setup: Setup,
    axis: str | None = None,
) -> tuple[TrainState, Metrics]:
    """`train_step` on rows of a data set that lives on the device."""
    return train_step(state, take(data, indices), setup=setup, axis=axis)


def take(data: Batch, indices: jax.Array) -> Batch:
    """Rows of device-resident data; sharded like the indices."""
    return {name: jnp.take(values, indices, axis=0) for name, values in data.items()}


def view_batch(
    step: jax.Array,
    batch: Batch,
    *,
    setup: Setup,
    stream: int = 0,
    count: int | None = None,
    rows: tuple[jax.Array | int, int] | None = None,
) -> list[jax.Array]:
    """Normalised views ``[N, S, S, C]`` of a batch, a function of seed and step.

    Args:
        step: number of the step.
        batch: ``image`` uint8 ``[N, H, W, C]``.
        setup: names the views and their sizes S.
        stream: constant of the purpose, folded into the key.
        count: only the first so many views.
        rows: which rows of the global batch these are, as `make_views` takes it.
    """
    key = step_key(step, setup, stream=stream)
    views = make_views(
        key,
        batch["image"],
        setup.views[:count],
        size=setup.view_sizes[:count],
        rows=rows,
    )
    normalized = [normalize(view, setup.mean, setup.std) for view in views]
    # Fused into the network, XLA would compute parts of the views again and again, and
    # compile for minutes.
    return jax.lax.optimization_barrier(normalized)


def step_key(step: jax.Array, setup: Setup, *, stream: int) -> jax.Array:
    """Key of a step, a function of seed, step and purpose; nothing else is kept."""
    root = jax.random.fold_in(jax.random.key(setup.config.seed), stream)
    return jax.random.fold_in(root, step)


class Embedded(NamedTuple):
    """What the networks make of some rows, one entry per view; `Outputs` has the rest.

    Targets are constants only where a target network made them.
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
    """Outputs of the networks for the whole batch, and what moved with them.

    Args:
        params: of the online network.
        state: gives everything else that is read.
        views: ``[N, S, S, C]`` each, as from `view_batch`.
        labels: ``[N]``.
        setup: static parts.
        axis: where the rows are one device's, the mapped axis to gather them over.

    Returns:
        The outputs that the loss reads, and what moved besides the parameters:
        ``batch_stats``, ``target`` (its batch statistics), ``covariance`` and
        ``features``.
    """
    embedded, stats = embed(params, state, views, setup)
    embedded, labels = _gathered(axis, (embedded, labels))
    return complete(embedded, stats, labels, state, setup)


def embed(
    params: Any, state: TrainState, views: list[jax.Array], setup: Setup
) -> tuple[Embedded, dict[str, Any]]:
    """Online and target networks on the views that the method shows them.

    Targets are made of the views of the largest size only, as multi-crop methods do;
    where the first view is the teacher's alone, students see the others.

    Returns:
        The embeddings, and the moved ``batch_stats`` and ``target`` (its batch
        statistics).
    """
    network, joint = setup.network, setup.config.method.forward == "joint"
    apart = setup.method.teacher_first
    large = [view for view in views if view.shape == views[0].shape]
    taught = views[:1] if apart else large
    # Without a target network the teacher's view goes through the online network too.
    shown = views[1:] if apart and setup.has_target else views
    online, stats = _per_view(network, params, state.batch_stats, shown, joint)
    features, projections, predictions = map(list, zip(*online, strict=True))
    if setup.has_target:
        shadow = state.target
        passes, target_stats = _per_view(
            network, shadow["params"], shadow["batch_stats"], taught, joint, "project"
        )
        targets = [z for _, z in passes]
    else:
        targets, target_stats = projections[: len(taught)], {}
        if apart:
            projections, predictions = projections[1:], predictions[1:]
    embedded = Embedded(features, projections, predictions, targets)
    return embedded, {"batch_stats": stats, "target": target_stats}


def complete(
    embedded: Embedded,
    stats: dict[str, Any],
    labels: jax.Array,
    state: TrainState,
    setup: Setup,
) -> tuple[Outputs, dict[str, Any]]:
    """The parts of `run_networks`' results that need the whole batch."""
    predictors, covariance = [], state.covariance
    if setup.method.closed_form:
        predictors, covariance = methods.closed_form_predictors(
            covariance, embedded.projections, setup.config
        )
    outputs = Outputs(
        projections=embedded.projections,
        predictions=embedded.predictions,
        targets=[jax.lax.stop_gradient(z) for z in embedded.targets],
        labels=labels,
        predictors=predictors,
        key=step_key(state.step, setup, stream=_LOSS_STREAM),
    )
    moved = stats | {"covariance": covariance, "features": embedded.features}
    return outputs, jax.lax.stop_gradient(moved)


def _gathered(axis: str | None, tree: Any) -> Any:
    """Rows of all devices, in the order of the global batch."""
    if axis is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axis, tiled=True), tree)


def _mean_over(axis: str | None, tree: Any) -> Any:
    return tree if axis is None else jax.lax.pmean(tree, axis)


def _per_view(network, params, stats, views, joint, method="__call__"):
    if not joint:
        groups = [[view] for view in views]
    else:  # of one size, which is sorted by
        groups = [list(g) for _, g in itertools.groupby(views, lambda v: v.shape)]
    results = []
    for group in groups:
        # Views of one image side by side: rows stay on the device that made them,
        # where a concatenation would gather the batch on every device.
        count = len(group)
        rows = jnp.stack(group, axis=1).reshape(-1, *group[0].shape[1:])
        outputs, stats = forward(network, params, stats, rows, method=method)
        split = [
            [output.reshape(-1, count, output.shape[1])[:, i] for i in range(count)]
            for output in outputs
        ]
        results += zip(*split, strict=True)
    return results, stats


def projections_of(
    state: TrainState, views: list[jax.Array], setup: Setup
) -> list[jax.Array]:
    """Projections ``[N, D]`` of views by the online network in training mode."""
    joint = setup.config.method.forward == "joint"
    passes, _ = _per_view(
        setup.network, state.params, state.batch_stats, views, joint, "project"
    )
    return [z for _, z in passes]


def _move_target(state: TrainState, params: Any, stats: Any, setup: Setup):
    if not setup.has_target:
        return {}, None
    momentum = schedules.ema_momentum(
        state.step,
        total_steps=setup.total_steps,
        base=setup.config.method.target_momentum or 0.0,
    )
    online = {name: params[name] for name in state.target["params"]}
    moved = optimizers.ema_update(state.target["params"], online, momentum)
    # As in BYOL's code, only parameters are averaged: the target keeps its own
    # BatchNorm statistics.
    return {"params": moved, "batch_stats": stats}, jnp.asarray(momentum, jnp.float32)


def _move_probe(state: TrainState, features: Any, labels: jax.Array, setup: Setup):
    if not state.probe:
        return {}, {}
    # The first view's features: the probe costs one matrix product.
    x = jax.lax.stop_gradient(features[0]).astype(jnp.float32)
    known = jnp.sum(labels >= 0)
    count = jnp.maximum(known, 1).astype(jnp.float32)

    def loss_of(params: Any):
        logits = x @ params["kernel"] + params["bias"][None, :]
        # An unknown label, -1, is never hit.
        hits = (logits.argmax(axis=1) == labels).astype(jnp.float32)
        return cross_entropy_of_known(logits, labels), hits.sum() / count

    (loss, accuracy), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        state.probe["params"]
    )
    updates, opt_state = setup.probe_optimizer.update(
        gradients, state.probe["opt_state"], state.probe["params"]
    )
    params = optax.apply_updates(state.probe["params"], updates)
    # Nothing is known of a batch without labels: null in the records, not 0 %.
    metrics = {
        "probe_loss": jnp.where(known > 0, loss, jnp.nan),
        "probe_accuracy": jnp.where(known > 0, 100.0 * accuracy, jnp.nan),
    }
    return {"params": params, "opt_state": opt_state}, metrics


def _embedding_std(z: jax.Array) -> jax.Array:
    """Mean per-dimension deviation of unit rows times sqrt(D): 1 isotropic, 0 dead."""
    z = z.astype(jnp.float32)
    rows = z / jnp.maximum(jnp.linalg.norm(z, axis=1, keepdims=True), 1e-6)
    return jnp.std(rows, axis=0).mean() * jnp.sqrt(float(z.shape[1]))

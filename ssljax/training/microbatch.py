"""Compute the gradient of a large batch in parts, in the memory of one part.

The loss of a batch does not decompose over samples, so the gradients of parts cannot
simply be added. But the loss needs only the embeddings, which are small:

1. Embed the batch part by part and keep only the embeddings.
2. Differentiate the loss of all embeddings with respect to them.
3. Run each part again and pull its share of that gradient back to the parameters.

The sum is the gradient of the whole loss, for one extra forward pass.

BatchNorm normalises each part separately. Its running statistics are updated once per
step, with the mean of the parts' updates.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ssljax.training import devices
from ssljax.training.state import Setup, TrainState
from ssljax.training.step import (
    Batch,
    Embedded,
    collect_outputs,
    forward_views,
    take,
    view_batch,
)
from ssljax.training.update import update


def microbatched_step(setup: Setup, mesh: Mesh, *, resident: bool) -> Callable:
    """Return a step that processes its batch in parts of `devices.microbatch` rows.

    The parts run as separate programs, not as one program with a loop: convolutions
    inside a loop are far slower on CPUs, and this way the memory is that of one part
    whatever the compiler does.

    Args:
        setup: static parts of the run.
        mesh: the devices, which share each part.
        resident: as in `engines.compiled_step`.

    Returns:
        ``step(state, parts)`` or ``step(state, data, index_parts)``, where the batch is
        a list of equal parts, in order.
    """
    programs = compile_parts(setup, mesh)

    def step(state: TrainState, *inputs: Any) -> tuple[TrainState, dict[str, Any]]:
        if resident:
            data, indices = inputs
            parts = [programs["take"](data, part) for part in indices]
        else:
            (parts,) = inputs
        loss, gradients, new_stats, outputs = gradient_in_parts(programs, state, parts)
        return programs["update"](state, loss, gradients, new_stats, outputs)

    return step


def gradient_in_parts(
    programs: dict[str, Any], state: TrainState, parts: Sequence[Batch]
) -> tuple[jax.Array, Any, Any, Any]:
    """Return loss, gradients, new statistics and outputs of a batch in parts.

    Args:
        programs: of `compile_parts`.
        state: the state.
        parts: the batch as equal parts, in order, on the devices.
    """
    embedded, new_stats = [], None
    for part, first in zip(parts, programs["first"], strict=True):
        rows, new_stats = programs["embed"](state, part, first, new_stats)
        embedded.append(rows)
    labels = [part["label"] for part in parts]
    loss, pulled, new_stats, outputs = programs["loss"](
        state, embedded, labels, new_stats
    )
    gradients = None
    for i, (part, first) in enumerate(zip(parts, programs["first"], strict=True)):
        gradients = programs["pull"](state, part, first, pulled[i], gradients)
    return loss, gradients, new_stats, outputs


def compile_parts(setup: Setup, mesh: Mesh) -> dict[str, Any]:
    """Return the programs that `microbatched_step` runs in turn, by name.

    ``first`` is the list of the parts' first rows, as arrays on the devices.
    """
    size = setup.config.devices.microbatch
    assert size is not None
    batch_size = setup.config.batch_size
    count = batch_size // size
    everywhere, over_rows = devices.replicated(mesh), devices.over_batch(mesh)
    views = functools.partial(_views, setup=setup, total=batch_size)

    def embed_part(state: TrainState, part: Batch, first: jax.Array, new_stats: Any):
        embedded, stats = forward_views(
            state.params, state, views(state, part, first), setup
        )
        share = jax.tree.map(lambda x: x / count, jax.lax.stop_gradient(stats))
        return embedded, share if new_stats is None else _add(new_stats, share)

    def loss_of_all(
        state: TrainState, embedded: Sequence[Embedded], labels: Any, stats: Any
    ):
        whole = _joined(embedded)

        def loss_of(projections: Any, predictions: Any):
            seen = whole._replace(projections=projections, predictions=predictions)
            outputs, new_stats = collect_outputs(
                seen, stats, jnp.concatenate(labels), state, setup
            )
            loss = setup.loss(outputs).astype(jnp.float32)
            return loss, (new_stats, outputs)

        (loss, (new_stats, outputs)), pulled = jax.value_and_grad(
            loss_of, argnums=(0, 1), has_aux=True
        )(whole.projections, whole.predictions)
        cut = lambda z, i: z[i * size : (i + 1) * size]  # noqa: E731
        parts = [
            jax.tree.map(functools.partial(cut, i=i), pulled) for i in range(count)
        ]
        return loss, parts, new_stats, outputs

    def pull_part(state: TrainState, part: Batch, first, pulled: Any, gradients: Any):
        seen = views(state, part, first)

        def outputs_of(params: Any):
            embedded, _ = forward_views(params, state, seen, setup)
            return embedded.projections, embedded.predictions

        _, back = jax.vjp(outputs_of, state.params)
        (own,) = back(pulled)
        return own if gradients is None else _add(gradients, own)

    return {
        "take": jax.jit(take, out_shardings=over_rows),
        "embed": jax.jit(embed_part, out_shardings=(over_rows, everywhere)),
        "loss": jax.jit(loss_of_all, out_shardings=(everywhere, over_rows, None, None)),
        "pull": jax.jit(pull_part, donate_argnums=4, out_shardings=everywhere),
        "update": jax.jit(
            functools.partial(update, setup=setup),
            donate_argnums=0,
            out_shardings=everywhere,
        ),
        "first": [devices.place(jnp.int32(i * size), everywhere) for i in range(count)],
    }


def _views(state: TrainState, part: Batch, first: jax.Array, *, setup, total: int):
    return view_batch(state.step, part, setup=setup, rows=(first, total))


def _joined(parts: Sequence[Embedded]) -> Embedded:
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)

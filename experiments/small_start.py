"""Train a ResNet from a small start, and keep what its embedding does on fixed views.

`ssljax pretrain` starts from the usual initialisation and draws new views in each step.
Here the last layer of the projector starts small, the batch is the whole training set,
and the views may be those of step 0 throughout, which is gradient descent on one fixed
loss. Network, loss, optimizer and step are the package's.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import methods
from ssljax.analytic.network_ntk import network_ntk
from ssljax.config import Config
from ssljax.data import Source
from ssljax.data.preprocess import for_evaluation, normalize
from ssljax.methods.table import Method
from ssljax.models import Network, forward, outputs_by_layer
from ssljax.runs.folder import RunFolder
from ssljax.runs.setup import load_split, prepare
from ssljax.training.state import Setup, TrainState, creator
from ssljax.training.step import step_on_views, view_batch

PAIRS, HELD_OUT = 64, 64
"""Most pairs of views and test images whose kernel is computed."""
RECORDS = 200
"""How often the embedding is recorded in a run."""
TRAJECTORY = "trajectory.npz"


def from_small_start(row: Method) -> Method:
    """Return a method with options that say how its training starts.

    ``start_scale`` is a factor on the projector's last kernel, ``start_bias`` the
    length of its bias, which points all embeddings the same way, ``fixed_views`` keeps
    the views of step 0. As options they are part of a run's config.
    """
    start = {"start_scale": 1.0, "start_bias": 0.0, "fixed_views": 0}

    def loss(outputs: Any, **options: Any) -> jax.Array:
        of_loss = {key: options[key] for key in options.keys() - start.keys()}
        return row.loss(outputs, **of_loss)

    return replace(row, loss=loss, options={**row.options, **start})


def train(config: Config, folder: Path, command: Sequence[str]) -> None:
    """Train a method of `from_small_start` and write ``trajectory.npz``.

    Args:
        config: its batch must be the training set.
        folder: run folder.
        command: recorded as the command that was run.
    """
    config = methods.resolve(config)
    source, test = (load_split(config, train=one) for one in (True, False))
    assert config.batch_size == source.size, "the batch is the training set"
    setup = prepare(config, source)
    run = RunFolder(folder)
    # A run of the same settings that was trained but not measured.
    if run.claim(config) and (folder / TRAJECTORY).is_file():
        return
    run.write_environment(command)
    batch = {"image": jnp.asarray(source.images), "label": jnp.asarray(source.labels)}
    fixed = view_batch(jnp.int32(0), batch, setup=setup)
    options = config.method.options
    state = _started(creator(setup)(), fixed, setup)

    @partial(jax.jit, donate_argnums=0)
    def step(state: TrainState, views: list[jax.Array] | None) -> TrainState:
        if views is None:
            views = view_batch(state.step, batch, setup=setup)
        return step_on_views(state, views, batch["label"], setup=setup)[0]

    found: dict[str, list[Any]] = {"steps": [], "views": [], "hidden": []}
    held_out = min(HELD_OUT, test.size)
    points = _points(fixed, test, setup)
    before = _kernel(state, points, setup)
    every = max(1, setup.total_steps // RECORDS)
    for done in range(setup.total_steps + 1):
        if done % every == 0 or done == setup.total_steps:
            z, hidden = _measured(setup.network, state, jnp.concatenate(fixed))
            found["steps"].append(done)
            found["views"].append(np.asarray(z).reshape(2, source.size, -1))
            found["hidden"].append(np.asarray(hidden))
        if done < setup.total_steps:
            state = step(state, fixed if options["fixed_views"] else None)
    if (failed := int(state.failed_at)) >= 0:
        raise FloatingPointError(f"step {failed} is not finite; lower the arm's rate")
    z, _ = _measured(setup.network, state, points)
    arrays: Any = {name: np.array(values) for name, values in found.items()}
    arrays |= {
        "kernel_before": before,
        "kernel_after": _kernel(state, points, setup),
        "held_out": np.asarray(z)[-held_out:],
    }
    np.savez(folder / TRAJECTORY, **arrays)


def _started(state: TrainState, views: list[jax.Array], setup: Setup) -> TrainState:
    """Return a small start whose running statistics are those of the views."""
    options: Any = setup.config.method.options
    last = f"linear{len(setup.network.projector.layers)}"

    def small(params: Any) -> Any:
        head = dict(params["projector"][last])
        head["kernel"] = options["start_scale"] * head["kernel"]
        if "bias" in head:
            length = options["start_bias"] / np.sqrt(head["bias"].size)
            head["bias"] = jnp.full_like(head["bias"], length)
        return {**params, "projector": {**params["projector"], last: head}}

    params, stats, target = small(state.params), state.batch_stats, state.target
    both = jnp.concatenate(views)
    for _ in range(100):  # of a running mean with momentum 0.9
        stats = _next_stats(setup.network, params, stats, both)
    if target:
        target = {**target, "params": small(target["params"])}
    changed: Any = state
    return changed.replace(params=params, batch_stats=stats, target=target)


# Compiled once for all arms with the same network.
@partial(jax.jit, static_argnums=0)
def _next_stats(network: Network, params: Any, stats: Any, x: jax.Array) -> Any:
    return forward(network, params, stats, x)[1]


@partial(jax.jit, static_argnums=0)
def _measured(
    network: Network, state: TrainState, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return projections ``[N, D]``, and the features' covariance eigenvalues."""
    h, *_, z = outputs_by_layer(network, state.params, state.batch_stats, x)
    return z, jnp.linalg.eigvalsh(jnp.cov(h, rowvar=False))[::-1]


def _points(views: list[jax.Array], test: Source, setup: Setup) -> jax.Array:
    """Return first views, second views and test images of which there are kernels."""
    images = jnp.asarray(test.images)[:HELD_OUT]
    held_out = normalize(
        for_evaluation(images, size=setup.view_size), setup.mean, setup.std
    )
    return jnp.concatenate([*(view[:PAIRS] for view in views), held_out])


def _kernel(state: TrainState, points: jax.Array, setup: Setup) -> np.ndarray:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return np.asarray(network_ntk(setup.network, variables, np.asarray(points)))

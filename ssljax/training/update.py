"""The last part of a step: apply the gradients, and return next state and metrics."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax.models import Outputs
from ssljax.training import optimizers, schedules
from ssljax.training.probe import update_probe
from ssljax.training.state import Setup, TrainState


@jax.named_scope("update")
def update(
    state: TrainState,
    loss: jax.Array,
    gradients: Any,
    new_stats: dict[str, Any],
    outputs: Outputs,
    *,
    setup: Setup,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Apply the gradients of the global batch and return the next state.

    Args:
        state: the state before the step.
        loss: scalar.
        gradients: gradients of the loss, a tree like the parameters.
        new_stats: as from `ssljax.training.step.run_networks`.
        outputs: as from `ssljax.training.step.run_networks`, for the whole batch.
        setup: static parts.

    Returns:
        The next state and the metrics, as from `ssljax.training.step.train_step`.
    """
    norm = optax.tree.norm(gradients)
    updates, opt_state = setup.optimizer.update(
        gradients, state.opt_state, state.params
    )
    params: Any = optax.apply_updates(state.params, updates)
    if setup.network.frozen:
        # The update is zero, but -0 + 0 is another byte, and a mean of parts rounds.
        params = {**params, "encoder": state.params["encoder"]}
        stats = new_stats["batch_stats"] | {"encoder": state.batch_stats["encoder"]}
        new_stats = new_stats | {"batch_stats": stats}
    target, momentum = _update_target(state, params, new_stats["target"], setup)
    # The probe reads the first view's features.
    probe, probe_metrics = update_probe(
        state.probe,
        new_stats["features"][0],
        outputs.labels,
        optimizer=setup.probe_optimizer,
    )
    advanced = TrainState(
        step=state.step + 1,
        failed_at=state.failed_at,
        params=params,
        batch_stats=new_stats["batch_stats"],
        opt_state=opt_state,
        target=target,
        covariance=new_stats["covariance"],
        probe=probe,
    )
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    proceed = finite & (state.failed_at < 0)
    failed_at = jnp.where(
        finite | (state.failed_at >= 0), state.failed_at, state.step
    ).astype(jnp.int32)
    # Select with `where` instead of a branch: a branch would need the host or a `cond`.
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


def _update_target(state: TrainState, params: Any, stats: Any, setup: Setup):
    if not setup.has_target:
        return {}, None
    momentum = schedules.ema_momentum(
        state.step, total_steps=setup.total_steps, base=setup.target_momentum
    )
    online = {name: params[name] for name in state.target["params"]}
    moved = optimizers.ema_update(state.target["params"], online, momentum)
    # Average the parameters only: as in BYOL's code, the target network has BatchNorm
    # statistics of its own.
    return {"params": moved, "batch_stats": stats}, jnp.asarray(momentum, jnp.float32)


def _embedding_std(z: jax.Array) -> jax.Array:
    """Compute sqrt(D) times the mean standard deviation of unit rows.

    It is 1 for isotropic embeddings and 0 for collapsed ones.
    """
    z = z.astype(jnp.float32)
    rows = z / jnp.maximum(jnp.linalg.norm(z, axis=1, keepdims=True), 1e-6)
    return jnp.std(rows, axis=0).mean() * jnp.sqrt(float(z.shape[1]))

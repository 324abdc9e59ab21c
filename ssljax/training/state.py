"""The training state, and everything static that a step is built from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from ssljax.config import Config
from ssljax.data.augment import View
from ssljax.models import Network, Outputs, initialise
from ssljax.training.probe import init_probe

# From the running covariance and the projections of all views to the predictors of all
# views and the next covariance.
Predictors = Callable[
    [jax.Array, Sequence[jax.Array]], tuple[list[jax.Array], jax.Array]
]


@flax.struct.dataclass
class TrainState:
    """All that changes from step to step; keys and data order follow from ``step``."""

    step: jax.Array
    """Steps done, int32."""
    failed_at: jax.Array
    """Step whose loss or gradient was not finite, else -1; the state then stands
    still, so that it is the very state in which the step failed."""
    params: Any
    batch_stats: Any
    opt_state: Any
    target: dict[str, Any]
    """EMA parameters and own batch statistics, or ``{}``."""
    covariance: Any
    """Running second moment of the projections ``[D, D]``, where the predictor is
    computed from it, else ``{}``."""
    probe: dict[str, Any]
    """Online linear probe: parameters and momentum, or ``{}``."""


@dataclass(frozen=True)
class Setup:
    """The static parts of a run, bound once: `ssljax.runs.setup` makes it.

    The step reads the method from here alone, as functions and plain facts.
    """

    config: Config
    """With every default filled in."""
    loss: Callable[[Outputs], jax.Array]
    """The method's loss of the global batch, its options bound."""
    predictors: Predictors | None
    """Where the predictor has a closed form: ``(covariance, projections)`` to the
    predictors of all views and the next running covariance."""
    joint_forward: bool
    """Whether all views share one forward pass, and so their BatchNorm statistics."""
    teacher_first: bool
    """Whether the first view is the teacher's alone, and students see the others."""
    target_momentum: float
    """Of the target network's moving average; 0 where there is none."""
    target_start: str
    """``copy`` of the online network, or ``random``."""
    peak_learning_rate: float
    """After scaling by the batch."""
    warmup_steps: int
    network: Network
    optimizer: optax.GradientTransformation
    probe_optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    views: tuple[View, ...]
    view_sizes: tuple[int, ...]
    """Side of every view in pixels, the largest first."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    num_classes: int | None
    total_steps: int
    steps_per_epoch: int

    @property
    def has_target(self) -> bool:
        """Whether a moving-average target network is trained beside the online one."""
        return self.target_momentum > 0

    @property
    def view_size(self) -> int:
        """Side of the views in pixels; of the largest where there are several."""
        return self.view_sizes[0]

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """Shape of one view, ``(H, W, C)``."""
        return self.view_size, self.view_size, self.image_shape[2]

    @property
    def stem(self) -> str:
        """The stem in use, chosen from the view size unless the config names one."""
        return self.network.encoder.stem


def init_state(setup: Setup) -> TrainState:
    """The state at step 0, a pure function of the seed; call it under ``jax.jit``."""
    root = jax.random.key(setup.config.seed)
    online, target, probe = (jax.random.fold_in(root, 2**31 - i) for i in (1, 2, 3))
    variables = initialise(setup.network, online, setup.view_shape)
    params, stats = variables["params"], variables["batch_stats"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        failed_at=jnp.full((), -1, jnp.int32),
        params=params,
        batch_stats=stats,
        opt_state=setup.optimizer.init(params),
        target=_init_target(setup, variables, target) if setup.has_target else {},
        covariance=_init_covariance(setup) if setup.predictors is not None else {},
        probe=_init_probe(setup, probe),
    )


def creator(setup: Setup, *, out_shardings: Any = None) -> Callable[[], TrainState]:
    """`init_state` as one program, to be called or asked for its shapes.

    It runs once, so on CPUs it is compiled with little optimisation, in a quarter of
    the time and to the same bits.
    """
    quickly = jax.default_backend() == "cpu"
    return jax.jit(
        partial(init_state, setup),
        out_shardings=out_shardings,
        compiler_options={"xla_backend_optimization_level": 1} if quickly else None,
    )


def _init_target(setup: Setup, online: Any, key: jax.Array) -> dict[str, Any]:
    start = online
    if setup.target_start == "random":
        start = initialise(setup.network, key, setup.view_shape)
    keep = ("encoder", "projector")
    return {
        # Copied, since one buffer cannot be donated twice.
        part: jax.tree.map(
            jnp.copy, {name: tree for name, tree in start[part].items() if name in keep}
        )
        for part in ("params", "batch_stats")
    }


def _init_covariance(setup: Setup) -> jax.Array:
    width = setup.network.projector.layers or (setup.network.encoder.feature_dim,)
    return jnp.zeros((width[-1], width[-1]), jnp.float32)


def _init_probe(setup: Setup, key: jax.Array) -> dict[str, Any]:
    if not (setup.num_classes and setup.config.probe.enabled):
        return {}
    return init_probe(
        key,
        feature_dim=setup.network.encoder.feature_dim,
        num_classes=setup.num_classes,
        optimizer=setup.probe_optimizer,
    )

"""The training state, and a run's static setup."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from ssljax.config import Config
from ssljax.data.augment import View
from ssljax.data.host_crop import HostCrops
from ssljax.models import Network, Outputs, initialise
from ssljax.training.probe import init_probe

# (running covariance, projections of all views) -> (predictors of all views, next
# covariance)
Predictors = Callable[
    [jax.Array, Sequence[jax.Array]], tuple[list[jax.Array], jax.Array]
]


@flax.struct.dataclass
class TrainState:
    """Everything that changes in a step; keys and data order follow from ``step``."""

    step: jax.Array
    """Steps done, int32."""
    failed_at: jax.Array
    """Step whose loss or gradient was not finite, else -1. Once it is set, the state
    stays as it was when that step failed."""
    params: Any
    batch_stats: Any
    opt_state: Any
    target: dict[str, Any]
    """The target network's EMA parameters and batch statistics, or ``{}``."""
    covariance: Any
    """Running second moment of the projections ``[D, D]`` if the predictor is computed
    from it, else ``{}``."""
    probe: dict[str, Any]
    """The online linear probe's parameters and momentum, or ``{}``."""


@dataclass(frozen=True, eq=False)
class Setup:
    """A run's static setup, built once by `ssljax.runs.setup`.

    All a step knows of the method are these functions and constants. Two setups are
    equal if they are the same object, so that programs can be kept for each.
    """

    config: Config
    """With every default filled in."""
    loss: Callable[[Outputs], jax.Array]
    """The method's loss of the global batch, with its options bound."""
    predictors: Predictors | None
    """For a closed-form predictor, else None: maps ``(covariance, projections)`` to the
    predictors of all views and the next running covariance."""
    joint_forward: bool
    """Whether all views share one forward pass, and so their BatchNorm statistics."""
    teacher_first: bool
    """Whether only the teacher sees the first view, and students see the others."""
    target_momentum: float
    """Momentum of the target network's moving average; 0 without a target network."""
    target_start: str
    """``copy`` of the online network, or ``random``."""
    peak_learning_rate: float
    """After scaling with the batch size."""
    warmup_steps: int
    network: Network
    optimizer: optax.GradientTransformation
    probe_optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    views: tuple[View, ...]
    view_sizes: tuple[int, ...]
    """Side of each view in pixels, the largest first."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    num_classes: int | None
    total_steps: int
    steps_per_epoch: int
    crops_on_host: bool = False
    """Whether the host cuts the views out of the original images, see `data.crop`."""

    @property
    def has_target(self) -> bool:
        """Return whether the method has a moving-average target network."""
        return self.target_momentum > 0

    @property
    def host_crops(self) -> HostCrops | None:
        """Return the crops that the host cuts; None where the device crops."""
        return HostCrops(self.views, self.view_sizes) if self.crops_on_host else None

    @property
    def view_size(self) -> int:
        """Return the side of the largest view in pixels."""
        return self.view_sizes[0]

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """Return the shape of one view, ``(H, W, C)``."""
        return self.view_size, self.view_size, self.image_shape[2]

    @property
    def stem(self) -> str:
        """Return the stem, chosen from the view size unless the config names one."""
        return self.network.encoder.stem


def init_state(setup: Setup) -> TrainState:
    """Return the state at step 0, a pure function of the seed.

    Call it under ``jax.jit``; see `creator`.
    """
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


@lru_cache(maxsize=2)
def _drawn(setup: Setup) -> Callable[[], TrainState]:
    # One object for each setup, so that shapes and program are traced once.
    return partial(init_state, setup)


def state_shapes(setup: Setup) -> TrainState:
    """Return the shapes and types of `init_state`, without computing it.

    Args:
        setup: static parts of the run.
    """
    return jax.eval_shape(_drawn(setup))


def creator(setup: Setup, *, out_shardings: Any = None) -> Callable[[], TrainState]:
    """Return `init_state` as one compiled program.

    It runs once, so on CPUs it is compiled with little optimisation, which takes a
    quarter of the time and gives the same bits.

    Args:
        setup: static parts of the run.
        out_shardings: where the state is put, as for ``jax.jit``.
    """
    quickly = jax.default_backend() == "cpu"
    return jax.jit(
        _drawn(setup),
        out_shardings=out_shardings,
        compiler_options={"xla_backend_optimization_level": 1} if quickly else None,
    )


def _init_target(setup: Setup, online: Any, key: jax.Array) -> dict[str, Any]:
    start = online
    if setup.target_start == "random":
        start = initialise(setup.network, key, setup.view_shape)
    keep = ("encoder", "projector")
    return {
        # Copied, because one buffer cannot be donated twice.
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

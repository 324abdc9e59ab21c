"""The training state, and everything static that a step is built from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from ssljax import methods
from ssljax.config import Config
from ssljax.data.augment import View
from ssljax.models import MLP, Network, choose_stem, initialise, parse_layers, resnet
from ssljax.models.linear_heads import LINEAR_PREDICTORS, LinearPredictor
from ssljax.training import optimizers, schedules


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
    """The static parts of a run: modules, method, optimizer, views, normalisation."""

    config: Config
    method: methods.Method
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
        return methods.has_target(self.config)

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

    @property
    def peak_learning_rate(self) -> float:
        """Effective peak rate, after scaling by the batch."""
        return peak_learning_rate(self.config)


def peak_learning_rate(config: Config) -> float:
    """Peak rate after linear scaling by batch / 256, where the config asks for it."""
    factor = config.batch_size / 256 if config.optimizer.scale_by_batch else 1.0
    return config.optimizer.learning_rate * factor


def build_network(config: Config, *, view_size: int, num_classes: int | None):
    """The encoder with the heads that a resolved config names."""
    method, model = methods.get(config.method.name), config.model
    dtype = jnp.dtype(model.dtype)
    stem = choose_stem(view_size) if model.stem == "auto" else model.stem
    wanted = config.method

    def head(layers: str | None, norm: str | None, bias: bool | None) -> MLP:
        widths = parse_layers(
            str(num_classes) if layers == "classes" else layers or "none"
        )
        return MLP(
            layers=widths,
            hidden_norm=norm != "off",
            output_norm=norm if norm in ("affine", "plain") else "none",
            hidden_bias=bool(bias),
            output_bias=bool(bias),
            dtype=dtype,
        )

    return Network(
        encoder=resnet(
            model.arch,
            stem=stem,
            stem_padding=model.stem_padding,
            width=model.width,
            zero_init_residual=model.zero_init_residual,
            dtype=dtype,
        ),
        projector=head(wanted.projector, wanted.projector_norm, wanted.projector_bias),
        predictor=LinearPredictor(kind=wanted.predictor)
        if wanted.predictor in LINEAR_PREDICTORS
        else head(wanted.predictor, method.predictor.norm, wanted.predictor_bias),
    )


def warmup_steps(setup: Setup) -> int:
    """Steps of linear warm-up; at most half of a short run."""
    return _warmup(setup.config, setup.total_steps, setup.steps_per_epoch)


def _warmup(config: Config, total_steps: int, steps_per_epoch: int) -> int:
    wanted = round(config.optimizer.warmup_epochs * steps_per_epoch)
    return min(wanted, total_steps // 2)


def build_optimizers(config: Config, *, total_steps: int, steps_per_epoch: int):
    """Optimizer, probe optimizer and learning-rate schedule of a resolved config."""
    settings = config.optimizer
    peak = peak_learning_rate(config)
    warmup = _warmup(config, total_steps, steps_per_epoch)
    schedule = schedules.schedule(
        peak=peak,
        total_steps=total_steps,
        warmup_steps=warmup,
        final_fraction=settings.final_fraction,
    )
    optimizer = optimizers.make(
        settings.name,
        learning_rate=schedule,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        weight_decay_norm_and_bias=settings.decay_norm_and_bias,
        eta=settings.eta,
        clip_norm=settings.clip_norm,
        # Without its predictor (an ablation) nothing is left to keep constant.
        constant_learning_rate_for=("predictor",)
        if settings.constant_predictor_rate and config.method.predictor != "none"
        else (),
        peak=peak,
        norm_and_bias_factor=None
        if settings.norm_and_bias_learning_rate is None
        else settings.norm_and_bias_learning_rate / settings.learning_rate,
    )
    probe_rate = optax.cosine_decay_schedule(config.probe.learning_rate, total_steps)
    return optimizer, optax.sgd(probe_rate, config.probe.momentum), schedule


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
        covariance=_init_covariance(setup) if setup.method.closed_form else {},
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
    if setup.method.target_start == "random":
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
    shape = (setup.network.encoder.feature_dim, setup.num_classes)
    params = {
        "kernel": 0.01 * jax.random.normal(key, shape),
        "bias": jnp.zeros(shape[1]),
    }
    return {"params": params, "opt_state": setup.probe_optimizer.init(params)}

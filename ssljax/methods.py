"""Methods: which heads, which target network, and how the loss is wired.

A method is one entry of `METHODS`. It says nothing about encoders, devices or data:
the training step hands it the outputs of all views of the global batch and gets one
scalar back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssljax import losses
from ssljax.config import Config, MethodConfig
from ssljax.validation import ConfigError, nearest


class Outputs(NamedTuple):
    """What the networks made of the global batch, one entry per view, float32."""

    projections: Sequence[jax.Array]
    """Projector outputs ``[N, D]``."""
    predictions: Sequence[jax.Array]
    """Predictor outputs ``[N, D]``; the projections where there is no predictor."""
    targets: Sequence[jax.Array]
    """Constants ``[N, D]``: the target network's projections, or the online ones
    behind a stop-gradient."""
    labels: jax.Array
    """``[N]``, -1 where unknown; only the supervised baseline reads them."""


@dataclass(frozen=True)
class Head:
    """An MLP head: Linear, BatchNorm, ReLU per hidden layer, then Linear.

    A linear layer that BatchNorm follows has no bias, which BatchNorm would cancel.
    """

    layers: str
    """Widths such as ``2048-2048-128``; ``none`` is the identity; ``classes`` stands
    for the number of classes."""
    hidden_norm: bool = True
    output_norm: Literal["none", "affine", "plain"] = "none"
    output_bias: bool = False


@dataclass(frozen=True)
class Method:
    """One row of the table of methods."""

    family: str
    paper: str
    loss: Callable[..., jax.Array]
    """``loss(outputs, **options)``, a scalar over the global batch."""
    projector: Head
    predictor: Head = Head("none")
    forward: Literal["joint", "separate"] = "separate"
    target: bool = False
    target_momentum: float = 0.0
    constant_predictor_rate: bool = False
    views: int = 2
    options: dict[str, float] = field(default_factory=dict)
    labels: bool = False
    """Whether the loss needs labels."""


def between_projections(loss: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Wire ``loss(z1, z2, **options)`` to the projections, averaged over view pairs.

    >>> wired = between_projections(lambda a, b: jnp.mean((a - b) ** 2))
    >>> z = [jnp.zeros((2, 3)), jnp.ones((2, 3))]
    >>> float(wired(Outputs(z, z, z, jnp.zeros(2))))
    1.0
    """

    def wired(outputs: Outputs, **options: float) -> jax.Array:
        z = outputs.projections
        pairs = [(i, j) for i in range(len(z)) for j in range(i + 1, len(z))]
        return jnp.mean(jnp.stack([loss(z[i], z[j], **options) for i, j in pairs]))

    return wired


def prediction_of_target(
    loss: Callable[..., jax.Array], *, reduce: Literal["sum", "mean"]
) -> Callable[..., jax.Array]:
    """Wire ``loss(p, target)``: every view predicts the target of every other view.

    ``sum`` over the ordered pairs is BYOL's convention, ``mean`` is SimSiam's.
    """

    def wired(outputs: Outputs, **options: float) -> jax.Array:
        p, t = outputs.predictions, outputs.targets
        pairs = [(i, j) for i in range(len(p)) for j in range(len(t)) if i != j]
        each = jnp.stack([loss(p[i], t[j], **options) for i, j in pairs])
        return jnp.mean(each) if reduce == "mean" else jnp.sum(each)

    return wired


def _cross_entropy(outputs: Outputs) -> jax.Array:
    per_view = [
        optax.softmax_cross_entropy_with_integer_labels(logits, outputs.labels)
        for logits in outputs.projections
    ]
    return jnp.mean(jnp.stack(per_view))


# Heads and options are each paper's ImageNet defaults; recipes narrow them.
METHODS: dict[str, Method] = {
    "simclr": Method(
        family="sample-contrastive",
        paper="Chen et al. 2020, arXiv 2002.05709",
        loss=between_projections(losses.nt_xent),
        projector=Head("2048-2048-128", output_norm="affine"),
        forward="joint",
        options={"temperature": 0.1},
    ),
    "byol": Method(
        family="asymmetric",
        paper="Grill et al. 2020, arXiv 2006.07733",
        loss=prediction_of_target(losses.normalized_mse, reduce="sum"),
        projector=Head("4096-256"),
        predictor=Head("4096-256"),
        target=True,
        target_momentum=0.99,
    ),
    "simsiam": Method(
        family="asymmetric",
        paper="Chen and He 2021, arXiv 2011.10566",
        loss=prediction_of_target(losses.negative_cosine, reduce="mean"),
        projector=Head("2048-2048-2048", output_norm="plain"),
        predictor=Head("512-2048", output_bias=True),
        constant_predictor_rate=True,
    ),
    "barlow_twins": Method(
        family="dimension-contrastive",
        paper="Zbontar et al. 2021, arXiv 2103.03230",
        loss=between_projections(losses.barlow_twins),
        projector=Head("8192-8192-8192"),
        options={"off_diagonal_weight": 0.0051},
    ),
    "vicreg": Method(
        family="dimension-contrastive",
        paper="Bardes et al. 2022, arXiv 2105.04906",
        loss=between_projections(losses.vicreg),
        projector=Head("8192-8192-8192"),
        options={
            "invariance_weight": 25.0,
            "variance_weight": 25.0,
            "covariance_weight": 1.0,
        },
    ),
    "supervised": Method(
        family="supervised baseline",
        paper="cross-entropy on labels",
        loss=_cross_entropy,
        projector=Head("classes", output_bias=True),
        views=1,
        labels=True,
    ),
}


def get(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: unknown name; the message lists the known ones.
    """
    if name not in METHODS:
        raise ConfigError(
            f"method.name is {name!r}; allowed: {', '.join(METHODS)}"
            f"{nearest(name, METHODS)}"
        )
    return METHODS[name]


def resolve(config: Config) -> Config:
    """Replace every None that stands for a method's default by its value.

    Returns:
        A config without such gaps: what a run folder keeps, so that a later change of
        the table cannot change an old run.

    Raises:
        ConfigError: unknown method or option; the message names the nearest one.

    >>> resolve(Config()).method.options
    {'temperature': 0.1}
    """
    wanted = config.method
    method = get(wanted.name)
    for option in wanted.options:
        if option not in method.options:
            allowed = ", ".join(method.options) or "none"
            raise ConfigError(
                f"method.options has {option!r}, which {wanted.name} does not take; "
                f"allowed: {allowed}{nearest(option, method.options)}"
            )
    if wanted.target_momentum is not None and not method.target:
        raise ConfigError(
            f"method.target_momentum is {wanted.target_momentum}, but {wanted.name} "
            "has no target network; leave it out"
        )

    def default(value: Any, fallback: Any) -> Any:
        return fallback if value is None else value

    resolved = MethodConfig(
        name=wanted.name,
        options=method.options | wanted.options,
        projector=default(wanted.projector, method.projector.layers),
        predictor=default(wanted.predictor, method.predictor.layers),
        forward=default(wanted.forward, method.forward),
        target_momentum=default(wanted.target_momentum, method.target_momentum)
        if method.target
        else None,
    )
    preset = config.augment.preset
    return replace(
        config,
        method=resolved,
        augment=replace(
            config.augment, preset=wanted.name if preset == "auto" else preset
        ),
        optimizer=replace(
            config.optimizer,
            constant_predictor_rate=default(
                config.optimizer.constant_predictor_rate,
                method.constant_predictor_rate,
            ),
        ),
    )

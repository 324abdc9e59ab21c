"""Methods by name, and the defaults that a config takes from the table of methods.

A method is one entry of `METHODS`. It does not depend on encoders, devices or data: the
training step passes it the outputs for all views of the global batch, and it returns
one scalar.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax

from ssljax.config import Config, MethodConfig
from ssljax.config.checks import ConfigError, nearest
from ssljax.methods.table import METHODS, Method, Option
from ssljax.models import Outputs
from ssljax.models.predictors import direct_predictors, update_covariance

_PREDICTOR_OPTIONS = ("exponent", "epsilon", "convention")
# The values in the code of implicit-var-reg. With a target network (True) the
# projections change slowly.
_COVARIANCE_MOMENTUM = {True: 0.998, False: 0.5}


def get(name: str) -> Method:
    """Return the method of that name.

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
    """Replace every None that means "the method's default" with that value.

    Returns:
        The complete config. A run folder stores it, so that a later change of the table
        does not change an old run.

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
        _check_option(option, wanted.options[option], method.options[option])
    if wanted.target_momentum and not method.target:
        raise ConfigError(
            f"method.target_momentum is {wanted.target_momentum}, but {wanted.name} "
            "has no target network; leave it out"
        )

    def default(value: Any, fallback: Any) -> Any:
        return fallback if value is None else value

    momentum = None
    if method.target:
        momentum = default(wanted.target_momentum, method.target_momentum)
    resolved = MethodConfig(
        name=wanted.name,
        options=_options(method, wanted, momentum),
        projector=default(wanted.projector, method.projector.layers),
        projector_norm=default(wanted.projector_norm, method.projector.norm),
        projector_bias=default(wanted.projector_bias, method.projector.bias),
        predictor=default(wanted.predictor, method.predictor.layers),
        predictor_bias=default(wanted.predictor_bias, method.predictor.bias),
        forward=default(wanted.forward, method.forward),
        target_momentum=momentum,
    )
    preset = config.augment.preset
    return replace(
        config,
        method=resolved,
        augment=replace(
            config.augment, preset=method.preset if preset == "auto" else preset
        ),
        optimizer=replace(
            config.optimizer,
            constant_predictor_rate=default(
                config.optimizer.constant_predictor_rate,
                method.constant_predictor_rate,
            ),
        ),
    )


def bind_loss(config: Config) -> Callable[[Outputs], jax.Array]:
    """Return the loss of a resolved config as a function of the outputs alone.

    Returns:
        ``loss(outputs)``, a scalar over the global batch.

    >>> bind_loss(resolve(Config())).keywords
    {'temperature': 0.1}
    """
    method = get(config.method.name)
    ours = (*_PREDICTOR_OPTIONS, "covariance_momentum") if method.closed_form else ()
    options = {
        name: None if value == "auto" else value
        for name, value in config.method.options.items()
        if name not in ours
    }
    return functools.partial(method.loss, **options)


def bind_predictors(
    config: Config,
) -> Callable[[jax.Array, Any], tuple[list[jax.Array], jax.Array]] | None:
    """Return the closed-form predictor of a resolved config as a function.

    Returns:
        None if the method has no closed-form predictor, else ``predictors(covariance,
        projections)``. It takes the running second moment ``[D, D]`` and every view's
        projections ``[N, D]`` of the global batch, and returns a predictor ``[D, D]``
        per view and the next second moment.
    """
    if not get(config.method.name).closed_form:
        return None
    options: Any = config.method.options
    chosen = {name: options[name] for name in _PREDICTOR_OPTIONS}

    def predictors(
        covariance: jax.Array, projections: Any
    ) -> tuple[list[jax.Array], jax.Array]:
        after = []
        # As in the code of implicit-var-reg, each view's predictor is that of the
        # covariance after this view has updated it, and before the next view does.
        for z in projections:
            covariance = update_covariance(
                covariance, z, momentum=options["covariance_momentum"]
            )
            after.append(covariance)
        return direct_predictors(after, **chosen), covariance

    return predictors


def _options(
    method: Method, wanted: MethodConfig, momentum: float | None
) -> dict[str, Option]:
    options = method.options | wanted.options
    if options.get("covariance_momentum") == "auto":
        options["covariance_momentum"] = _COVARIANCE_MOMENTUM[bool(momentum)]
    return options


def _check_option(name: str, value: Option, default: Option) -> None:
    """Refuse text for a number, a fraction for a count, and a number for text."""
    text = isinstance(value, str)
    if default == "auto":
        good, allowed = not text or value == "auto", "a number or 'auto'"
    elif isinstance(default, str):
        good, allowed = text, "text"
    elif isinstance(default, int):
        good, allowed = isinstance(value, int), "a whole number"
    else:
        good, allowed = not text, "a number"
    if not good:
        raise ConfigError(f"method.options.{name} is {value!r}; allowed: {allowed}")

"""Which methods have a theory of how each eigenvalue grows, as a table.

A row says which curve one mode follows, of which logged eigenvalues, and what its rate
is. `ssljax theory fit` compares it with a run. Methods without a row have no closed
form of a single mode in `ssljax.analytic`.
"""

from dataclasses import dataclass
from typing import Literal

from ssljax.analytic.mode_law import ModeLaw
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.methods.table import METHODS

Quantity = Literal["cross", "share"]

LOGGED: dict[Quantity, tuple[str, ...]] = {
    # Older runs have those of the covariance alone.
    "cross": ("spectrum/cross_eigenvalues", "spectrum/eigenvalues"),
    "share": ("spectrum/moment_eigenvalues", "spectrum/eigenvalues"),
}
"""Name of the metric that a quantity is made of, the best one first."""


@dataclass(frozen=True)
class MethodLaw:
    """The law of a method's modes."""

    curve: Literal["logistic", "lambert"]
    quantity: Quantity
    """Eigenvalues of the cross-correlation of the views, or of the projections' second
    moment divided by the largest one, which is what a closed-form predictor sees."""
    equation: str
    rate: str
    """What the fitted rate is in the theory."""
    rate_factor: float
    """The fitted rate over what the text of ``rate`` names, at power 1."""
    theory: str
    """Name in ``ssljax theory list``."""
    source: str
    assumes: str
    """Where the run that trained differs from the theory."""


_SIMON = "Simon et al., ICML 2023, section 4.2"
_HALVAGAL = "Halvagal, Laborieux and Zenke, NeurIPS 2023"
_PREDICTOR = (
    "the theory's network is linear, its inputs are white and the predictor is not "
    "averaged over steps; the plateau is free, since noise in the views lowers it"
)

LAWS: dict[str, MethodLaw] = {
    "barlow_twins": MethodLaw(
        curve="logistic",
        quantity="cross",
        equation="dx/dt = 8 gamma x (1 - x), x = eigenvalue / plateau",
        rate="gamma, the eigenvalue of the inputs' cross moment between views",
        rate_factor=8.0,
        theory="stepwise",
        source=_SIMON,
        assumes=(
            "the theory's loss is neither standardised nor centred, weighs all entries "
            "alike, and starts small; the loss that trains is standardised, so only "
            "the shape is compared, with a free plateau"
        ),
    ),
    "isoloss_euclidean": MethodLaw(
        curve="logistic",
        quantity="share",
        equation="dx/dt = 4 a k x (1 - x), x = (share / plateau)^a",
        rate="k, the variance of the mode's inputs, times the level of its plateau",
        rate_factor=4.0,
        theory="implicit-variance",
        source=_HALVAGAL,
        assumes=_PREDICTOR,
    ),
    "directpred_euclidean": MethodLaw(
        curve="lambert",
        quantity="share",
        equation="dx/dt = 4 a k x^2 (1 - x), x = (share / plateau)^a",
        rate="k, the variance of the mode's inputs, times the level of its plateau",
        rate_factor=4.0,
        theory="implicit-variance",
        source=_HALVAGAL,
        assumes=_PREDICTOR,
    ),
}


def needs_cross_eigenvalues(method: str) -> bool:
    """Whether a method's theory is one of the views' cross-correlation.

    >>> needs_cross_eigenvalues("barlow_twins"), needs_cross_eigenvalues("byol")
    (True, False)
    """
    return method in LAWS and LAWS[method].quantity == "cross"


def law_of(config: Config) -> tuple[MethodLaw, ModeLaw, float]:
    """Return the law of a resolved config's method.

    Returns:
        The row, the curve with its power, and the fitted rate over the theory's number.

    Raises:
        ConfigError: the line that says why there is none.

    >>> from ssljax.config import MethodConfig
    >>> law_of(Config(method=MethodConfig("barlow_twins")))[2]
    8.0
    """
    name, options = config.method.name, config.method.options
    if name not in LAWS:
        coupled = name in METHODS and METHODS[name].closed_form
        why = ", whose loss couples all modes" if coupled and "cosine" in name else ""
        raise ConfigError(
            f"no theory of single modes for {name} here{why}; methods with one: "
            f"{', '.join(LAWS)}"
        )
    row = LAWS[name]
    if row.quantity == "cross":
        return row, ModeLaw(row.curve), row.rate_factor
    epsilon, convention = options.get("epsilon", 0.0), options.get("convention", "fmi")
    if epsilon or convention != "fmi":
        raise ConfigError(
            f"no theory of single modes for {name} with epsilon {epsilon} and "
            f"convention {convention!r}; it needs epsilon 0 and convention 'fmi'"
        )
    power = float(options.get("exponent", 0.5))
    return row, ModeLaw(row.curve, power), row.rate_factor * power

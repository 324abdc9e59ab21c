"""The closed form of two neurons' gradient flow while their head is the identity."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.inputs import check_positive
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.prediction_head.population import (
    PatchData,
    PopulationConstants,
    check_neurons,
)
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def solve_frozen_head(start: jax.Array, data: PatchData) -> Solution:
    """Solve the gradient flow while the head stays the identity.

    The neurons are independent then, and each keeps its length. Along a path
    ``a_l(s) = a_l(0) (1 - 12 cross alpha_l^6 a_l(0)^4 s)^(-1/4)``, so the feature with
    the largest ``alpha_l^6 a_l(0)^4`` wins in each neuron, whatever the other neurons
    do; the clock is ``dt/ds = V^2 / N`` (variance, noise).

    Args:
        start: weights at time 0, ``[outputs, d]``; features first, no entry of theirs
            0, and some noise in each row.
        data: the distribution of the samples; its strengths and noise are parameters
            of the solution.

    Returns:
        ``solution(t)``: ``<w_j, v_l>`` at times ``t`` (learning rate x step),
        ``[times, outputs * features]``, features fastest. Quadrature and bisection: any
        time costs the same; twice differentiable.

    Raises:
        ValueError: for weights that leave no room for noise, are not finite, or miss a
            feature or the noise.

    Source: the model of Wen and Li, NeurIPS 2022, without prediction head.

    >>> solution = solve_frozen_head(jnp.array([[0.1, 0.1, 1.0]]), PatchData())
    >>> solution
    Solution(alignments under a frozen head: start [1, 3], noise 1, strengths [2])
    >>> solution(0.0).round(6).tolist()
    [0.1, 0.1]
    """
    start = check_neurons(start, data)
    features = len(data.strengths)
    if known(start) and not np.all(np.asarray(start)[:, :features]):
        raise ValueError(
            "start must have no entry 0 among the features: such a neuron never "
            "learns them"
        )
    rest = jnp.sum(start[:, features:] ** 2, axis=1)
    check_positive("the length of each row of start beside the features", rest)
    modes = [
        f"<w{j + 1}, v{i + 1}>" for j in range(len(start)) for i in range(features)
    ]
    strengths = jnp.stack([jnp.asarray(x, jnp.float64) for x in data.strengths])
    return Solution(
        params={"start": start, "strengths": strengths}
        | as_numbers({"noise": data.noise}),
        law=_frozen_law,
        settings=(("constants", data.constants),),
        title="alignments under a frozen head",
        quantity="alignment",
        modes=tuple(modes),
    )


def _frozen_law(
    params: dict, t: jax.Array, *, constants: PopulationConstants
) -> jax.Array:
    """Return ``<w_j, v_l>`` at all times, ``[times, outputs * features]``."""
    strengths = params["strengths"]

    def neuron(w: jax.Array) -> jax.Array:
        start = w[: len(strengths)]
        data = (strengths, params["noise"], constants)
        return _frozen_neuron(start, jnp.sum(w**2), t, data)

    return jnp.swapaxes(jax.vmap(neuron)(params["start"]), 0, 1).reshape(len(t), -1)


def _frozen_neuron(
    start: jax.Array,
    length: jax.Array,
    t: jax.Array,
    data: tuple[jax.Array, jax.Array, PopulationConstants],
) -> jax.Array:
    """Return one neuron's alignments, ``[times, features]``."""
    strengths, patch_noise, constants = data
    sixth = strengths**6
    drive = sixth * start**4
    winner = jnp.argmax(drive)
    first = start[winner] ** 2

    def along(squared: jax.Array) -> jax.Array:
        """Return alignments at the winner's square, ``[..., features]``."""
        progress = 1 - (first / squared[..., None]) ** 2
        share = (drive / drive[winner]).reshape((1,) * squared.ndim + (-1,))
        return start.reshape(share.shape) / (1 - share * progress) ** 0.25

    # Bounded by the winner's square once no noise is left.
    stopped = jax.lax.stop_gradient(length)
    limit = _bisect(
        lambda x: jnp.sum(jax.lax.stop_gradient(along(x)) ** 2) < stopped,
        jax.lax.stop_gradient(first),
        stopped,
    )

    def pace(y: jax.Array) -> jax.Array:
        """Return ``dt/dy`` in the logit y of the winner's square over its limit."""
        share = jax.nn.sigmoid(y)
        alignments = along(limit * share)
        rest = length - jnp.sum(alignments**2, axis=-1)
        rest = jnp.maximum(rest, 1e-14) * patch_noise**2
        noise = 15 * constants.noise * rest**3
        sixths = sixth.reshape((1,) * share.ndim + (-1,)) * alignments**6
        variance = constants.feature * jnp.sum(sixths, axis=-1) + noise
        velocity = 3 * constants.cross * sixth[winner] * noise / variance**2
        # d(a^2)/dt = 2 velocity a^6 and d(a^2)/dy = a^2 (1 - share).
        return (1 - share) / (2 * velocity * (limit * share) ** 2)

    begin = jnp.log(first / (limit - first))

    def clock(y: jax.Array) -> jax.Array:
        width = (y - begin) / _CELLS
        nodes = begin + width[..., None] * jnp.asarray(_NODES).reshape(
            (1,) * y.ndim + (-1,)
        )
        weights = jnp.asarray(_WEIGHTS).reshape((1,) * y.ndim + (-1,))
        return jnp.sum(pace(nodes) * weights, axis=-1) * width

    low = jnp.broadcast_to(begin, t.shape)
    found = jax.lax.stop_gradient(_bisect(lambda y: clock(y) < t, low, low + 30.0))
    # A step of Newton's method carries the first derivatives, the next the second.
    for _ in range(2):
        found = found - (clock(found) - t) / pace(found)
    return along(limit * jax.nn.sigmoid(found))


def _bisect(
    below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array
) -> jax.Array:
    """Find where ``below`` turns from true to false."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]):
        low, high = bounds
        middle = (low + high) / 2
        is_below = below(middle)
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    low, high = jax.lax.fori_loop(0, 60, halve, (low, high))
    return (low + high) / 2


# The Gauss-Legendre rule in each of several cells of unit width.
_CELLS = 40
_POINTS, _RULE = np.polynomial.legendre.leggauss(12)
_NODES = (np.arange(_CELLS)[:, None] + (_POINTS[None, :] + 1) / 2).reshape(-1)
_WEIGHTS = np.tile(_RULE / 2, _CELLS)

"""Items 1 to 6: the Euclidean loss, its balance, thresholds, times and alignment."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ssljax.analytic import learned_predictor as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.learned_predictor.checklist import network
from ssljax.analytic.precision import in_float64

RECORDS = 41


@in_float64
def modes(given: Given) -> Sequence[Finding]:
    """Compare ``dp/dt = a w r - eta p, dw/dt = p r - eta w, dv/dt = b (w - v)``.

    Here v is the target and ``r = x v - (x + noise^2) p w``.
    """
    start, predictor = np.array([0.3, 0.5, 0.8, 1.2]), np.array([0.6, 0.2, 0.9, 0.4])
    numbers: dict[str, Any] = {
        "weight_decay": 0.03,
        "predictor_rate": 2.0,
        "target_rate": 0.7,
    }
    views = {"signal": np.array([1.3, 1.0, 0.8, 0.6]), "noise": 0.4}
    params, left, right = network.aligned(start, predictor, given.seed)
    params |= {"target": 0.8 * params["online"]}
    loss = network.loss_of(network.exact_views(right, given.seed, **views))
    times = np.linspace(0.0, 8.0, RECORDS)
    flow = network.along(network.flow_of(loss, params, times, **numbers), left, right)
    rates = [0.04, 0.02, 0.01]
    steps = [
        network.along(found, left, right)
        for found in network.descents(loss, params, rates, times, **numbers)
    ]
    findings = []
    for of in ("predictor", "online", "target"):
        solution = theory.solve_learned_predictor(
            start, predictor=predictor, target=0.8 * start, of=of, **views, **numbers
        )
        exact = np.asarray(solution(times))
        gaps = [np.abs(exact - found[of]).max() for found in steps]
        findings += [
            # Both integrations are accurate to about 1e-8.
            at_most(
                f"{of}: flow of the loss from theory",
                np.abs(exact - flow[of]).max(),
                1e-6,
            ),
            near(
                f"{of}: order of convergence of descent",
                convergence_slope(rates, gaps),
                1.0,
                0.1,
            ),
        ]
    return findings


@in_float64
def balance(given: Given) -> Sequence[Finding]:
    """Check ``W W^T - W_p^T W_p / a = exp(-2 eta t) C``, whatever target and loss."""
    rng = np.random.default_rng(given.seed)
    # No prediction may come near zero, where the cosine loss is not smooth.
    params = {
        name: jnp.asarray(np.eye(4) + 0.2 * rng.normal(size=(4, 4)))
        for name in ("online", "predictor", "target")
    }
    views = network.exact_views(jnp.eye(4), given.seed, noise=0.5)
    times, rate, decay = np.linspace(0.0, 8.0, RECORDS), 2.0, 0.05
    numbers: dict[str, Any] = {
        "weight_decay": decay,
        "predictor_rate": rate,
        "target_rate": 0.5,
    }
    loss = network.loss_of(views)
    found = network.flow_of(loss, params, times, **numbers)
    findings = [
        at_most(
            "Euclidean, moving target: imbalance from its decay",
            _unfaded(found, times, rate, decay),
            1e-7,
        )
    ]
    rates = [0.02, 0.01, 0.005]
    gaps = [
        _unfaded(x, times, rate, decay)
        for x in network.descents(loss, params, rates, times, **numbers)
    ]
    del params["target"], numbers["target_rate"]
    loss = network.loss_of(views, cosine=True)
    found = network.flow_of(loss, params, times, **numbers)
    return [
        *findings,
        near(
            "the same, order in the step of descent",
            convergence_slope(rates, gaps),
            1.0,
            0.1,
        ),
        at_most(
            "cosine: imbalance from its decay",
            _unfaded(found, times, rate, decay),
            1e-7,
        ),
    ]


def _unfaded(found, times, rate: float, decay: float) -> float:  # type: ignore[no-untyped-def]
    """Return the distance of the imbalance from its decay, over its first size."""
    online, p = np.asarray(found["online"]), np.asarray(found["predictor"])
    kept = [
        np.asarray(theory.imbalance(w, x, predictor_rate=rate))
        for w, x in zip(online, p, strict=True)
    ]
    faded = np.exp(-2.0 * decay * np.asarray(times))[:, None, None] * kept[0]
    return float(np.abs(kept - faded).max() / np.abs(kept[0]).max())


@in_float64
def thresholds(given: Given) -> Sequence[Finding]:
    """Check ``p = (x tau -+ sqrt((x tau)^2 - 4 (x + noise^2) eta)) / 2 (x + noise^2)``.

    With tau = 1 also for a moving target, which starts equal to the network.
    """
    noise, times = 0.5, np.linspace(0.0, 400.0, RECORDS)
    largest = float(theory.largest_weight_decay(noise=noise))
    findings = []
    for share, target_rate in ((0.3, 0.1), (0.3, 10.0), (0.9, 0.1), (1.3, 0.1)):
        decay = share * largest
        low, high = map(float, theory.predictor_limits(decay, noise=noise))
        # Around the threshold; if all modes collapse, up to well above any limit.
        start = np.array([0.5, 0.97, 1.03, 2.0]) * (low if np.isfinite(low) else 0.5)
        params, left, right = network.aligned(start, start, given.seed)
        params |= {"target": params["online"]}
        loss = network.loss_of(network.exact_views(right, given.seed, noise=noise))
        found = network.flow_of(
            loss, params, times, weight_decay=decay, target_rate=target_rate
        )
        last = network.along(found, left, right)["predictor"][-1]
        gap = np.abs(last - np.where(start > low, high, 0.0)).max()
        what = f"decay {share:g} of the largest, target rate {target_rate:g}"
        findings.append(at_most(f"{what}: last from the limits", gap, 1e-3))
    return findings


@in_float64
def times_to_learn(given: Given) -> Sequence[Finding]:
    """Check ``t = integral dp / (p (x p - (x + noise^2) p^2 - eta))``, closed form."""
    start = np.array([0.15, 0.2, 0.3, 0.05])
    noise, rate, decay = 0.5, 4.0, 0.05
    # On the parabola w^2 = p^2 / predictor_rate.
    params, left, right = network.aligned(start / np.sqrt(rate), start, given.seed)
    loss = network.loss_of(network.exact_views(right, given.seed, noise=noise))
    numbers: dict[str, Any] = {"weight_decay": decay, "noise": noise}
    levels = np.array([0.6, 0.6, 0.6, 0.02])  # the last collapses
    expected = np.asarray(theory.balanced_time(start, levels, **numbers))
    times = np.sort(np.append(np.linspace(0.0, 50.0, RECORDS - 4), expected))
    found = network.flow_of(
        loss, params, times, weight_decay=decay, predictor_rate=rate
    )
    found = network.along(found, left, right)["predictor"]
    at = np.searchsorted(times, expected)
    exact = theory.solve_balanced_predictor(start, **numbers)(times)
    never = theory.balanced_time(np.array([0.2]), 0.9, **numbers)[0]
    return [
        at_most(
            "flow of the loss from balanced modes", np.abs(exact - found).max(), 1e-6
        ),
        at_most(
            "levels missed at their times",
            np.abs(found[at, np.arange(4)] / levels - 1.0).max(),
            1e-6,
        ),
        at_least("time to a level beyond the limit", never, np.inf),
    ]


@in_float64
def alignment(given: Given) -> Sequence[Finding]:
    """Check that ``[W_p, W W^T]`` fades, from a symmetric predictor of other axes.

    The paper keeps the predictor symmetric by assumption; here it moves freely.
    """
    decay, noise = 0.05, 0.5
    high = float(theory.predictor_limits(decay, noise=noise)[1])
    loss = network.loss_of(network.exact_views(jnp.eye(4), given.seed, noise=noise))
    before, after, away = [], [], []
    for draw in range(4):
        rng = np.random.default_rng([given.seed, draw])
        half = rng.normal(size=(4, 4)) / 2.0
        params = {
            "online": jnp.asarray(rng.normal(size=(4, 4)) / 2.0),
            "predictor": jnp.asarray(half @ half.T + 0.3 * np.eye(4)),
        }
        times = np.linspace(0.0, 200.0, RECORDS)
        found = network.flow_of(loss, params, times, weight_decay=decay)
        relative = network.commutators(found)
        before.append(relative[0])
        after.append(relative[-1])
        last = np.linalg.svd(found["online"][-1], compute_uv=False)
        away.append(np.minimum(np.abs(last - high), last).max())
    return [
        at_least("four draws: least relative commutator at first", min(before), 0.01),
        at_most("four draws: largest in the end", max(after), 1e-4),
        at_most("singular values from 0 or the limit", max(away), 1e-3),
    ]


@in_float64
def undecayed(given: Given) -> Sequence[Finding]:
    """Check the end of ``a w^2 - p^2 = k``: regression, or collapse without decay."""
    noise, rate = 0.5, 2.0
    start = np.array([0.3, 0.3, 0.3, 0.3])
    predictor = np.array([0.1, 0.7, 1.5, 2.5])
    params, left, right = network.aligned(start, predictor, given.seed)
    loss = network.loss_of(network.exact_views(right, given.seed, noise=noise))
    times = np.linspace(0.0, 300.0, RECORDS)
    found = network.flow_of(loss, params, times, predictor_rate=rate)
    last = {name: x[-1] for name, x in network.along(found, left, right).items()}
    expected = theory.undecayed_limits(
        start, predictor=predictor, noise=noise, predictor_rate=rate
    )
    findings = [
        at_most(f"{of}: last from the limit", np.abs(x - last[of]).max(), 1e-5)
        for of, x in zip(("predictor", "online"), expected, strict=True)
    ]
    gone = int(np.sum(last["online"] < 1e-3))
    return [*findings, near("modes collapsed without weight decay", gone, 2, 0)]

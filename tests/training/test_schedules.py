"""Schedules of the learning rate and of the target's momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.training import schedules


@pytest.mark.parametrize("warmup_start, final_fraction", [(0.0, 0.0), (3e-5, 1e-3)])
def test_schedule_endpoints(warmup_start, final_fraction):
    rate = schedules.schedule(
        peak=4.8,
        total_steps=1000,
        warmup_steps=100,
        warmup_start=warmup_start,
        final_fraction=final_fraction,
    )
    assert float(rate(0)) == pytest.approx(warmup_start, rel=1e-6, abs=0)
    assert float(rate(100)) == pytest.approx(4.8, rel=1e-6)
    assert float(rate(1000)) == pytest.approx(4.8 * final_fraction, rel=1e-6, abs=0)
    assert float(rate(5000)) == float(rate(1000))
    assert float(rate(50)) == pytest.approx((warmup_start + 4.8) / 2, rel=1e-6)
    middle = 4.8 * (1 + final_fraction) / 2
    assert float(rate(550)) == pytest.approx(middle, rel=1e-5)


def test_schedule_is_optax_s_warmup_cosine():
    ours = schedules.schedule(
        peak=0.3, total_steps=77, warmup_steps=13, final_fraction=0.1
    )
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, 13, 77, 0.03)
    steps = jnp.arange(90)
    np.testing.assert_allclose(
        jax.jit(ours)(steps), jax.vmap(theirs)(steps), rtol=1e-5, atol=1e-7
    )


def test_schedule_without_warmup_starts_at_the_peak():
    rate = schedules.schedule(peak=0.3, total_steps=10)
    assert float(rate(0)) == pytest.approx(0.3)
    assert float(rate(10)) == 0.0


def test_constant_schedule():
    rate = schedules.schedule(
        peak=0.3, total_steps=10, warmup_steps=4, decay="constant"
    )
    np.testing.assert_allclose(
        rate(jnp.array([0, 2, 4, 9, 10])), [0.0, 0.15, 0.3, 0.3, 0.3], rtol=1e-6
    )


def test_ema_momentum_endpoints():
    def momentum(step, **options):
        return float(
            schedules.ema_momentum(step, total_steps=200, base=0.996, **options)
        )

    assert momentum(0) == pytest.approx(0.996, abs=1e-7)
    assert momentum(100) == pytest.approx(0.998, abs=1e-7)
    assert momentum(50) == pytest.approx(
        1 - 0.004 * (np.cos(np.pi / 4) + 1) / 2, abs=1e-7
    )
    assert momentum(200) == 1.0 and momentum(300) == 1.0
    assert momentum(77, final=0.996) == pytest.approx(0.996, abs=1e-7)
    assert momentum(200, final=0.999) == pytest.approx(0.999, abs=1e-7)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(warmup_steps=11), r"warmup_steps must lie in \[0, total_steps = 10\]"),
        (dict(total_steps=0), "total_steps must be at least 1"),
        (dict(peak=-1.0), "peak must be finite and >= 0"),
        (dict(final_fraction=2.0), "final_fraction must be"),
        (dict(decay="linear"), 'must be "cosine" or "constant"'),
    ],
)
def test_wrong_schedules_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        schedules.schedule(**(dict(peak=1.0, total_steps=10) | change))


@pytest.mark.parametrize("change", [dict(base=1.5), dict(final=-0.1)])
def test_a_momentum_is_a_fraction(change):
    with pytest.raises(ValueError, match=r"must be \[0, 1\]"):
        schedules.ema_momentum(0, total_steps=10, **(dict(base=0.9) | change))

"""Compare parameters after three steps between engines and numbers of devices."""

import functools
from dataclasses import replace

import jax
import numpy as np
from small_runs import BATCH, WIRINGS, doubled, first_state, setup_of, source, widened

from ssljax.config import DevicesConfig
from ssljax.data import process_share
from ssljax.training import devices, engines

STEPS = 3


def small(name):
    """Return a setup, mostly with crops and flips only: colour compiles slowly."""
    if name == "frozen":
        return setup_of("supervised", preset="supervised", frozen=True)
    return setup_of(name, preset="auto" if name in WIRINGS else "supervised")


def parameters_after(name, engine, count, *, resident=False):
    """Return parameters and losses after three SGD steps with augmentation.

    In float64, because in float32 a rounding error occasionally flips a ReLU.
    """
    setup = small(name)
    config = replace(setup.config, devices=DevicesConfig(count=count, engine=engine))
    mesh = devices.make_mesh(count=count, batch_size=BATCH)
    data, losses = source(), []
    with jax.enable_x64(True):
        state = widened(first_state(setup))
        run = engines.compiled_step(
            replace(doubled(setup), config=config), mesh, resident=resident
        )
        place = functools.partial(engines.place_rows, mesh=mesh, engine=engine)
        images = {"image": data.images, "label": data.labels}
        mine = process_share(
            np.arange(BATCH, dtype=np.int32),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        state = devices.place(state, devices.replicated(mesh))
        if resident:
            images = devices.place(images, devices.replicated(mesh))
            inputs = images, place(mine)
        else:
            inputs = (place(jax.tree.map(lambda x: x[mine], images)),)
        for _ in range(STEPS):
            state, metrics = run(state, *inputs)
            losses.append(float(metrics["loss"]))
        return jax.device_get(state.params), losses


@functools.cache
def reference(name):
    return parameters_after(name, "jit", 1)


def largest_gap(name, engine, count, **options):
    """Return the gap between one device and that engine, see `gap_between`."""
    return gap_between(
        name, reference(name), parameters_after(name, engine, count, **options)
    )


def gap_between(name, one, other):
    """Return the largest difference, relative to the change that three steps made."""
    (expected, losses), (found, others) = one, other
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(others, losses, rtol=1e-5)
    start = first_state(small(name)).params
    moved = jax.tree.map(lambda a, b: np.linalg.norm(a - b), expected, start)
    total = np.sqrt(sum(x**2 for x in jax.tree.leaves(moved)))
    assert total > 0
    # A parameter that hardly moves is measured against the whole movement.
    gaps = jax.tree.map(
        lambda a, b, m: np.linalg.norm(a - b) / max(m, 1e-6 * total),
        found,
        expected,
        moved,
    )
    return max(jax.tree.leaves(gaps))

"""The monitor: shared by the devices, with a bank that fits the number of classes."""

import functools
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from faulty import TINY
from in_memory import labels_of
from small_runs import first_state, setup_of

from ssljax.config import Config, MonitorConfig
from ssljax.config.resuming import differences
from ssljax.data import from_arrays
from ssljax.evaluation import knn_accuracy
from ssljax.runs import monitor
from ssljax.runs.monitor import Monitor, bank_size
from ssljax.training import devices
from ssljax.training.state import Setup, init_state


def coloured(size, *, seed, classes=4):
    """Return 12-pixel images of noise around one colour per class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % classes
    colours = np.random.default_rng(9).integers(40, 216, (classes, 3))
    noise = rng.integers(-40, 41, (size, 12, 12, 3))
    images = (colours[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8)
    return from_arrays(images, labels)


@pytest.fixture(scope="module")
def setup() -> Setup:
    made = setup_of("simclr")
    settings = MonitorConfig(
        examples=32, knn_k=5, knn_examples=90, knn_test_examples=50
    )
    return replace(made, config=replace(made.config, monitor=settings))


@pytest.fixture(scope="module")
def sets():
    return coloured(120, seed=0), coloured(60, seed=1)


def on(count):
    return devices.make_mesh(count=count, batch_size=8)


def measured_on(count, setup, sets):
    """Return a monitor, a state on its devices, and the record of it."""
    mesh = on(count)
    state = devices.place(first_state(setup), devices.replicated(mesh))
    made = Monitor(setup, sets[0], sets[1], mesh)
    return made, state, made.measure(state)


@pytest.fixture(scope="module")
def one(setup, sets):
    return measured_on(1, setup, sets)


@pytest.fixture(scope="module")
def accuracy_with(one, setup):
    """Return the kNN accuracy with other images; encoding is compiled only once."""

    def measure(bank, queries):
        made = Monitor(setup, bank, queries, on(1))
        made._encode = one[0]._encode
        accuracy = made.knn_accuracy(one[1])
        return made, accuracy and 100 * accuracy

    return measure


def test_eight_devices_measure_what_one_does(setup, sets, one):
    made, state, eight = measured_on(8, setup, sets)
    assert one[2].keys() == eight.keys() and one[2]["knn_accuracy"] > 50
    for name in eight.keys() - {"monitor_seconds"}:
        np.testing.assert_allclose(eight[name], one[2][name], rtol=1e-4, atol=1e-5)
    # Each device draws and encodes its own share: four of 32 images, in two views.
    text = str(made._panel.lower(state, made._batch).compile().as_text())
    sizes = {
        int(n) for n in re.findall(r"f32\[(\d+),\d+,\d+,\d+\]\S* convolution", text)
    }
    assert sizes and max(sizes) <= 2 * 4


def test_a_number_of_images_that_does_not_divide_stays_whole(setup, sets):
    settings = replace(setup.config.monitor, examples=30, knn_examples=0)
    odd = replace(setup, config=replace(setup.config, monitor=settings))
    made = Monitor(odd, sets[0], sets[1], on(8))
    # On every device, not 24 of them.
    assert made._batch["image"].shape[0] == 30 and not made.knn_sets
    assert made._batch["image"].sharding.is_fully_replicated


def test_the_accuracy_is_that_of_the_evaluation(setup, one):
    made, state, record = one
    bank, queries = made.knn_sets
    assert (bank.size, queries.size) == (90, 50)

    def features(source):
        x = monitor.encode(state.params, state.batch_stats, source.images, setup=setup)
        return np.asarray(x), labels_of(source)

    exact = knn_accuracy(*features(bank), *features(queries), ks=(5,), num_classes=4)
    assert record["knn_accuracy"] == pytest.approx(100 * exact[5])


@pytest.mark.parametrize("kept", [2**30, 0])
def test_a_streamed_set_is_held_or_read_again(
    one, sets, accuracy_with, kept, monkeypatch
):
    monkeypatch.setattr(monitor, "KEPT", kept)
    made, accuracy = accuracy_with(*(replace(s, images=None) for s in sets))
    assert all((s.images is not None) == bool(kept) for s in made.knn_sets)
    assert accuracy == one[2]["knn_accuracy"]


def test_images_without_a_label_are_left_out(sets, accuracy_with):
    labels = labels_of(sets[0]).copy()
    labels[labels % 2 == 0] = -1
    mixed = from_arrays(sets[0].images, labels)
    # Two classes of four are left.
    assert 25 < accuracy_with(mixed, sets[1])[1] <= 52
    made, accuracy = accuracy_with(
        replace(sets[0], labels=np.full(120, -1, np.int32)), sets[1]
    )
    assert made.knn_sets and accuracy is None


def test_features_that_are_not_finite_have_no_accuracy(one, monkeypatch):
    made, state, _ = one
    broken = jax.numpy.full((monitor.BATCH, 4), np.nan)
    monkeypatch.setattr(made, "_encode", lambda *_: broken)
    assert made.knn_accuracy(state) is None


@pytest.mark.parametrize(
    ("wanted", "classes", "size"),
    [(None, None, 5000), (None, 10, 5000), (None, 1000, 50_000), (7, 1000, 7)],
)
def test_the_bank_has_enough_images_of_every_class(setup, wanted, classes, size):
    settings = MonitorConfig(knn_examples=wanted)
    changed = replace(setup, config=replace(setup.config, monitor=settings))
    assert bank_size(changed, classes) == size


def test_the_monitor_may_change_when_a_run_is_resumed():
    other = MonitorConfig(every_epochs=5, knn_examples=100, collapse="stop")
    assert differences(TINY, replace(TINY, monitor=other)) == []
    assert differences(Config(), Config(seed=1)) == ["seed: 0 -> 1"]


@pytest.mark.parametrize("name, logged", [("barlow_twins", True), ("simclr", False)])
def test_the_cross_correlation_is_logged_where_a_theory_speaks_of_it(name, logged):
    setup = setup_of(name)
    images = jax.ShapeDtypeStruct((16, 12, 12, 3), np.uint8)
    batch = {"image": images, "label": jax.ShapeDtypeStruct((16,), np.int32)}
    state = jax.eval_shape(functools.partial(init_state, setup))
    measures = jax.eval_shape(
        functools.partial(monitor._panel_of, setup=setup), state, batch
    )
    assert ("cross_eigenvalues" in measures) is logged
    assert measures["moment_eigenvalues"].shape == measures["eigenvalues"].shape

"""A whole run through the Python API: pretrain, evaluate, report, use the encoder."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import micro  # noqa: F401
import numpy as np
import pytest

import ssljax
from ssljax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DevicesConfig,
    LogConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import from_json
from ssljax.data import from_arrays
from ssljax.methods import resolve
from ssljax.protocols.evaluate import evaluate
from ssljax.reports.report import report
from ssljax.runs.encoder import restore

BATCH, TRAIN, TEST, CLASSES = 16, 64, 32, 4
CONFIG = Config(
    method=MethodConfig("simclr", projector="16-8"),
    data=DataConfig("arrays"),
    augment=AugmentConfig(blur=0.0),
    model=ModelConfig("micro"),
    optimizer=OptimizerConfig(warmup_epochs=0),
    monitor=MonitorConfig(examples=32, knn_k=5, knn_examples=TRAIN),
    checkpoint=CheckpointConfig(every_epochs=1),
    log=LogConfig(every_steps=1),
    devices=DevicesConfig(count=1),
    epochs=2,
    batch_size=BATCH,
)


def images_of(size, *, labelled, seed):
    """Return images of noise around one colour per class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % CLASSES
    colours = np.array([[40, 40, 40], [200, 40, 40], [40, 200, 40], [40, 40, 200]])
    noise = rng.integers(-40, 41, (size, 16, 16, 3))
    images = (colours[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8)
    return from_arrays(images, labels if labelled else None)


def files_of(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


LIDAR = {"lidar_images": 32, "lidar_views": 2}


class Finished:
    """A run with its evaluation and report, and the checkpoint before and after."""

    def __init__(self, folder, *, labelled):
        self.train = images_of(TRAIN, labelled=labelled, seed=0)
        self.test = images_of(TEST, labelled=labelled, seed=1)
        self.folder = folder
        self.run = ssljax.pretrain(
            CONFIG, folder, train=self.train, test=self.test, quiet=True
        )
        self.files_before = files_of(folder)
        self.before = restore(folder)
        self.table = evaluate(
            folder,
            protocols=("knn", "linear", "spectrum") if labelled else None,
            **LIDAR,
            train=self.train,
            test=self.test,
        )
        self.page = report(folder, train=self.train, test=self.test)
        self.files_after = files_of(folder)

    @property
    def records(self):
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def rows(self):
        return json.loads((self.folder / "evaluation.json").read_text())["rows"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("labelled") / "run", labelled=True)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("unlabelled") / "run", labelled=False)


def test_metrics_have_one_line_per_step_in_order(labelled):
    steps = [record["step"] for record in labelled.records]
    assert steps == list(range(1, 2 * TRAIN // BATCH + 1))
    assert labelled.run.steps == steps[-1]
    assert labelled.run.metrics["step"] == steps[-1]
    for record in labelled.records:
        assert np.isfinite(record["loss"]) and np.isfinite(record["probe_loss"])
    # The monitor runs at the first step, every epoch and the end, and (without kNN)
    # every half epoch in the first two.
    at = [r["step"] for r in labelled.records if "spectrum/rankme" in r]
    assert at == [1, 2, 4, 6, 8]
    at = [r["step"] for r in labelled.records if "knn_accuracy" in r]
    assert at == [1, 4, 8]
    assert all("knn_accuracy" in r for r in labelled.records if r["step"] in at)


def test_the_csv_has_the_same_numbers_as_the_json_lines(labelled):
    with (labelled.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [r["step"] for r in labelled.records]
    for row, record in zip(rows, labelled.records, strict=True):
        assert float(row["loss"]) == record["loss"]


def test_the_folder_keeps_the_resolved_config_and_the_data(labelled):
    kept = from_json((labelled.folder / "config.json").read_text())
    assert kept == resolve(CONFIG)
    data = json.loads((labelled.folder / "data.json").read_text())
    assert data["examples"] == TRAIN and data["num_classes"] == CLASSES
    assert data["fingerprint"] == labelled.train.fingerprint()
    launches = json.loads((labelled.folder / "environment.json").read_text())
    assert len(launches["launches"]) == 1


def test_every_representation_is_evaluated_under_every_protocol(labelled):
    named = {}
    for row in labelled.rows:
        protocol = row["protocol"].split()[0]
        named.setdefault(row["representation"], set()).add(protocol)
    # One row, because its accuracy is the same under every protocol.
    assert named.pop("majority class") == {"majority"}
    assert list(named) == ["encoder", "untrained network", "raw pixels"]
    assert set(map(frozenset, named.values())) == {
        frozenset({"knn", "linear", "spectrum"})
    }
    for row in labelled.rows:
        assert (row["train_examples"], row["test_examples"]) == (TRAIN, TEST)
        assert (row["accuracy"] is None) == row["protocol"].startswith("spectrum")
        assert row["representation"] in labelled.table
    # The classes are plain colours, so a linear classifier on pixels makes no mistake.
    (pixels,) = [
        row["accuracy"]
        for row in labelled.rows
        if row["representation"] == "raw pixels" and row["protocol"][:6] == "linear"
    ]
    assert pixels == 100.0


@pytest.mark.parametrize(
    "which", ["labelled", pytest.param("unlabelled", marks=pytest.mark.slow)]
)
def test_evaluation_and_report_leave_the_encoder_bit_identical(which, request):
    done = request.getfixturevalue(which)
    new = {name.split("/")[0] for name in done.files_after.keys() - done.files_before}
    assert new == {"evaluation.json", "report.html", "report"}
    for name, digest in done.files_before.items():
        assert done.files_after[name] == digest, name
    assert any(name.startswith("checkpoints/") for name in done.files_before)
    again = restore(done.folder)
    before, after = jax.tree.leaves(done.before.state), jax.tree.leaves(again.state)
    for a, b in zip(before, after, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_the_encoder_is_a_pure_function_of_uint8_images(labelled):
    encode = ssljax.load_encoder(labelled.folder)
    images = labelled.test.images
    features = encode(images)
    assert features.dtype == jnp.float32
    assert features.shape == (
        TEST,
        labelled.before.setup.network.encoder.feature_dim,
    )
    assert bool(jnp.isfinite(features).all())
    np.testing.assert_array_equal(features, encode(images))
    # Running statistics: no image depends on the others in its batch.
    np.testing.assert_allclose(features[:5], encode(images[:5]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="images are float32.*allowed: uint8"):
        encode(images.astype(np.float32))
    with pytest.raises(ValueError, match=r"images are uint8 \(16, 16, 3\)"):
        encode(images[0])


def test_training_moved_the_encoder(labelled):
    images = labelled.test.images[:5]
    trained = ssljax.load_encoder(labelled.folder)(images)
    untrained = ssljax.load_encoder(labelled.folder, untrained=True)(images)
    assert float(jnp.abs(trained - untrained).max()) > 1e-3


def test_the_report_is_one_page_with_figures(labelled):
    assert labelled.page == labelled.folder / "report.html"
    text = labelled.page.read_text()
    assert "untrained network" in text and "raw pixels" in text
    assert list((labelled.folder / "report").glob("*.png"))


def test_the_same_call_on_a_finished_run_changes_no_number(labelled):
    metrics = (labelled.folder / "metrics.jsonl").read_bytes()
    run = ssljax.pretrain(
        CONFIG, labelled.folder, train=labelled.train, test=labelled.test, quiet=True
    )
    assert run.steps == labelled.run.steps
    assert (labelled.folder / "metrics.jsonl").read_bytes() == metrics


def test_a_run_is_not_resumed_with_a_different_config(labelled):
    before = files_of(labelled.folder)
    other = replace(CONFIG, seed=9)
    with pytest.raises(ConfigError, match="seed: 0 -> 9"):
        ssljax.pretrain(other, labelled.folder, train=labelled.train, quiet=True)
    assert files_of(labelled.folder) == before


@pytest.mark.slow
def test_without_labels_there_is_no_accuracy_anywhere(unlabelled):
    for record in unlabelled.records:
        assert not [key for key in record if "acc" in key or "probe" in key], record
    assert [r["step"] for r in unlabelled.records if "spectrum/rankme" in r]
    assert "accuracy" not in (unlabelled.folder / "metrics.csv").read_text()
    rows = unlabelled.rows
    assert [row["representation"] for row in rows] == [
        *["encoder"] * 2,
        *["untrained network"] * 2,
        "raw pixels",
    ]
    for row in rows:
        assert row["accuracy"] is None
        assert row["protocol"] in ("spectrum (no labels)", "spectrum projections")
    assert "%" not in unlabelled.table.split("\n", 1)[1]


@pytest.mark.slow
def test_without_labels_a_report_is_built(unlabelled):
    text = unlabelled.page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert list((unlabelled.folder / "report").glob("*.png"))


@pytest.mark.slow
def test_labels_do_not_reach_the_encoder(labelled, unlabelled):
    a, b = restore(labelled.folder).state, restore(unlabelled.folder).state
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_supervised_needs_labels_and_leaves_no_folder(tmp_path):
    train = images_of(TRAIN, labelled=False, seed=0)
    config = replace(CONFIG, method=MethodConfig("supervised"))
    with pytest.raises(ConfigError, match="'supervised', which needs labels"):
        ssljax.pretrain(config, tmp_path / "run", train=train, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_data_json_gets_a_message_with_advice(tmp_path, labelled):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text((labelled.folder / "config.json").read_text())
    with pytest.raises(ConfigError, match="data.json is missing or damaged"):
        ssljax.load_encoder(folder)
    (folder / "data.json").write_text((labelled.folder / "data.json").read_text())
    with pytest.raises(ConfigError, match="has no checkpoint yet"):
        ssljax.load_encoder(folder)


def test_arrays_and_names_in_place_of_sources_and_configs_are_refused(tmp_path):
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match="train is a ndarray.*from_arrays"):
        ssljax.pretrain(CONFIG, tmp_path / "run", train=images)
    with pytest.raises(ConfigError, match="config is 'recipe.py'; allowed: a Config"):
        ssljax.pretrain("recipe.py", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_on_different_images(labelled):
    before = files_of(labelled.folder)
    other = images_of(TRAIN, labelled=True, seed=99)
    with pytest.raises(ConfigError, match="trained on different data \\(fingerprint"):
        ssljax.pretrain(
            CONFIG, labelled.folder, train=other, test=labelled.test, quiet=True
        )
    assert files_of(labelled.folder) == before

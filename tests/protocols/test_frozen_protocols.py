"""Protocols on frozen features: what they say, and what they must not touch."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from contents import contents
from faulty import on_the_page
from shapes_run import trained, write_images

from ssljax.commands.main import main
from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays, load
from ssljax.protocols import evaluate as dispatch
from ssljax.protocols.evaluate import evaluate
from ssljax.protocols.settings import PROTOCOLS
from ssljax.runs.digest import digest
from ssljax.runs.encoder import load_encoder, restore

pytestmark = pytest.mark.slow
LIDAR = {"lidar_images": 8, "lidar_views": 3}
QUICK = LIDAR | {"shots": [1, 2], "draws": 3, "epochs": 1.0, "fractions": [0.5]}
TRAINED = {"linear_sgd", "semi_supervised", "finetune"}  # see test_trained.py


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with four checkpoints, and a folder of three colours to transfer to."""
    root = tmp_path_factory.mktemp("frozen")
    trained(root / "run")
    write_images(root / "colours" / "train", 12, seed=0)
    write_images(root / "colours" / "test", 5, seed=1)
    return root


@pytest.fixture
def run(kept, tmp_path):
    """A copy of the run, which a test may write into."""
    return shutil.copytree(kept / "run", tmp_path / "run")


@pytest.fixture(scope="module")
def everything(kept, tmp_path_factory):
    """All rows of all protocols here, with what the folder held before and after."""
    folder = shutil.copytree(kept / "run", tmp_path_factory.mktemp("all") / "run")
    before = contents(folder / "checkpoints")
    table = evaluate(
        folder,
        protocols=["knn", "spectrum", "online", "layers", "transfer", "scores"],
        transfer_data=[str(kept / "colours")],
        **QUICK,
    )
    return table.records, before, contents(folder / "checkpoints")


def of(records, kind, representation=None):
    return [
        row
        for row in records
        if row["protocol"].split(" ")[0] == kind
        and representation in (None, row["representation"])
    ]


def test_every_row_is_labelled(everything):
    records, _, _ = everything
    kinds = {row["protocol"].split(" ")[0] for row in records}
    assert kinds == {*PROTOCOLS, "majority"} - {"linear", "knn_euclidean"} - TRAINED
    for row in records:
        assert row["split"] and row["train_examples"] and row["test_examples"]
        assert row["seed"] == 0 and row["detail"], row
        if row["accuracy"] is not None and row["representation"] != "majority class":
            assert "searched" in row["detail"] or "chosen" in row["detail"], row
            assert "augment" in row["detail"], row
    # Each split once, whatever the number of protocols.
    splits = [row["split"] for row in of(records, "majority")]
    assert sorted(splits) == ["folder:colours (test)", "test"]


def test_no_protocol_changes_a_byte_of_the_checkpoints(everything):
    _, before, after = everything
    assert before == after and before


@pytest.mark.parametrize("name", [*dispatch._MODULES, "knn", "linear", "spectrum"])
def test_no_protocol_changes_the_encoder_in_memory(kept, tmp_path, monkeypatch, name):
    folder = shutil.copytree(kept / "run", tmp_path / "run")
    used = []

    def remembered(*args, **options):
        used.append(restore(*args, **options))
        return used[-1]

    monkeypatch.setattr(dispatch, "restore", remembered)
    more = {"transfer_data": [str(kept / "colours")]} if name == "transfer" else {}
    before = digest(restore(folder).state)
    evaluate(folder, protocols=[name], **QUICK, **more)
    assert digest(used[0].state) == before == digest(restore(folder).state)


def test_the_same_call_gives_the_same_number_three_times(run, everything, kept):
    first, _, _ = everything
    for _ in range(2):
        again = evaluate(
            run,
            protocols=["knn", "spectrum", "online", "layers", "transfer", "scores"],
            transfer_data=[str(kept / "colours")],
            **QUICK,
        )
        assert again.records == first


def swapped(source, seed=0):
    """Return a source with its labels in another order."""
    labels = np.random.default_rng(seed).permutation(source.labels)
    return replace(source, labels=labels, read=lambda i: (source.images[i], labels[i]))


def test_test_labels_choose_nothing(run):
    train = load("shapes", image_size=12, examples=48)
    test = load("shapes", split="test", image_size=12, examples=36)
    found = [
        evaluate(
            run,
            protocols=["linear", "layers", "scores"],
            train=train,
            test=each,
            **QUICK,
        )
        for each in (test, swapped(test))
    ]
    changed = 0
    for one, other in zip(*(table.records for table in found), strict=True):
        changed += one["accuracy"] != other["accuracy"]
        if not one["protocol"].endswith("by accuracy"):
            # What was chosen, with its accuracy on the held-out training images.
            assert one["detail"] == other["detail"]
    assert changed


def test_the_probe_of_pretraining_is_the_one_in_the_checkpoint(everything, kept):
    records, _, _ = everything
    (row,) = of(records, "online")
    restored = restore(kept / "run")
    test = load("shapes", split="test", image_size=12, examples=36)
    features = np.asarray(load_encoder(kept / "run")(test.images), np.float64)
    probe = jax.device_get(restored.state.probe["params"])
    logits = features @ probe["kernel"] + probe["bias"]
    assert row["accuracy"] == round(100 * np.mean(logits.argmax(1) == test.labels), 2)
    assert row["train_examples"] == 48 and "8 steps" in row["detail"]


def test_another_set_of_classes_is_not_the_probes(run, kept):
    table = evaluate(run, protocols=["online"], data=str(kept / "colours"))
    (row,) = table.records
    assert row["accuracy"] is None
    assert row["detail"] == "left out: the probe knows the 12 classes of shapes"


def test_a_run_without_probe_says_so(tmp_path):
    folder = trained(tmp_path / "run", epochs=1, probe=False, projector="none")
    table = evaluate(folder, protocols=["online", "layers"])
    online, layers = table.records[:2]
    assert online["accuracy"] is None and "has no probe" in online["detail"]
    # Without projector there is nothing but the features.
    assert [r["representation"] for r in table.records[1:]] == [
        "encoder",
        "majority class",
    ]
    assert layers["accuracy"] is not None


def test_every_layer_is_probed_as_the_features_are(everything, kept):
    records, _, _ = everything
    rows = of(records, "layers")
    assert [row["representation"] for row in rows] == [
        "encoder",
        "projector layer 1 (BatchNorm, ReLU)",
        "projector layer 2 (BatchNorm, ReLU)",
        "projector layer 3 (BatchNorm)",
    ]
    widths = [int(row["detail"].split("; ")[-1].split(" ")[0]) for row in rows]
    assert widths == [4, 8, 6, 4]


def test_transfer_has_the_baselines_and_the_interval(everything):
    records, _, _ = everything
    rows = of(records, "transfer")
    names = ["encoder", "untrained network", "raw pixels"]
    assert list(dict.fromkeys(row["representation"] for row in rows)) == names
    protocols = [row["protocol"].split(" (")[0] for row in rows[:3]]
    assert protocols == ["transfer linear", "transfer 1-shot", "transfer 2-shot"]
    linear, one, two = (row for row in rows if row["representation"] == "raw pixels")
    assert (linear["train_examples"], one["train_examples"]) == (36, 3)
    # The colours are plain to see.
    assert linear["accuracy"] == 100 and two["accuracy"] >= one["accuracy"] > 80
    assert one["detail"].startswith(f"± {one['interval']:.2f} (95 % interval)")
    assert linear["interval"] is None


def test_classes_with_too_few_images_are_a_row_that_says_so(run, kept):
    table = evaluate(
        run,
        protocols=["transfer"],
        transfer_data=[str(kept / "colours")],
        shots=[12, 13],
        draws=1,
    )
    (one, left_out) = of(table.records, "transfer", "encoder")[1:]
    assert one["accuracy"] is not None and "mean of 1 draw of 12" in one["detail"]
    assert left_out["accuracy"] is None and left_out["detail"] == (
        "left out: class 0 (and 2 others) has only 12 training images, fewer than 13"
    )


def test_results_of_several_sets_are_kept_together(run, kept, tmp_path):
    write_images(tmp_path / "two" / "train", 10, seed=2, colours=("blue", "red"))
    write_images(tmp_path / "two" / "test", 3, seed=3, colours=("blue", "red"))
    evaluate(run, protocols=["knn"], k=[1])
    for name in (kept / "colours", tmp_path / "two", kept / "colours"):
        evaluate(
            run, protocols=["transfer"], transfer_data=[str(name)], shots=[1], draws=1
        )
    rows = json.loads((run / "evaluation.json").read_text())["rows"]
    splits = {row["split"] for row in rows if row["protocol"][:8] == "transfer"}
    assert splits == {"folder:colours (test)", "folder:two (test)"}
    assert len(of(rows, "transfer", "encoder")) == 4
    assert len(of(rows, "knn", "encoder")) == 1 and len(of(rows, "majority")) == 3


def test_scores_rank_the_checkpoints(everything):
    records, _, _ = everything
    rows = of(records, "scores")
    names = ["step 2", "step 4", "step 6", "step 8", "rank correlation"]
    assert list(dict.fromkeys(row["representation"] for row in rows)) == names
    assert len(of(rows, "scores", "step 4")) == 3
    said = of(rows, "scores", "rank correlation")
    titles = ("RankMe", "effective rank", "participation", "closeness", "LiDAR")
    for row, title in zip(said, titles, strict=True):
        assert row["detail"].startswith(title)
        assert (
            "with linear: " in row["detail"] and "over 4 checkpoints" in row["detail"]
        )


def test_the_spectrum_says_whether_the_projections_collapsed(everything):
    records, _, _ = everything
    for name in ("encoder", "untrained network"):
        of_features, of_projections = of(records, "spectrum", name)
        assert "LiDAR" in of_features["detail"]
        assert "(8 images with 3 augmented views)" in of_features["detail"]
        assert of_projections["protocol"] == "spectrum projections"
        assert "collapse; deviation per dimension" in of_projections["detail"]
    (pixels,) = of(records, "spectrum", "raw pixels")
    assert "LiDAR" not in pixels["detail"]


def test_the_seed_draws_anew_and_is_shown(run):
    tables = [
        evaluate(run, protocols=["spectrum", "knn"], seed=seed, **LIDAR)
        for seed in (None, 5)
    ]
    # That of the run where none is set.
    for table, seed in zip(tables, (0, 5), strict=True):
        assert {row["seed"] for row in table.records} == {seed}
        (row, _) = of(table.records, "spectrum", "encoder")
        assert ("LiDAR" in row["detail"]) and row["test_examples"] == 36
    details = [[row["detail"] for row in table.records] for table in tables]
    assert details[0] != details[1]


def test_neighbours_and_temperature_can_be_chosen(run, capsys):
    words = [
        "--protocol",
        "knn",
        "--k",
        "3",
        "7",
        "--temperature",
        "0.5",
        "--seed",
        "9",
    ]
    assert main(["evaluate", str(run), *words]) == 0
    out = capsys.readouterr().out
    assert "knn k=3 (cosine, T=0.5)" in out and "knn k=7 (cosine, T=0.5)" in out
    rows = json.loads((run / "evaluation.json").read_text())["rows"]
    assert {row["seed"] for row in rows} == {9}


def unlabelled(folder):
    """Write images without classes."""
    for seed, split in enumerate(("train", "test")):
        write_images(folder / split, 6, seed=seed, colours=("blue",))
        for photo in (folder / split / "blue").iterdir():
            photo.rename(folder / split / photo.name)
        (folder / split / "blue").rmdir()
    return folder


TRANSFER = ["--protocol", "transfer", "--transfer-data"]


@pytest.mark.parametrize(
    "words",
    [
        ["--protocol", "knn", "--data", "PLAIN"],
        [*TRANSFER, "PLAIN"],
        ["--protocol", "transfer"],
        TRANSFER[2:] + ["shapes"],
        [*TRANSFER, "cifar01"],
        ["--k", "0"],
        [*TRANSFER, "shapes", "--shots", "0"],
        ["--temperature", "0"],
        ["--lidar-views", "1"],
        ["--draws", "0"],
        ["--seed", "-1"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_evaluated_is_one_line(run, tmp_path, capsys, words):
    if "PLAIN" in words:
        plain = str(unlabelled(tmp_path / "plain"))
        words = [plain if word == "PLAIN" else word for word in words]
    assert main(["evaluate", str(run), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert on_the_page(err.rstrip(), 2, {"folder:plain": "NAME"}), err
    assert not (run / "evaluation.json").exists()


def test_without_labels_the_default_is_the_spectrum(run, tmp_path, capsys):
    plain = str(unlabelled(tmp_path / "plain"))
    words = ["--lidar-images", "4", "--lidar-views", "2"]
    assert main(["evaluate", str(run), "--data", plain, *words]) == 0
    out = capsys.readouterr().out
    assert "spectrum (no labels)" in out and "LiDAR" in out and "knn" not in out


def test_grey_sets_are_refused(run, monkeypatch):
    from ssljax.protocols import transfer

    grey = from_arrays(np.zeros((4, 12, 12, 1), np.uint8), [0, 1, 0, 1], name="mnist")
    monkeypatch.setattr(transfer, "evaluation_images", lambda *_: (grey, grey))
    with pytest.raises(ConfigError) as refused:
        evaluate(run, protocols=["transfer"], transfer_data=["mnist"])
    assert on_the_page(str(refused.value), 2, {"mnist": "NAME"})


def test_too_few_checkpoints_are_refused(run, capsys):
    for step in (2, 4):
        shutil.rmtree(run / "checkpoints" / str(step))
    assert main(["evaluate", str(run), "--protocol", "scores"]) == 2
    err = capsys.readouterr().err
    assert on_the_page(err.rstrip(), 2, {run: "DIR"}) and err.count("\n") == 1

"""`ssljax export`: what it writes, and that it refuses an encoder that differs."""

import dataclasses
import json
import pickle
import shutil
import sys
from html import escape
from pathlib import Path

import flax.linen as nn
import numpy as np
import pytest
import yaml
from contents import contents
from encoders import described, drawn, old_run

import ssljax
from ssljax.commands.main import main
from ssljax.config.checks import ConfigError
from ssljax.exports import (
    comparison,
    exporting,
    formats,
    onnx_graph,
    reference,
    torch_module,
)
from ssljax.exports.comparison import generated
from ssljax.exports.extras import installed
from ssljax.exports.load import description_of
from ssljax.exports.operations import operations
from ssljax.runs.encoder import load_encoder as of_run
from ssljax.runs.encoder import restore

NEEDS = {
    "torch": ["torch"],
    "safetensors": ["safetensors"],
    "onnx": ["onnx", "onnxruntime"],
    "flax": [],
    "timm": ["safetensors"],
    "detectron2": [],
}
OF_ANY_NETWORK = ["torch", "safetensors", "onnx", "flax"]


def skip_without(name):
    for package in NEEDS[name]:
        if not installed(package):
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return old_run(tmp_path_factory.mktemp("exports"))


@pytest.fixture
def restored_once(run, monkeypatch, _restored):
    """Restoring takes longer than the rest of an export."""
    monkeypatch.setattr(exporting, "restore", lambda *_, **__: _restored)


@pytest.fixture(scope="module")
def _restored(run):
    return restore(run)


@pytest.mark.parametrize("name", OF_ANY_NETWORK)
def test_a_run_is_exported_and_checked(run, tmp_path, name):
    skip_without(name)
    folder = ssljax.export(run, format=name, out=tmp_path / "out", license="mit")
    file = formats.get(name).file
    assert {p.name for p in folder.iterdir()} == {file, "README.md", "ssljax.json"}
    record = json.loads((folder / "ssljax.json").read_text())
    assert record["checked"]["difference"] < 1e-5
    assert record["checked"]["images"] == "8 of shapes (test)"
    assert record["format"] == name and record["license"] == "mit"
    assert description_of(folder) == exporting.describe_run(restore(run))
    assert record["origin"]["step"] == 6 and record["config"]["seed"] == 0
    assert isinstance(folder, Path) and folder.record == record
    assert [each["file"] for each in folder.records] == list(record["files"])
    assert folder.records[0]["bytes"] == (folder / file).stat().st_size
    page = folder._repr_html_()
    assert f"<th>{folder}</th>" in page and escape(record["checked"]["against"]) in page
    assert (folder / file)._repr_html_() is None


@pytest.mark.parametrize("name", ["safetensors", "flax"])
def test_an_export_gives_the_features_of_its_run(run, tmp_path, name):
    skip_without(name)
    folder = ssljax.export(run, format=name, out=tmp_path / "out")
    images, _ = generated(20, 3)
    ours, theirs = of_run(run)(images), ssljax.load_encoder(folder)(images)
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ConfigError, match="name the run folder for untrained"):
        ssljax.load_encoder(folder, untrained=True)
    with pytest.raises(ValueError, match="allowed: uint8"):
        ssljax.load_encoder(folder)(images / 255)


def test_a_run_in_bfloat16_is_exported_and_checked_in_float32(tmp_path):
    run = old_run(tmp_path)
    text = (run / "config.json").read_text()
    assert '"dtype": "float32"' in text
    (run / "config.json").write_text(text.replace("float32", "bfloat16"))
    folder = ssljax.export(run, format="flax", out=tmp_path / "out")
    assert (
        json.loads((folder / "ssljax.json").read_text())["checked"]["difference"] == 0
    )
    images, _ = generated(12, 3)
    exact, rounded = ssljax.load_encoder(folder)(images), of_run(run)(images)
    difference = np.abs(np.asarray(exact) - np.asarray(rounded)).max()
    assert 1e-4 < difference / np.abs(exact).max() < 0.05


def test_the_card_is_read_as_hugging_face_does(run, tmp_path):
    folder = ssljax.export(run, format="flax", out=tmp_path, license="apache-2.0")
    text = (folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["license"] == "apache-2.0" and card["library_name"] == "ssljax"
    assert card["tags"] == ["self-supervised-learning", "byol", "micro", "flax"]
    (model,) = card["model-index"]
    found = {
        metric["name"]: metric["value"]
        for result in model["results"]
        for metric in result["metrics"]
    }
    assert found["knn k=20 (cosine, T=0.1)"] == 14.58
    digest = json.loads((folder / "ssljax.json").read_text())["origin"]["config_digest"]
    for fact in ("byol", "shapes", "14.58 %", digest, "features within", "12 pixels"):
        assert fact in body, fact


def test_results_of_another_step_are_left_out(run, monkeypatch):
    restored = dataclasses.replace(restore(run), step=5)
    origin = exporting.origin_of(restored, exporting.RunFolder(run))
    assert origin.results == () and origin.step == 5


def test_safetensors_describe_themselves(run, tmp_path):
    pytest.importorskip("safetensors")
    from safetensors import safe_open  # pyright: ignore[reportMissingImports]

    folder = ssljax.export(run, out=tmp_path)
    with safe_open(folder / "model.safetensors", "numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert metadata["format"] == "pt"
    assert json.loads(metadata["ssljax"])["arch"] == "micro"
    assert {"conv1.weight", "layer1.0.bn2.running_var"} <= names


# Planted faults.


def tampered(variables, fault):
    params = {name: dict(each) for name, each in variables["params"].items()}
    stats = {name: dict(each) for name, each in variables["batch_stats"].items()}
    if fault == "kernel transposed":
        kernel = params["conv1"]["kernel"]
        params["conv1"] = {"kernel": np.ascontiguousarray(kernel.swapaxes(0, 1))}
    if fault == "kernel's channels swapped":
        conv = params["layer1_0"]["conv2"]
        swapped = np.ascontiguousarray(conv["kernel"].swapaxes(2, 3))
        params["layer1_0"] = params["layer1_0"] | {"conv2": {"kernel": swapped}}
    if fault == "mean and variance swapped":
        was = stats["bn1"]
        stats["bn1"] = {"mean": was["var"], "var": np.abs(was["mean"])}
    return {"params": params, "batch_stats": stats}


@pytest.mark.parametrize("name", OF_ANY_NETWORK)
@pytest.mark.parametrize(
    "fault",
    [
        "wrong padding",
        "kernel transposed",
        "kernel's channels swapped",
        "mean and variance swapped",
        "nothing",
    ],
)
def test_a_planted_fault_is_refused(
    run, tmp_path, monkeypatch, restored_once, name, fault
):
    skip_without(name)
    chosen = formats.get(name)

    def write(description, variables):
        return chosen.write(description, tampered(variables, fault))

    monkeypatch.setitem(formats.FORMATS, name, chosen._replace(write=write))
    if fault == "wrong padding":
        real = exporting.describe_run
        wrong = lambda run: dataclasses.replace(real(run), stem_padding=0)  # noqa: E731
        monkeypatch.setattr(exporting, "describe_run", wrong)
    out = tmp_path / "out"
    if fault == "nothing":
        assert ssljax.export(run, format=name, out=out) == out
        return
    with pytest.raises(ConfigError, match=r"nothing was written: .* differs from ours"):
        ssljax.export(run, format=name, out=out)
    assert list(tmp_path.iterdir()) == []


def compared(name, description):
    """Compare a format with our network, as an export does."""
    variables = drawn(description)
    images, _ = generated(description.size, 3)
    inputs = comparison.preprocess(
        images, size=description.size, mean=description.mean, std=description.std
    )
    ours = comparison.our_features(description.encoder(), variables, inputs)
    chosen = formats.get(name)
    theirs, _ = chosen.run(description, chosen.write(description, variables), inputs)
    return comparison.compare(ours, theirs, against=name, images="")


def misread(description, fault):
    """Return the operations with a fault that people made before."""
    steps = operations(description)
    if fault == "no max-pool":
        return [
            step._replace(kernel=1, padding=0) if step.kind == "max_pool" else step
            for step in steps
        ]
    if fault == "stride in the 1x1":
        strides = {"layer2.0.conv1": 2, "layer2.0.conv2": 1}
        return [
            step._replace(stride=strides.get(step.conv, step.stride)) for step in steps
        ]
    return steps


@pytest.mark.parametrize("name", ["safetensors", "onnx", "torch"])
@pytest.mark.parametrize("fault", ["epsilon", "no max-pool", "stride in the 1x1"])
def test_a_planted_fault_of_a_reading_is_refused(name, fault, monkeypatch):
    skip_without(name)
    description = described(stem="medium")
    for module in (reference, onnx_graph, torch_module):
        monkeypatch.setattr(module, "operations", lambda d: misread(d, fault))
        if fault == "epsilon":
            monkeypatch.setattr(module, "EPSILON", 1e-3)
    with pytest.raises(ConfigError, match="differs from ours"):
        compared(name, description)


@pytest.mark.slow
def test_padding_on_one_side_would_be_found(monkeypatch):
    """As of "SAME" for stride 2, in our own network."""
    pytest.importorskip("safetensors")

    def same(features, kernel, stride, padding=None, *, dtype, name):
        window, strides = (kernel, kernel), (stride, stride)
        return nn.Conv(features, window, strides, use_bias=False, name=name)

    assert compared("safetensors", described(size=20)).difference < 1e-5
    module = sys.modules["ssljax.models.resnet"]  # the package has a function
    monkeypatch.setattr(module, "_conv", same)
    # Of another size, since compiled programs are kept.
    with pytest.raises(ConfigError, match="differs from ours by [0-9.]+e-0[12]"):
        compared("safetensors", described(size=24))


def test_without_torch_the_arrays_are_run_as_torch_would(run, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    monkeypatch.setattr(formats, "installed", lambda package: False)
    folder = ssljax.export(run, out=tmp_path)
    checked = json.loads((folder / "ssljax.json").read_text())["checked"]
    assert checked["against"] == "a forward pass in torch's conventions"


@pytest.mark.parametrize("features", [np.zeros((2, 3)), np.full((2, 3), np.nan)])
def test_features_that_say_nothing_are_refused(features):
    with pytest.raises(ConfigError, match="cannot be checked"):
        comparison.compare(features, features, against="", images="")


def test_a_nan_of_the_exported_network_is_refused():
    ours = np.ones((2, 3), np.float32)
    with pytest.raises(ConfigError, match="differs from ours by inf"):
        comparison.compare(ours, ours * np.nan, against="x", images="y")


# Folders.


def test_an_earlier_export_is_replaced_and_nothing_else(run, tmp_path):
    out = tmp_path / "out"
    ssljax.export(run, format="flax", out=out)
    (out / "left").touch()
    ssljax.export(run, format="flax", out=out, license="mit")
    assert not (out / "left").exists() and "mit" in (out / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "photo.jpg").touch()
    with pytest.raises(ConfigError, match="not empty and holds no export"):
        ssljax.export(run, format="flax", out=other)


def test_by_default_it_goes_into_the_run_folder(run, capsys):
    assert main(["export", str(run), "--format", "flax"]) == 0
    assert f"{run}/export/flax/encoder.msgpack" in capsys.readouterr().out


def test_a_damaged_export_is_refused(run, tmp_path):
    folder = ssljax.export(run, format="flax", out=tmp_path)
    path = folder / "encoder.msgpack"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="differs from the digest"):
        ssljax.load_encoder(folder)
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read .*; export it again"):
        ssljax.load_encoder(folder)
    (folder / "ssljax.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no export"):
        ssljax.load_encoder(folder)


def test_an_export_of_an_unknown_network_is_refused(run, tmp_path):
    folder = ssljax.export(run, format="flax", out=tmp_path)
    record = json.loads((folder / "ssljax.json").read_text())
    for change, line in (
        ({"arch": "resnet19"}, "this version does not know"),
        ({"mean": "x"}, "this version does not know"),
        ({"size": 0}, "this version does not know"),
    ):
        changed = record | {"encoder": record["encoder"] | change}
        (folder / "ssljax.json").write_text(json.dumps(changed))
        with pytest.raises(ConfigError, match=line):
            ssljax.load_encoder(folder)
    del record["encoder"]["std"]
    (folder / "ssljax.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="no 'std'"):
        ssljax.load_encoder(folder)


# Bad input: one line, exit code 2, nothing written.


def one_line(capfd, *words):
    capfd.readouterr()
    code = main(["export", *map(str, words)])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "") and err.count("\n") == 1, err
    return err


def test_bad_input_is_one_line(run, tmp_path, capfd, monkeypatch):
    before = contents(run)
    line = one_line(capfd, run, "--format", "onxx")
    assert (
        "allowed: torch, safetensors, onnx" in line and "did you mean 'onnx'?" in line
    )
    assert "holds no run" in one_line(capfd, tmp_path / "nowhere")
    assert "no checkpoint of step 3" in one_line(capfd, run, "--checkpoint", 3)
    line = one_line(capfd, run, "--format", "timm")
    assert "timm does not have a micro; use --format torch" in line
    assert "write ORG/NAME" in one_line(capfd, run, "--push", "name")
    monkeypatch.setitem(sys.modules, "torch", None)
    line = one_line(capfd, run, "--format", "torch")
    assert "pip install 'ssljax[torch]'" in line and "use --format safetensors" in line
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    line = one_line(capfd, run, "--format", "safetensors")
    assert "pip install 'ssljax[export]'" in line and "--format flax" in line
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "ssljax[export]" in one_line(capfd, run, "--format", "onnx")
    assert contents(run) == before


def test_a_run_without_a_checkpoint_is_refused(run, tmp_path, capfd):
    folder = old_run(tmp_path)
    shutil.rmtree(folder / "checkpoints")
    assert "has no checkpoint yet" in one_line(capfd, folder, "--format", "flax")


@pytest.mark.parametrize(
    ("description", "why"),
    [
        (described("resnet18", "small"), "a ResNet with a small stem"),
        (described("resnet18", "large", stem_padding=1), ".* otherwise than by 3"),
        (described("resnet18", "large", width=2.0), "a ResNet of width 2"),
        (described("resnet_tiny", "large"), "a resnet_tiny"),
    ],
)
@pytest.mark.parametrize("name", ["timm", "detectron2"])
def test_networks_that_the_other_library_has_not(name, description, why):
    with pytest.raises(ConfigError, match=f"{name} does not have {why}"):
        formats.check_network(name, description)


def test_detectron2_reads_names_and_arrays_from_a_pickle(monkeypatch):
    description = described(stem="large")
    variables = drawn(description)
    content = formats.get("detectron2").write(description, variables)
    found = pickle.loads(content)
    assert found["matching_heuristics"] is True
    kernel = variables["params"]["layer2_0"]["downsample_conv"]["kernel"]
    shortcut = found["model"]["res3.0.shortcut.weight"]
    np.testing.assert_array_equal(shortcut, kernel.transpose(3, 2, 0, 1))
    inputs = np.ones((1, 16, 16, 3), np.float32) * np.arange(16)[:, None, None] / 16
    inputs = inputs.astype(np.float32)
    theirs, _ = formats.get("detectron2").run(description, content, inputs)
    ours = comparison.our_features(description.encoder(), variables, inputs)
    assert comparison.compare(ours, theirs, against="", images="").difference < 1e-5

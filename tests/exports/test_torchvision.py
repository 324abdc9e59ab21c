"""Whole ResNets in torchvision and timm themselves, on the CPU, where they are.

``python -m pytest -m slow -rP tests/exports/test_torchvision.py`` prints the measured
differences.
"""

import functools

import jax
import numpy as np
import pytest
from encoders import described, drawn, images_for

from ssljax.exports import formats, onnx_graph, torch_module
from ssljax.exports.card import usage
from ssljax.exports.comparison import TOLERANCE, our_features
from ssljax.exports.exporting import timm_config
from ssljax.exports.folder import sha256
from ssljax.exports.names import from_torch, to_torch

pytestmark = pytest.mark.slow

CASES = [
    ("resnet18", "small", 32),
    ("resnet18", "small", 96),
    ("resnet18", "medium", 96),
    ("resnet18", "large", 32),
    ("resnet18", "large", 96),
    ("resnet18", "large", 224),
    ("resnet50", "small", 32),
    ("resnet50", "large", 96),
    ("resnet50", "large", 224),
]


@pytest.fixture
def torchvision():
    pytest.importorskip("torch")
    return pytest.importorskip("torchvision")


@functools.cache
def network(arch, stem, size):
    description = described(arch, stem, size)
    return description, drawn(description)


def ours_and_difference(description, variables, run):
    images = images_for(description, count=2)
    ours = our_features(description.encoder(), variables, images)
    theirs = run(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
    assert theirs.shape == ours.shape
    return (np.abs(theirs - ours).max(1) / np.abs(ours).max(1)).max()


def of_torchvision(torchvision, arch, stem):
    """Return torchvision's own network with the changes that a model card shows."""
    import torch  # pyright: ignore[reportMissingImports]

    model = getattr(torchvision.models, arch)()
    model.fc = torch.nn.Identity()
    if stem != "large":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    if stem == "small":
        model.maxpool = torch.nn.Identity()
    return model


@pytest.mark.parametrize(("arch", "stem", "size"), CASES)
def test_features_in_torchvision(torchvision, arch, stem, size):
    description, variables = network(arch, stem, size)
    model = of_torchvision(torchvision, arch, stem)
    content = formats.get("torch").write(description, variables)
    arrays = torch_module.read(formats.io.BytesIO(content))
    run = functools.partial(torch_module.run_strictly, model, arrays)
    worst = ours_and_difference(description, variables, run)
    print(f"{arch}, {stem} stem, {size} px, torchvision: {worst:.1e}")
    assert worst <= TOLERANCE
    # And back, from torchvision's own state.
    state = {name: x.numpy() for name, x in model.state_dict().items()}
    back = from_torch(state, description)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    assert to_torch(back).keys() == state.keys()


@pytest.mark.parametrize(
    "description",
    [
        described("resnet18", "small", 32, stem_padding=2),
        described("resnet18", "medium", 64),
        described("resnet18", "large", 64, channels=1),
        described("resnet18", "large", 64),
        described("resnet_tiny", "small", 32, width=0.5),
    ],
    ids=["small, padded", "medium", "grey", "large", "tiny, narrow"],
)
@pytest.mark.parametrize("name", ["torch", "safetensors"])
def test_the_lines_of_the_card_load_the_file(
    torchvision, tmp_path, monkeypatch, description, name
):
    import torch  # pyright: ignore[reportMissingImports]

    pytest.importorskip("safetensors")
    variables, chosen = drawn(description), formats.get(name)
    content = chosen.write(description, variables)
    record = {"format": name, "encoder": description.as_object()}
    record["files"] = {chosen.file: sha256(content)}
    (tmp_path / chosen.file).write_bytes(content)
    (tmp_path / "ssljax.json").write_text(formats.json.dumps(record))
    monkeypatch.chdir(tmp_path)
    _, *lines, _ = usage(name, chosen.file, description)
    names: dict = {}
    exec("\n".join(lines), names)

    def run(images):
        with torch.no_grad():
            return names["model"].eval()(torch.from_numpy(images)).numpy()

    assert ours_and_difference(description, variables, run) <= TOLERANCE


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 96), ("resnet50", 224)])
def test_torchvisions_own_weights_come_here(torchvision, arch, size):
    """From there to here and back: what their initialisation draws."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    model = of_torchvision(torchvision, arch, "large")
    state = {name: x.numpy().copy() for name, x in model.state_dict().items()}
    description = described(arch, "large", size)
    variables = from_torch(state, description)
    run = functools.partial(torch_module.run_strictly, model, state)
    assert ours_and_difference(description, variables, run) <= TOLERANCE
    back = to_torch(variables)
    assert back.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 96), ("resnet50", 224)])
def test_timm_loads_strictly_and_a_folder_by_itself(arch, size, tmp_path):
    timm = pytest.importorskip("timm")
    pytest.importorskip("safetensors")
    import torch  # pyright: ignore[reportMissingImports]

    description, variables = network(arch, "large", size)
    chosen = formats.get("timm")
    content = chosen.write(description, variables)

    def run(images):
        found, against = chosen.run(description, content, np.moveaxis(images, 1, -1))
        assert against == "timm"  # which loads with strict=True
        return found

    worst = ours_and_difference(description, variables, run)
    print(f"{arch}, large stem, {size} px, timm: {worst:.1e}")
    assert worst <= TOLERANCE
    (tmp_path / "model.safetensors").write_bytes(content)
    config = formats.json.dumps(timm_config(description))
    (tmp_path / "config.json").write_text(config)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert tuple(model.default_cfg["mean"]) == description.mean
    assert tuple(model.default_cfg["input_size"]) == (3, size, size)

    def of_folder(images):
        with torch.no_grad():
            return model(torch.from_numpy(images)).numpy()

    assert ours_and_difference(description, variables, of_folder) <= TOLERANCE


@pytest.mark.parametrize(("arch", "stem", "size"), [CASES[0], CASES[-1]])
def test_features_in_onnxruntime(arch, stem, size):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    description, variables = network(arch, stem, size)
    content = onnx_graph.to_bytes(description, to_torch(variables))
    for count in (1, 7):
        images = images_for(description, count)
        ours = our_features(description.encoder(), variables, images)
        theirs = onnx_graph.features(content, np.moveaxis(images, -1, 1))
        worst = (np.abs(theirs - ours).max(1) / np.abs(ours).max(1)).max()
        print(f"{arch}, {stem} stem, {size} px, ONNX, batch {count}: {worst:.1e}")
        assert theirs.shape == ours.shape and worst <= TOLERANCE

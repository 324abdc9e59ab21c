"""`ssljax import`: foreign names, what is refused, and a run folder that works."""

import fractions
import sys

import jax
import numpy as np
import pytest
from contents import contents
from encoders import described, drawn, old_run

import ssljax
from ssljax.commands.main import main
from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays
from ssljax.exports import formats, torch_module
from ssljax.exports.foreign import find_resnet, read_arrays
from ssljax.exports.names import to_torch
from ssljax.runs.encoder import restore
from ssljax.runs.folder import RunFolder

RESNET = list(to_torch(drawn(described())))


def file_of(prefix="", *others):
    names = [f"{prefix}{name}" for name in RESNET] + list(others)
    return {name: np.zeros(1) for name in names}


# Names that released checkpoints have.
KINDS = {
    "torchvision": (file_of("", "fc.weight", "fc.bias"), "", ("fc",)),
    "VICReg, Barlow Twins, released": (file_of(), "", ()),
    "Barlow Twins, in training": (
        file_of(
            "module.backbone.",
            "module.projector.0.weight",
            "module.bn.running_mean",
        ),
        "module.backbone.",
        ("projector", "bn"),
    ),
    "solo-learn": (
        file_of("backbone.", "projector.0.weight", "classifier.bias"),
        "backbone.",
        ("projector", "classifier"),
    ),
    "SimSiam": (
        file_of(
            "module.encoder.", "module.encoder.fc.0.weight", "module.predictor.3.b"
        ),
        "module.encoder.",
        ("fc", "predictor"),
    ),
    "compiled": (file_of("_orig_mod.model."), "_orig_mod.model.", ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_of_released_checkpoints_is_found(kind):
    arrays, prefix, dropped = KINDS[kind]
    found = find_resnet(arrays, where="FILE")
    assert (found.prefix, found.dropped) == (prefix, dropped)
    assert list(found.arrays) == RESNET


def test_one_of_two_networks_is_chosen_by_its_prefix():
    moco = file_of("module.encoder_q.") | file_of(
        "module.encoder_k.", "module.queue", "module.encoder_k.fc.0.weight"
    )
    with pytest.raises(
        ConfigError, match="holds 2 ResNets .*--prefix module.encoder_q."
    ):
        find_resnet(moco, where="FILE")
    found = find_resnet(moco, where="FILE", prefix="module.encoder_q.")
    assert list(found.arrays) == RESNET and found.dropped == ("encoder_k", "queue")
    byol = file_of("backbone.", "momentum_projector.0.weight") | file_of(
        "momentum_backbone."
    )
    found = find_resnet(byol, where="FILE", prefix="backbone.")
    assert found.dropped == ("momentum_projector", "momentum_backbone")


@pytest.mark.parametrize(
    ("arrays", "options", "line"),
    [
        ({"head.weight": np.zeros(1)}, {}, "holds no ResNet .* it has head.weight"),
        (file_of("", "mystery.0.weight"), {}, "1 arrays .* --drop mystery"),
        (file_of("a."), {"prefix": "b."}, "begins with 'b.'"),
    ],
)
def test_what_is_not_understood_is_refused(arrays, options, line):
    with pytest.raises(ConfigError, match=f"^FILE .*{line}"):
        find_resnet(arrays, where="FILE", **options)


def test_unknown_arrays_are_left_out_on_request():
    arrays = file_of("", "mystery.0.weight")
    found = find_resnet(arrays, where="FILE", drop=["mystery"])
    assert found.dropped == ("mystery",)


SETTINGS = ["--arch", "micro50", "--stem", "small", "--image-size", "16"]


@pytest.fixture(scope="module")
def safetensors_file(tmp_path_factory):
    package = pytest.importorskip("safetensors.numpy")
    place = tmp_path_factory.mktemp("foreign")
    arrays = to_torch(drawn(described()))
    arrays = {f"backbone.{name}": x for name, x in arrays.items()}
    arrays["projector.0.weight"] = np.zeros((2, 2), np.float32)
    package.save_file(arrays, place / "foreign.safetensors")
    return place / "foreign.safetensors"


@pytest.fixture(scope="module")
def imported(safetensors_file, tmp_path_factory):
    run = tmp_path_factory.mktemp("imported") / "run"
    assert (
        main(["import", str(safetensors_file), "--workdir", str(run), *SETTINGS]) == 0
    )
    return run


def test_an_imported_run_has_the_weights_of_the_file(imported, safetensors_file):
    found = restore(imported)
    want = drawn(described())
    jax.tree.map(
        np.testing.assert_array_equal, found.state.params["encoder"], want["params"]
    )
    jax.tree.map(
        np.testing.assert_array_equal,
        found.state.batch_stats["encoder"],
        want["batch_stats"],
    )
    (launch,) = RunFolder(imported).load_environment().launches
    origin = launch.extra["imported"]
    assert origin["file"] == str(safetensors_file) and len(origin["sha256"]) == 64
    assert (origin["prefix"], origin["dropped"]) == ("backbone.", ["projector"])
    assert launch.command[:2] == ("ssljax", "import")


@pytest.mark.slow
def test_an_imported_run_is_evaluated_and_exported(imported, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    source = from_arrays(images, rng.integers(0, 2, 40))
    table = ssljax.evaluate(imported, protocols=("knn",), train=source, test=source)
    assert "untrained network" in table
    features = np.asarray(ssljax.load_encoder(imported)(images))
    folder = ssljax.export(imported, format="flax", out=tmp_path / "out")
    np.testing.assert_array_equal(ssljax.load_encoder(folder)(images), features)
    card = (folder / "README.md").read_text()
    assert "| method | imported |" in card and "foreign.safetensors" in card
    # And in again: the export says itself what network it is.
    ssljax.import_weights(folder, tmp_path / "again")
    again = ssljax.load_encoder(tmp_path / "again")(images)
    np.testing.assert_array_equal(again, features)


def test_what_was_done_is_printed(safetensors_file, tmp_path, capsys):
    words = ["import", str(safetensors_file), "--workdir", str(tmp_path / "run")]
    assert main([*words, *SETTINGS, "--data", "cifar10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("micro50 with 1,872 parameters from ")
    assert lines[1:3] == ["prefix 'backbone.' removed", "left out: projector"]
    assert "of a forward pass in torch's conventions" in lines[3]
    assert lines[4] == f"next: ssljax evaluate {tmp_path / 'run'}"
    assert RunFolder(tmp_path / "run").load_config().data.name == "cifar10"


def test_a_network_that_is_read_wrongly_is_refused(
    safetensors_file, tmp_path, monkeypatch
):
    """Whatever the reason, our network must compute what torch computes."""
    module = sys.modules["ssljax.exports.importing"]
    real = module.from_torch

    def wrong(arrays, description, **options):
        found = real(arrays, description, **options)
        conv1 = found["params"]["conv1"]
        conv1["kernel"] = conv1["kernel"].swapaxes(0, 1)
        return found

    settings = {"arch": "micro50", "stem": "small", "image_size": 16}
    monkeypatch.setattr(module, "from_torch", wrong)
    with pytest.raises(ConfigError, match="differs from ours"):
        ssljax.import_weights(safetensors_file, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_bad_input_is_one_line(safetensors_file, imported, tmp_path, capfd):
    def refused(*words):
        capfd.readouterr()
        code = main(["import", *map(str, words)])
        out, err = capfd.readouterr()
        assert (code, out) == (2, "") and err.count("\n") == 1, err
        return err

    run = tmp_path / "run"
    assert "--workdir is missing" in refused(safetensors_file)
    assert "FILE is missing" in refused("--workdir", run)
    to = ("--workdir", run)
    assert "cannot be read (No such file" in refused(tmp_path / "no.safetensors", *to)
    assert "has an unknown type" in refused(tmp_path / "net.h5", *to)
    assert "is a folder without an export" in refused(tmp_path, *to)
    (tmp_path / "cut.safetensors").write_bytes(safetensors_file.read_bytes()[:-5])
    assert "not a whole safetensors file" in refused(tmp_path / "cut.safetensors", *to)
    line = refused(safetensors_file, *to, "--arch", "resnet18")
    assert "missing" in line and "fits" not in line
    assert "the file has the blocks of --arch micro50" in line
    assert "allowed: resnet_tiny" in refused(safetensors_file, *to, "--arch", "vit")
    line = refused(safetensors_file, *to, *SETTINGS, "--stem", "large")
    assert "conv1.weight is [4, 3, 3, 3], which does not fit" in line
    assert "one number per channel" in refused(safetensors_file, *to, "--mean", "0.5")
    before = contents(imported)
    line = refused(safetensors_file, "--workdir", imported, *SETTINGS)
    assert "already holds a run" in line and contents(imported) == before
    assert not run.exists()


def test_an_export_that_only_others_read_is_refused(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = ssljax.export(old_run(tmp_path), format="onnx", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="is an export for onnx; load_encoder reads"):
        ssljax.load_encoder(folder)


@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_a_torch_file_is_read_without_running_code(tmp_path, inside):
    torch = pytest.importorskip("torch")
    arrays = to_torch(drawn(described()))
    tensors = {name: torch.from_numpy(x.copy()) for name, x in arrays.items()}
    path = tmp_path / "net.pth"
    torch.save(tensors if inside is None else {inside: tensors, "epoch": 3}, path)
    found = read_arrays(path)
    assert found.keys() == arrays.keys()
    np.testing.assert_array_equal(found["conv1.weight"], arrays["conv1.weight"])


def test_torch_files_that_hold_no_weights(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(ConfigError, match="holds no table of arrays by name"):
        read_arrays(path)
    torch.save(fractions.Fraction(1, 2), path)  # a pickled object, which could run code
    with pytest.raises(ConfigError, match="cannot be read as a torch file of weights"):
        read_arrays(path)
    path.write_bytes(b"no torch file")
    with pytest.raises(ConfigError, match="cannot be read as a torch file"):
        read_arrays(path)


def test_half_precision_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pth"
    torch.save({"w": torch.full((2,), 0.5, dtype=torch.bfloat16)}, path)
    assert torch_module.read(path)["w"].tolist() == [0.5, 0.5]
    package = pytest.importorskip("safetensors.numpy")
    content = package.save({"w": np.full(2, 0.5, np.float16)})
    assert formats.read_safetensors(content, "")["w"].dtype == np.float32

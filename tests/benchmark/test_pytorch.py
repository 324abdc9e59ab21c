"""The twin in PyTorch does the same work; skipped where PyTorch is not installed."""

import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

from ssljax import losses, methods  # noqa: E402
from ssljax.benchmark.compare import compare  # noqa: E402
from ssljax.benchmark.pytorch.losses import METHODS, torch_loss  # noqa: E402
from ssljax.benchmark.pytorch.network import (  # noqa: E402
    parameter_count,
    resnet,
    torch_network,
)
from ssljax.benchmark.pytorch.twin import Twin  # noqa: E402
from ssljax.benchmark.pytorch.views import lightly_module  # noqa: E402
from ssljax.benchmark.timing import Laps  # noqa: E402
from ssljax.benchmark.trainer import start  # noqa: E402
from ssljax.config import MethodConfig  # noqa: E402
from ssljax.data.augment import make_views  # noqa: E402
from ssljax.models import MLP, Network  # noqa: E402
from ssljax.models import resnet as flax_resnet  # noqa: E402
from ssljax.recipes import load_recipe  # noqa: E402
from ssljax.runs.setup import load_split, prepare  # noqa: E402


@pytest.mark.parametrize(
    ("arch", "stem", "padding"),
    [
        ("resnet_tiny", "small", None),
        ("resnet18", "small", 2),
        ("resnet18", "medium", None),
        ("resnet50", "large", None),
    ],
)
def test_networks_have_equal_parameters_and_feature_maps(arch, stem, padding):
    encoder = flax_resnet(arch, stem=stem, stem_padding=padding)
    network = Network(
        encoder=encoder,
        projector=MLP((64, 64, 32), output_norm="plain", hidden_bias=False),
        predictor=MLP((16, 32)),
    )
    x = jax.ShapeDtypeStruct((2, 64, 64, 3), np.float32)
    variables = jax.eval_shape(
        lambda x: network.init(jax.random.key(0), x, train=True), x
    )
    ours = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert parameter_count(torch_network(network)) == ours
    statistics = sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"]))
    theirs = [
        b for name, b in torch_network(network).named_buffers() if "num" not in name
    ]
    assert sum(b.numel() for b in theirs) == statistics
    features = resnet(encoder).eval()(torch.zeros(1, 3, 64, 64))
    assert features.shape == (1, encoder.feature_dim)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_losses_have_the_values_of_the_package(name, own):
    lightly = None if own else lightly_module("loss")
    if not own and lightly is None:
        pytest.skip("lightly is not installed")
    rng = np.random.default_rng(0)
    z = [rng.standard_normal((16, 8)).astype(np.float32) for _ in range(4)]
    options = dict(methods.get(name).options)
    loss, whose = torch_loss(name, options, lightly=lightly)
    assert ("lightly's" in whose) == (not own)
    first, second = ([torch.tensor(x) for x in pair] for pair in (z[:2], z[2:]))
    if name == "byol":
        expected = losses.normalized_mse(z[0], z[3]) + losses.normalized_mse(z[1], z[2])
    else:
        function = getattr(losses, methods.get(name).loss_name)
        expected = function(*z[:2], **options)
    np.testing.assert_allclose(loss(first, second).item(), expected, rtol=2e-4)


def heads(name):
    """A method with narrow heads; a predictor only where the method has one."""
    predictor = "16-8" if name == "byol" else None
    return MethodConfig(name, projector="16-8", predictor=predictor)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_a_run_and_its_twin_take_turns(name):
    config = load_recipe("shapes/quickstart", smoke=True)
    config = methods.resolve(
        replace(
            config,
            method=heads(name),
            data=replace(config.data, examples=64, workers=0),
            model=replace(config.model, width=0.25),
            devices=replace(config.devices, count=1),
            batch_size=8,
        )
    )
    trainer = start(config, Laps("imports"))
    rows, about = compare(trainer, steps=2, threads=1)
    found = {row.key: row for row in rows}
    assert found["parameters"].note == f"{found['parameters'].value:,.0f} in PyTorch"
    # The counters differ in the loss and the probe only.
    assert found["flops_ratio"].value == pytest.approx(1, abs=0.03)
    assert found["step_ratio"].low <= found["step_ratio"].value
    value = {key: row.value or 0.0 for key, row in found.items()}
    assert value["step_ratio"] > 0 and "fused AdamW" in about["setup"]
    if "none" not in about["transforms"]:
        assert value["end_to_end_ratio"] > 0


def test_views_have_the_same_moments():
    pytest.importorskip("PIL")
    views = pytest.importorskip("ssljax.benchmark.pytorch.views")
    config = methods.resolve(load_recipe("shapes/quickstart", smoke=True))
    from PIL import Image

    from ssljax.data import load
    from ssljax.runs.build import build_views

    (view, _) = build_views(config, (32, 32))
    images, _ = load("shapes", split="test", examples=200).take(np.arange(200))
    try:
        make, _ = views.transform(view, 32, (0.0,) * 3, (1.0,) * 3)
    except (ImportError, RuntimeError):
        pytest.skip("torchvision does not load")
    torch.manual_seed(0)
    theirs = np.stack([make(Image.fromarray(x)).numpy() for x in images])
    (ours,) = make_views(jax.random.key(0), images, [view], size=32)
    assert theirs.shape == (200, 3, 32, 32)
    assert abs(theirs.mean() - np.mean(ours)) < 0.03
    assert abs(theirs.std() - np.std(ours)) < 0.03


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", METHODS)
def test_the_twin_trains_every_method(name, dtype):
    config = load_recipe("shapes/quickstart", smoke=True)
    config = methods.resolve(
        replace(
            config,
            method=heads(name),
            data=replace(config.data, examples=32),
            model=replace(config.model, width=0.25, dtype=dtype),
            batch_size=16,
        )
    )
    source = load_split(config, train=True)
    twin = Twin(prepare(config, source), source, threads=1)
    before = [p.detach().clone() for p in twin.network.parameters()]
    start = twin.train(twin.views, twin.labels).item()
    for _ in range(10):
        last = twin.train(twin.views, twin.labels).item()
    assert last < start
    moved = zip(before, twin.network.parameters(), strict=True)
    assert all((p != old).any() for old, p in moved)
    if name == "byol":
        online = dict(twin.network["encoder"].named_parameters())
        for key, p in twin.target["encoder"].named_parameters():
            assert 0 < (p - online[key]).abs().max()
    assert twin.run(1) > 0

"""ResNets against one in NumPy, torchvision's sizes and names, BatchNorm's rules."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models import ResNet, choose_stem, resnet
from ssljax.models.resnet import ARCHS, BasicBlock, BottleneckBlock, _conv

# torchvision's totals without the last, fully connected layer.
PARAMETERS = {
    "resnet18": 11_176_512,
    "resnet34": 21_284_672,
    "resnet50": 23_508_032,
    "resnet101": 42_500_160,
    "resnet152": 58_143_808,
}
SMALL_NETS = {
    "basic": dict(stage_sizes=(1, 2), stage_widths=(4, 6), bottleneck=False),
    "bottleneck": dict(stage_sizes=(2, 1), stage_widths=(2, 3), bottleneck=True),
    "strided": dict(
        stage_sizes=(1, 1), stage_widths=(4, 4), bottleneck=False, stem_stride=2
    ),
}


def shapes(encoder: Any, image=(64, 64, 3)) -> Any:
    return traced_shapes(encoder, image)


@functools.cache
def traced_shapes(encoder, image):
    return jax.eval_shape(
        lambda x: encoder.init(jax.random.key(0), x, train=False),
        jax.ShapeDtypeStruct((1, *image), jnp.float32),
    )


def random_variables(encoder, image, seed=0):
    """Values with no symmetry that could hide an error, statistics included."""
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        value = rng.normal(size=leaf.shape) / max(np.sqrt(np.prod(leaf.shape[:-1])), 1)
        if path[-1].key in ("scale", "var"):
            value = 0.5 + np.abs(value)
        if path[-1].key == "bias":
            value = 0.5 + value  # keeps part of every ReLU open
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes(encoder, image))


@functools.partial(jax.jit, static_argnames="encoder")
def encode(encoder, variables, x):
    return encoder.apply(variables, x, train=False)


@functools.partial(jax.jit, static_argnames="encoder")
def train_forward(encoder, variables, x):
    return encoder.apply(variables, x, train=True, mutable=["batch_stats"])


# --- A ResNet in NumPy: one output pixel at a time, PyTorch's padding ---------------


def numpy_windows(x, kernel, stride, fill, pad=None):
    pad = kernel // 2 if pad is None else pad
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    rows = range(0, x.shape[1] - kernel + 1, stride)
    columns = range(0, x.shape[2] - kernel + 1, stride)
    return np.stack(
        [
            np.stack([x[:, r : r + kernel, c : c + kernel] for c in columns], axis=1)
            for r in rows
        ],
        axis=1,
    )  # [N, rows, columns, kernel, kernel, C]


def numpy_conv(x, kernel, stride, pad=None):
    windows = numpy_windows(x, kernel.shape[0], stride, 0.0, pad)
    return np.einsum("nrcijk,ijkf->nrcf", windows, kernel)


def numpy_norm(x, params, stats):
    scaled = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    return scaled * params["scale"] + params["bias"]


def numpy_block(x, p, s, stride):
    count = 3 if "conv3" in p else 2
    strided = 2  # the 3x3 of a bottleneck (v1.5) ...
    if count == 2:
        strided = 1  # ... and the first 3x3 of a basic block
    y = x
    for k in range(1, count + 1):
        y = numpy_conv(y, p[f"conv{k}"]["kernel"], stride if k == strided else 1)
        y = numpy_norm(y, p[f"bn{k}"], s[f"bn{k}"])
        y = np.maximum(y, 0) if k < count else y
    if "downsample_conv" in p:
        x = numpy_conv(x, p["downsample_conv"]["kernel"], stride)
        x = numpy_norm(x, p["downsample_bn"], s["downsample_bn"])
    return np.maximum(x + y, 0)


def _stem_stride(encoder):
    return 2 if encoder.stem == "large" else encoder.stem_stride


def numpy_resnet(encoder, variables, x):
    p, s = jax.tree.map(
        lambda v: np.asarray(v, np.float64),
        (
            variables["params"],
            variables["batch_stats"],
        ),
    )
    stride = _stem_stride(encoder)
    x = numpy_conv(x, p["conv1"]["kernel"], stride, encoder.stem_padding)
    x = np.maximum(numpy_norm(x, p["bn1"], s["bn1"]), 0)
    if encoder.stem != "small":
        x = numpy_windows(x, 3, 2, -np.inf).max(axis=(3, 4))
    for stage, size in enumerate(encoder.stage_sizes, start=1):
        for index in range(size):
            name = f"layer{stage}_{index}"
            stride = 1 if stage == 1 else 2
            x = numpy_block(x, p[name], s[name], stride if index == 0 else 1)
    return x.mean(axis=(1, 2))


def assert_equals_the_one_in_numpy(encoder, shape):
    variables = random_variables(encoder, shape[1:])
    x = np.random.default_rng(1).normal(size=shape)
    actual = encode(encoder, variables, jnp.asarray(x, jnp.float32))
    expected = numpy_resnet(encoder, variables, x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


# Every block, every stem, a strided 3x3 stem and two paddings; blocks do not depend on
# the stem before them, so not every pair.
@pytest.mark.parametrize(
    "net, stem, padding",
    [
        ("basic", "medium", None),
        ("basic", "small", 2),
        ("bottleneck", "small", None),
        ("bottleneck", "large", 0),
        ("strided", "small", None),
        ("strided", "large", None),
    ],
)
def test_forward_pass_equals_the_one_in_numpy(net, stem, padding):
    # 13 and 12 pixels: padding mistakes show at one parity or the other.
    encoder = ResNet(stem=stem, stem_padding=padding, **SMALL_NETS[net])
    assert_equals_the_one_in_numpy(encoder, (2, 13, 12, 3))


def test_resnet18_equals_the_one_in_numpy():
    encoder = resnet("resnet18", stem="small", width=1 / 16)
    assert_equals_the_one_in_numpy(encoder, (1, 9, 9, 3))


# --- Structure ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arch, features", [("resnet_tiny", 128), ("resnet34", 512), ("resnet50", 2048)]
)
def test_features_are_as_many_as_the_last_stage_has_channels(arch, features):
    assert resnet(arch, stem="small").feature_dim == features


def count(params):
    return sum(p.size for p in jax.tree.leaves(params))


@pytest.mark.parametrize("arch", PARAMETERS)
def test_parameter_counts_are_torchvisions(arch):
    # Tracing a hundred blocks takes seconds: the deeper networks have more of the
    # second block of each stage.
    base = "resnet50" if ARCHS[arch].bottleneck else "resnet18"
    params = shapes(resnet(base, stem="large"))["params"]
    total = count(params)
    for stage in range(4):
        more = ARCHS[arch].stage_sizes[stage] - ARCHS[base].stage_sizes[stage]
        total += more * count(params[f"layer{stage + 1}_1"])
    assert total == PARAMETERS[arch]
    assert ARCHS[arch].stage_widths == ARCHS[base].stage_widths


@pytest.mark.parametrize("net", ["basic", "bottleneck"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_output_has_feature_dim_columns_in_float32(net, dtype):
    encoder = ResNet(stem="small", dtype=dtype, **SMALL_NETS[net])
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = shapes(encoder, (32, 32, 3))
    out, updates = jax.eval_shape(
        lambda v, x: encoder.apply(v, x, train=True, mutable=["batch_stats"]),
        variables,
        x,
    )
    assert out.shape == (2, encoder.feature_dim) and out.dtype == jnp.float32
    # bfloat16 touches neither the parameters nor the statistics.
    for leaf in jax.tree.leaves((variables, updates)):
        assert leaf.dtype == jnp.float32
    assert updates["batch_stats"] == variables["batch_stats"]


def test_bfloat16_is_what_the_convolutions_compute_in():
    for dtype, computes in ((jnp.bfloat16, "bf16"), (jnp.float32, "f32")):
        encoder = resnet("resnet_tiny", stem="small", dtype=dtype)
        program = jax.make_jaxpr(lambda v, x, e=encoder: e.apply(v, x, train=False))(
            shapes(encoder), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        )
        lines = [line for line in str(program).splitlines() if "_convolution[" in line]
        assert lines and all(f":{computes}[" in line for line in lines)


def test_names_are_torchvisions():
    names = {
        ".".join(str(key.key) for key in path[:-1])
        for path, _ in jax.tree_util.tree_leaves_with_path(
            shapes(resnet("resnet50", stem="large"))["params"]
        )
    }
    allowed = re.compile(
        r"(conv1|bn1)|layer[1-4]_\d+\.((conv|bn)[1-3]|downsample_(conv|bn))"
    )
    assert all(allowed.fullmatch(name) for name in names)
    assert {"conv1", "bn1", "layer1_0.downsample_conv", "layer4_2.bn3"} <= names
    assert len(names) == 2 * 53  # convolutions and their norms


def test_width_scales_every_layer():
    for width in (0.5, 2.0):
        encoder = resnet("resnet50", stem="large", width=width)
        assert encoder.feature_dim == 2048 * width
    params = shapes(encoder)["params"]
    assert params["conv1"]["kernel"].shape == (7, 7, 3, 128)
    assert params["layer4_0"]["conv2"]["kernel"].shape == (3, 3, 1024, 1024)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_may_have_any_number_of_channels(channels):
    params = shapes(resnet("resnet_tiny", stem="small"), (32, 32, channels))["params"]
    assert params["conv1"]["kernel"].shape == (3, 3, channels, 16)


@pytest.mark.parametrize("stem, kernel", [("small", 3), ("medium", 3), ("large", 7)])
def test_stem_kernels(stem, kernel):
    params = shapes(resnet("resnet18", stem=stem))["params"]
    assert params["conv1"]["kernel"].shape == (kernel, kernel, 3, 64)


@pytest.mark.parametrize(
    "size, stem",
    [(1, "small"), (28, "small"), (32, "small"), (33, "medium"), (64, "medium")]
    + [(96, "medium"), (97, "large"), (224, "large")],
)
def test_choose_stem(size, stem):
    assert choose_stem(size) == stem


# --- Initialisation and BatchNorm --------------------------------------------------


@pytest.mark.parametrize(
    "block, zero",
    [(BasicBlock, True), (BasicBlock, False), (BottleneckBlock, True)],
)
def test_zero_init_residual_starts_a_block_as_the_identity(block, zero):
    channels = 8
    module = block(
        features=channels // (4 if block is BottleneckBlock else 1),
        stride=1,
        zero_init_residual=zero,
        conv=functools.partial(_conv, dtype=jnp.float32),
        norm=functools.partial(nn.BatchNorm, use_running_average=False),
    )
    x = jnp.abs(jax.random.normal(jax.random.key(0), (4, 5, 5, channels)))
    out, _ = jax.jit(module.init_with_output)(jax.random.key(1), x)
    assert bool(jnp.array_equal(out, x)) is zero


def test_convolutions_start_from_he_normal_fan_out():
    # Sizes whose fan-in and fan-out differ, so that the two cannot be confused.
    encoder = ResNet((1, 1), (32, 128), False, "small")
    x = jnp.zeros((1, 8, 8, 3))
    params = jax.jit(lambda key: encoder.init(key, x, train=False))(jax.random.key(0))[
        "params"
    ]
    for kernel in (
        params["conv1"]["kernel"],
        params["layer2_0"]["conv1"]["kernel"],
        params["layer2_0"]["downsample_conv"]["kernel"],
    ):
        fan_out = kernel.shape[0] * kernel.shape[1] * kernel.shape[3]
        draws = kernel.size
        np.testing.assert_allclose(
            kernel.std(), np.sqrt(2 / fan_out), rtol=4 / np.sqrt(2 * draws)
        )
        # Untruncated: some draws lie beyond two standard deviations of a normal.
        assert float(jnp.abs(kernel).max() / kernel.std()) > 2.4


def test_sharding_the_batch_changes_neither_features_nor_statistics():
    encoder = resnet("resnet_tiny", stem="small", width=0.5)
    variables = random_variables(encoder, (8, 8, 3))
    x = jnp.asarray(
        np.random.default_rng(1).normal(1.0, 2.0, size=(16, 8, 8, 3)), jnp.float32
    )
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    features, stats = train_forward(encoder, variables, x)
    sharded_features, sharded_stats = train_forward(
        encoder, variables, jax.device_put(x, rows)
    )
    assert len(sharded_features.sharding.device_set) == 8
    np.testing.assert_allclose(sharded_features, features, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
        sharded_stats,
        stats,
    )


def test_running_statistics_move_by_a_tenth():
    encoder = ResNet((1,), (4,), False, "small")
    variables = random_variables(encoder, (8, 8, 3))
    x = np.random.default_rng(1).normal(1.0, 2.0, size=(4, 8, 8, 3))
    _, updates = train_forward(encoder, variables, jnp.asarray(x, jnp.float32))
    kernel = np.asarray(variables["params"]["conv1"]["kernel"], np.float64)
    y = numpy_conv(x, kernel, 1)
    before, after = (v["batch_stats"]["bn1"] for v in (variables, updates))
    for name, batch in (("mean", y.mean((0, 1, 2))), ("var", y.var((0, 1, 2)))):
        np.testing.assert_allclose(
            after[name], 0.9 * before[name] + 0.1 * batch, rtol=1e-5, atol=1e-6
        )


# --- Errors ------------------------------------------------------------------------


def test_wrong_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="'resnet-50'.*did you mean 'resnet50'"):
        resnet("resnet-50", stem="large")
    with pytest.raises(ValueError, match="small, medium, large, got 'cifar'"):
        resnet("resnet18", stem="cifar")
    with pytest.raises(ValueError, match="width 0.001 leaves no channel; use at least"):
        resnet("resnet18", stem="small", width=0.001)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        choose_stem(0)


@pytest.mark.parametrize(
    "x", [jnp.zeros((2, 8, 8, 3), jnp.uint8), jnp.zeros((8, 8, 3))]
)
def test_images_must_be_a_floating_point_batch(x):
    encoder = resnet("resnet_tiny", stem="small")
    with pytest.raises(ValueError, match=r"floating point \[N, H, W, C\], got"):
        encoder.init(jax.random.key(0), x, train=False)

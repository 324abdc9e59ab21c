"""Arrays in other libraries' names: there and back, and what is refused."""

import jax
import numpy as np
import pytest
from encoders import described, drawn

from ssljax.config.checks import ConfigError
from ssljax.exports.names import LAYOUTS, from_torch, shapes_of, to_torch

BLOCK = ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("arch", ["micro", "micro50", "resnet_tiny"])
def test_there_and_back_is_the_same_bits(arch, layout):
    description = described(arch)
    variables = drawn(description)
    arrays = to_torch(variables, layout=layout)
    back = from_torch(arrays, description, layout=layout)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_names_and_axes_are_torchvisions():
    arrays = to_torch(drawn(described()))
    assert {*BLOCK, "layer1.0.downsample.0.weight", "layer2.0.conv3.weight"} <= set(
        arrays
    )
    assert "layer1.1.downsample.0.weight" not in arrays
    assert arrays["layer2.0.downsample.0.weight"].shape == (24, 16, 1, 1)
    assert arrays["bn1.num_batches_tracked"].dtype == np.int64
    kernels = {k: x.shape for k, x in arrays.items() if not k.endswith("_tracked")}
    assert kernels == shapes_of(described())


def test_a_kernel_is_turned_and_not_only_reshaped():
    ours = np.arange(3 * 3 * 2 * 5, dtype=np.float32).reshape(3, 3, 2, 5)
    (theirs,) = to_torch({"params": {"conv1": {"kernel": ours}}}).values()
    assert theirs[4, 1, 0, 2] == ours[0, 2, 1, 4]


def test_detectron2_has_its_own_names_and_no_counters():
    names = set(to_torch(drawn(described()), layout="detectron2"))
    assert {
        "stem.conv1.weight",
        "stem.conv1.norm.running_var",
        "res2.0.shortcut.weight",
        "res2.0.shortcut.norm.bias",
        "res3.0.conv3.norm.weight",
    } <= names
    assert not any("tracked" in name for name in names)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda a: a.pop("bn1.bias"), r"1 missing \(bn1.bias\)"),
        (lambda a: a.update(other=np.zeros(3)), r"1 left over \(other\)"),
        (
            lambda a: [a.pop(k) for k in list(a) if k.startswith("layer2")],
            r"20 missing \(layer2.0.*, and 17 more\)",
        ),
        (
            lambda a: a.update({"conv1.weight": np.zeros((4, 3, 7, 7))}),
            r"conv1.weight is \[4, 3, 7, 7\], which does not fit \[3, 3, 3, 4\]",
        ),
        (lambda a: a["bn1.bias"].fill(np.nan), r"NaN or infinite \(bn1.bias\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change, line):
    arrays = to_torch(drawn(described()))
    arrays = {name: x.copy() for name, x in arrays.items()}
    change(arrays)
    with pytest.raises(ConfigError, match=f"FILE .*{line}") as caught:
        from_torch(arrays, described(), where="FILE")
    assert "\n" not in str(caught.value)

"""The readings of an exported encoder beside our own: reference, ONNX, torch."""

import numpy as np
import pytest
from encoders import described, drawn, images_for

from ssljax.exports import onnx_graph, reference, torch_module
from ssljax.exports.comparison import our_features
from ssljax.exports.extras import installed
from ssljax.exports.names import to_torch

# Even and odd sizes: padding on one side only would show on even ones.
NETWORKS = {
    "small stem": described(),
    "medium stem, odd size": described(stem="medium", size=19),
    "large stem, grey": described(stem="large", size=40, channels=1),
    "padded by 2, as solo-learn does": described(stem_padding=2),
    "basic blocks, strided stem, wider": described("resnet_tiny", width=0.5, size=24),
}


def torch_or_skip():
    if not installed("torch"):
        pytest.skip("torch is not installed")
    return torch_module.features


def onnx_or_skip():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def run(description, arrays, images):
        content = onnx_graph.to_bytes(description, arrays)
        return onnx_graph.features(content, images)

    return run


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=pytest.mark.slow if i else ())
        for i, name in enumerate(NETWORKS)
    ],
)
@pytest.mark.parametrize("reading", ["reference", "onnx", "torch"])
def test_features_are_ours(network, reading):
    choose = {"onnx": onnx_or_skip, "torch": torch_or_skip}
    run = choose.get(reading, lambda: reference.features)()
    description = NETWORKS[network]
    variables, images = drawn(description), images_for(description)
    ours = our_features(description.encoder(), variables, images)
    theirs = run(description, to_torch(variables), np.moveaxis(images, -1, 1).copy())
    assert ours.shape == (2, description.encoder().feature_dim)
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(ours).max()


def test_one_onnx_file_takes_any_batch_and_size():
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    description = described()
    variables = drawn(description)
    content = onnx_graph.to_bytes(
        description, to_torch(variables), metadata={"ssljax": "{}"}
    )
    for count, size in ((1, 16), (7, 16), (2, 21)):
        other = described(size=size)
        images = images_for(other, count)
        theirs = onnx_graph.features(content, np.moveaxis(images, -1, 1))
        ours = our_features(other.encoder(), variables, images)
        assert theirs.shape == (count, 24)
        assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(ours).max()
    model = onnx.load_from_string(content)
    (entering,) = model.graph.input
    shape = [d.dim_param or d.dim_value for d in entering.type.tensor_type.shape.dim]
    assert shape == ["batch", 3, "height", "width"]
    assert model.metadata_props[0].key == "ssljax"


def test_the_torch_module_has_torchvisions_names():
    torch_or_skip()
    import torch  # pyright: ignore[reportMissingImports]

    description = described()
    state = torch_module.build(description).state_dict()
    arrays = to_torch(drawn(description))
    assert {name: tuple(x.shape) for name, x in state.items()} == {
        name: x.shape for name, x in arrays.items()
    }
    assert state["bn1.num_batches_tracked"].dtype == torch.int64

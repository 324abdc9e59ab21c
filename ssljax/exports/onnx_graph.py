"""The encoder as an ONNX graph, built from the list of operations without torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.exports.description import Description
from ssljax.exports.extras import need
from ssljax.exports.operations import EPSILON, IMAGES, Operation, operations

FEATURES = "features"
_OPSET, _IR = 17, 8  # of 2022: runtimes since then read the file
_OTHERWISE = "use --format safetensors"


def to_bytes(
    description: Description,
    arrays: Mapping[str, np.ndarray],
    *,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the graph with its weights as an ONNX file.

    Batch, height and width are dynamic. Resizing and normalisation are outside.

    Args:
        description: the encoder.
        arrays: in torchvision's names.
        metadata: texts to store with the graph.

    Raises:
        ConfigError: if onnx is not installed.
    """
    onnx = need("onnx", extra="export", what="--format onnx", otherwise=_OTHERWISE)
    from onnx import helper, numpy_helper  # pyright: ignore[reportMissingImports]

    steps = operations(description)
    nodes = [node for step in steps for node in _nodes(helper, step)]
    nodes += [
        helper.make_node("GlobalAveragePool", [steps[-1].output], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], [FEATURES], axis=1),
    ]
    weights = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in arrays.items()
        if array.ndim
    ]
    kind = onnx.TensorProto.FLOAT
    entering = ["batch", description.channels, "height", "width"]
    leaving = ["batch", description.encoder().feature_dim]
    graph = helper.make_graph(
        nodes,
        f"ssljax_{description.arch}",
        [helper.make_tensor_value_info(IMAGES, kind, entering)],
        [helper.make_tensor_value_info(FEATURES, kind, leaving)],
        weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="ssljax",
    )
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def features(content: bytes, images: np.ndarray) -> np.ndarray:
    """Compute the features of normalised images ``[N, C, H, W]`` with onnxruntime.

    Raises:
        ConfigError: if onnxruntime is not installed.
    """
    runtime = need(
        "onnxruntime",
        extra="export",
        what="checking an ONNX file",
        otherwise=_OTHERWISE,
    )
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run([FEATURES], {IMAGES: np.asarray(images, np.float32)})
    return found


def _nodes(helper: Any, step: Operation) -> list[Any]:
    """Return the nodes of one operation: two for a convolution with its BatchNorm."""
    if step.kind in ("relu", "add"):
        name = {"relu": "Relu", "add": "Add"}[step.kind]
        return [helper.make_node(name, [*step.inputs], [step.output])]
    window = {
        "kernel_shape": [step.kernel, step.kernel],
        "strides": [step.stride, step.stride],
        "pads": [step.padding] * 4,  # top, left, bottom, right
    }
    if step.kind == "max_pool":
        return [helper.make_node("MaxPool", [*step.inputs], [step.output], **window)]
    raw = f"{step.output}.raw"
    kernel = [step.inputs[0], f"{step.conv}.weight"]
    names = ("weight", "bias", "running_mean", "running_var")
    norm = [raw, *(f"{step.norm}.{name}" for name in names)]
    return [
        helper.make_node("Conv", kernel, [raw], **window),
        helper.make_node("BatchNormalization", norm, [step.output], epsilon=EPSILON),
    ]

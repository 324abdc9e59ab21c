"""The encoder as a torch module with torchvision's names; also reads torch's files.

torchvision's own class has the large stem only. This one is built from the list of
operations and takes every stem, width and architecture of ours.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.exports.description import Description
from ssljax.exports.extras import need
from ssljax.exports.names import shapes_of
from ssljax.exports.operations import EPSILON, IMAGES, operations


def torch_for(what: str, otherwise: str) -> Any:
    """Return torch; where it is missing, a `ConfigError` names the extra."""
    return need("torch", extra="torch", what=what, otherwise=otherwise)


def build(description: Description) -> Any:
    """Build the encoder as a ``torch.nn.Module``, from images to features.

    ``load_state_dict`` with the default ``strict=True`` takes an exported file.

    Args:
        description: the encoder, as `ssljax.exports.load.description_of` reads it.

    Returns:
        The module: normalised images ``[N, C, H, W]`` to features ``[N, F]``.

    Raises:
        ConfigError: if torch is not installed.
    """
    torch = torch_for("a torch module", "use ssljax.load_encoder")
    nn, steps = torch.nn, operations(description)
    shapes = _kernel_shapes(description)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            for step in steps:
                if step.kind == "conv":
                    out, entering = shapes[step.conv]
                    conv = nn.Conv2d(
                        entering,
                        out,
                        step.kernel,
                        step.stride,
                        step.padding,
                        bias=False,
                    )
                    _put(self, step.conv, conv, nn.Module)
                    norm = nn.BatchNorm2d(out, eps=EPSILON)
                    _put(self, step.norm, norm, nn.Module)

        def forward(self, images):
            known = {IMAGES: images}
            for step in steps:
                given = [known[name] for name in step.inputs]
                if step.kind == "conv":
                    y = self.get_submodule(step.conv)(given[0])
                    y = self.get_submodule(step.norm)(y)
                elif step.kind == "relu":
                    y = given[0].relu()
                elif step.kind == "add":
                    y = given[0] + given[1]
                else:
                    y = nn.functional.max_pool2d(
                        given[0], step.kernel, step.stride, step.padding
                    )
                known[step.output] = y
            return known[steps[-1].output].mean(dim=(2, 3))

    return Encoder()


def features(
    description: Description, arrays: Mapping[str, np.ndarray], images: np.ndarray
) -> np.ndarray:
    """Compute features in torch, strictly from these arrays; see `reference.features`.

    Raises:
        ConfigError: if torch is not installed, or the names do not fit.
    """
    return run_strictly(build(description), arrays, images)


def run_strictly(
    module: Any, arrays: Mapping[str, np.ndarray], images: np.ndarray
) -> np.ndarray:
    """Load arrays into a torch module with ``strict=True`` and return its features.

    Raises:
        ConfigError: if the names or shapes do not fit.
    """
    torch = torch_for("a torch module", "use ssljax.load_encoder")
    try:
        module.load_state_dict({name: _tensor(torch, x) for name, x in arrays.items()})
    except RuntimeError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    with torch.no_grad():
        return module.eval()(_tensor(torch, images)).numpy()


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the arrays as a torch file that ``torch.load`` reads."""
    torch = torch_for(
        "--format torch",
        "use --format safetensors, which has the same names and needs no torch",
    )
    file = io.BytesIO()
    torch.save({name: _tensor(torch, x) for name, x in arrays.items()}, file)
    return file.getvalue()


def read(file: Path | io.BytesIO) -> Any:
    """Read a torch file: tensors and plain containers only, so that no code runs.

    Returns:
        What the file holds, tensors as NumPy arrays.

    Raises:
        ConfigError: if torch is not installed or the file cannot be read.
    """
    where = "the file" if isinstance(file, io.BytesIO) else file
    torch = torch_for(
        f"reading {where}", "convert it to safetensors on a machine with torch"
    )
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        reason = str(error).strip().split("\n")[0][:120]
        raise ConfigError(
            f"{where} cannot be read as a torch file of weights ({reason}); save its "
            "state dict alone, with torch.save(model.state_dict(), FILE)"
        ) from error
    return _plain(torch, found)


def _plain(torch: Any, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()
        return value.detach().cpu().numpy()
    if isinstance(value, Mapping):
        return {str(key): _plain(torch, each) for key, each in value.items()}
    return value


def _tensor(torch: Any, array: np.ndarray) -> Any:
    # A copy: arrays of JAX are read-only, which torch warns about.
    return torch.from_numpy(np.array(array))


def _put(root: Any, name: str, module: Any, container: Any) -> None:
    """Add a module under a dotted name, with the containers that it needs."""
    *above, last = name.split(".")
    for part in above:
        if not hasattr(root, part):
            root.add_module(part, container())
        root = getattr(root, part)
    root.add_module(last, module)


def _kernel_shapes(description: Description) -> dict[str, tuple[int, int]]:
    """Return the channels out and in of every convolution, by its name."""
    return {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in shapes_of(description).items()
        if len(shape) == 4
    }

"""`ssljax export DIR`: a run's encoder in another library's format."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from ssljax.commands.parse import parse_positional


@dataclass(frozen=True)
class Export:
    """Write the frozen encoder of a run in another library's format.

    The file is run beside our own encoder on real images, and written only where the
    features agree to 1e-4.
    """

    workdir: Path
    """Run folder."""
    format: str = "safetensors"
    """`torch`, `safetensors`, `onnx`, `flax`, `timm` or `detectron2`."""
    out: Path | None = None
    """Folder to write; `export/FORMAT` in the run folder by default."""
    checkpoint: int | Literal["best"] | None = None
    """Step of the checkpoint to export, or `best`; the newest by default."""
    license: str = "unknown"
    """Licence of the weights for the model card, such as `apache-2.0`."""
    push: str | None = None
    """Hugging Face repository to upload the folder to, `ORG/NAME`."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(
        Export,
        words,
        command="ssljax export",
        flags=[field.name for field in fields(Export) if field.name != "workdir"],
    )
    from ssljax.exports import export

    folder = export(
        asked.workdir,
        format=asked.format,
        out=asked.out,
        checkpoint=asked.checkpoint,
        license=asked.license,
        push=asked.push,
    )
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>12,} bytes  {path}")
    if asked.push is not None:
        print(f"uploaded to https://huggingface.co/{asked.push}")
    return 0

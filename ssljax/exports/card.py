"""Write an export's model card: README.md as Hugging Face reads it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssljax.config.serialize import to_json
from ssljax.exports.comparison import Check
from ssljax.exports.description import TORCHVISION, Description
from ssljax.exports.folder import sha256
from ssljax.runs.encoder import Restored
from ssljax.runs.folder import RunFolder
from ssljax.runs.records import EvaluationRow


@dataclass(frozen=True)
class Origin:
    """Where the weights of an export come from."""

    method: str
    data: str
    step: int
    config_digest: str
    """SHA-256 of the run's ``config.json`` with every default filled in."""
    commit: str | None
    imported: Mapping[str, Any] | None
    """What `ssljax import` recorded, for weights that were trained elsewhere."""
    results: tuple[EvaluationRow, ...]
    """Accuracies of the encoder at this step, from ``evaluation.json``."""
    tested_on: str | None
    """Name of the test images."""

    @property
    def title(self) -> str:
        """What trained the weights: a method, or where they were taken from."""
        return "imported" if self.imported else self.method


def origin_of(run: Restored, folder: RunFolder) -> Origin:
    """Collect what is known of a run's weights."""
    launches = folder.load_environment([]).launches
    first = launches[0] if launches else None
    evaluation = folder.load_evaluation([])
    results = tuple(
        row
        for row in evaluation.rows
        if row.representation == "encoder" and row.accuracy is not None
    )
    return Origin(
        method=run.config.method.name,
        data=run.data.name or run.config.data.name,
        step=run.step,
        config_digest=sha256(to_json(run.config).encode()),
        commit=first.commit if first else None,
        imported=first.extra.get("imported") if first else None,
        results=results if evaluation.step == run.step else (),
        tested_on=evaluation.data.test,
    )


def model_card(
    format: str,
    file: str,
    description: Description,
    origin: Origin,
    check: Check,
    *,
    licence: str,
) -> str:
    """Return the text of README.md: YAML front matter, then Markdown.

    Args:
        format: as ``--format`` takes it.
        file: name of the file with the weights.
        description: the encoder.
        origin: where the weights come from.
        check: the comparison with our own network.
        licence: identifier as Hugging Face uses it.
    """
    title = f"{origin.title} {description.arch}, {origin.data}"
    matter: dict[str, Any] = {
        "library_name": "timm" if format == "timm" else "ssljax",
        "license": licence,
        "pipeline_tag": "image-feature-extraction",
        "tags": ["self-supervised-learning", origin.title, description.arch, format],
    }
    if origin.results:
        matter["model-index"] = [{"name": title, "results": _results(origin)}]
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in matter.items())
    return f"---\n{front}---\n\n# {title}\n\n" + "\n".join(
        [
            *_facts(description, origin, check, licence),
            "",
            "## Use",
            "",
            *usage(format, file, description),
            "",
            f"Images are cropped to a central square of {_share(description)}the "
            f"shorter side, resized to {description.size} x {description.size} pixels "
            "(bilinear, antialiased), divided by 255 and normalised per channel with "
            "the mean and deviation above. `ssljax.json` has the same numbers.",
            "",
        ]
    )


def usage(format: str, file: str, description: Description) -> list[str]:
    """Return the lines of Markdown that show how to load the file.

    They run in the folder of the export.
    """
    ours = [
        "import ssljax",
        'encode = ssljax.load_encoder(".")  # of uint8 [N, H, W, C]',
    ]
    load = f'model.load_state_dict(safetensors.torch.load_file("{file}"))'
    lines = {
        "flax": ours,
        "safetensors": [
            *ours,
            "",
            "# in PyTorch, images [N, C, H, W]:",
            "import safetensors.torch",
            *_module(description),
            load,
        ],
        "torch": [
            "import torch",
            *_module(description),
            f'model.load_state_dict(torch.load("{file}"))',
        ],
        "onnx": [
            "import onnxruntime",
            f'session = onnxruntime.InferenceSession("{file}")',
            "# images: float32 [N, C, H, W]",
            '(features,) = session.run(["features"], {"images": images})',
        ],
        "timm": [
            "import timm",
            'model = timm.create_model("local-dir:.", pretrained=True)',
        ],
        "detectron2": [
            f"# MODEL.WEIGHTS: {file}   MODEL.RESNETS.STRIDE_IN_1X1: False",
            f"# MODEL.RESNETS.DEPTH: {description.arch[6:]}   INPUT.FORMAT: RGB",
            f"# MODEL.PIXEL_MEAN: {_scaled(description.mean)}",
            f"# MODEL.PIXEL_STD: {_scaled(description.std)}",
        ],
    }
    return ["```python", *lines[format], "```"]


def _module(description: Description) -> list[str]:
    """Return the lines that build the torch module."""
    if description.arch not in TORCHVISION or description.width != 1:
        return [
            "from ssljax.exports.load import description_of",
            "from ssljax.exports.torch_module import build",
            'model = build(description_of("."))',
        ]
    lines = [
        "import torchvision",
        "from torch import nn",
        f"model = torchvision.models.{description.arch}()",
        "model.fc = nn.Identity()",
    ]
    large, channels = description.stem == "large", description.channels
    kernel, stride, usual = (7, 2, 3) if large else (3, 1, 1)
    padding = usual if description.stem_padding is None else description.stem_padding
    if not large or channels != 3 or padding != usual:
        sizes = f"{channels}, 64, {kernel}, {stride}, {padding}"
        lines.append(f"model.conv1 = nn.Conv2d({sizes}, bias=False)")
    if description.stem == "small":
        lines.append("model.maxpool = nn.Identity()")
    return lines


def _facts(
    description: Description, origin: Origin, check: Check, licence: str
) -> list[str]:
    stem = f"{description.stem} stem"
    if description.stem_padding is not None:
        stem += f" padded by {description.stem_padding}"
    rows = [
        ("encoder", f"{description.arch}, width {description.width:g}, {stem}"),
        ("features", f"{description.encoder().feature_dim}, the mean of the last map"),
        ("method", origin.title),
        ("data", origin.data),
        ("step", str(origin.step)),
        ("config (SHA-256)", origin.config_digest),
        ("commit of ssljax", origin.commit or "not recorded"),
        ("input", f"{description.size} pixels, {description.channels} channels"),
        ("mean", ", ".join(f"{x:.6g}" for x in description.mean)),
        ("standard deviation", ", ".join(f"{x:.6g}" for x in description.std)),
        (
            "checked",
            f"features within {check.difference:.1e} of ssljax's own, relative, in "
            f"{check.against} on {check.images}",
        ),
        ("licence", licence),
    ]
    if origin.imported:
        file, digest = (origin.imported.get(key) for key in ("file", "sha256"))
        rows.insert(2, ("imported from", f"{file} (SHA-256 {digest})"))
    rows += [
        (
            f"accuracy, {row.protocol}",
            f"{row.accuracy:.2f} % on {_tested_on(row, origin)}",
        )
        for row in origin.results
    ]
    if not origin.results:
        rows.append(("accuracy", "not evaluated at this step"))
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _tested_on(row: EvaluationRow, origin: Origin) -> str:
    """Return the images of a result: those of the evaluation, or of another set."""
    other = row.split if row.kind == "transfer" else None
    return other or origin.tested_on or origin.data


def _results(origin: Origin) -> list[dict[str, Any]]:
    """Return the results as Hugging Face's ``model-index`` has them."""
    return [
        {
            "task": {"type": "image-classification"},
            "dataset": {"name": _tested_on(row, origin), "type": origin.data},
            "metrics": [
                {"type": "accuracy", "name": row.protocol, "value": row.accuracy}
            ],
        }
        for row in origin.results
    ]


def _scaled(values: tuple[float, ...]) -> list[float]:
    return [round(255 * value, 3) for value in values]


def _share(description: Description) -> str:
    fraction = description.crop_fraction
    return "" if fraction == 1 else f"{fraction:g} of "

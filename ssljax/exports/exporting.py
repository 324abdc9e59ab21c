"""Export a run's encoder: write it, run it beside ours, and keep it if they agree."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import jax

from ssljax import __version__
from ssljax.config.paths import local
from ssljax.exports import comparison, formats, hub
from ssljax.exports.card import Origin, model_card, origin_of
from ssljax.exports.comparison import Check
from ssljax.exports.description import Description, describe_run
from ssljax.exports.exported import Exported
from ssljax.exports.folder import RECORD, check_place, replace_folder, sha256
from ssljax.runs import files
from ssljax.runs.encoder import Restored, restore, step_of
from ssljax.runs.folder import RunFolder


def export(
    workdir: str | Path,
    *,
    format: str = "safetensors",
    out: str | Path | None = None,
    checkpoint: int | Literal["best"] | None = None,
    license: str = "unknown",
    push: str | None = None,
) -> Exported:
    """Write a run's frozen encoder in another library's format.

    The file is run beside our own encoder on images of the run's test split, or on
    generated ones where that cannot be read. Where features differ by more than 1e-4 of
    the image's largest feature, nothing is written.

    Args:
        workdir: folder of a run.
        format: ``torch``, ``safetensors``, ``onnx``, ``flax``, ``timm`` or
            ``detectron2``.
        out: folder to write, new, empty or an earlier export; None takes
            ``export/FORMAT`` in the run folder.
        checkpoint: step of the checkpoint, or ``best``; None takes the newest.
        license: of the weights, for the model card, as Hugging Face spells it, such as
            ``apache-2.0``.
        push: Hugging Face repository, ``ORG/NAME``, to upload the folder to.

    Returns:
        The folder: the weights, ``README.md`` (a model card) and ``ssljax.json``. It
        is a `pathlib.Path` with ``records``, ``frame()`` and a table for notebooks.

    Raises:
        ConfigError: if there is no run or checkpoint, the format is unknown, its
            package is not installed, the other library has no such network, the folder
            holds something else, or the exported encoder differs from ours.
    """
    chosen, folder = formats.get(format), RunFolder(workdir)
    place = folder.path / "export" / format if out is None else out
    place = local(place, "--out, by default export/ in the run folder,").absolute()
    check_place(place)
    if push is not None:
        hub.check_name(push)
        hub.client()  # before the work, where the package is missing
    run = restore(workdir, step=step_of(workdir, checkpoint))
    description = describe_run(run)
    formats.check_network(format, description)
    content, check = write_checked(format, description, run)
    origin = origin_of(run, folder)
    written = {
        chosen.file: content,
        "README.md": model_card(
            format, chosen.file, description, origin, check, licence=license
        ).encode(),
    }
    if format == "timm":
        written["config.json"] = _json(timm_config(description))
    record = _record(format, description, run, origin, check, license)
    record["files"] = {name: sha256(data) for name, data in written.items()}
    written[RECORD] = _json(record)
    replace_folder(place, written)
    if push is not None:
        hub.push(place, push, title=f"{description.arch}, {origin.title}")
    return Exported(place)


def write_checked(
    format: str, description: Description, run: Restored
) -> tuple[bytes, Check]:
    """Return the content of the exported file, once it has been run beside ours.

    Raises:
        ConfigError: if its features differ from ours.
    """
    chosen = formats.get(format)
    state = run.state
    variables = jax.device_get(
        {"params": state.params["encoder"], "batch_stats": state.batch_stats["encoder"]}
    )
    content = chosen.write(description, variables)
    images, named = comparison.images_of(run)
    setup = run.setup
    inputs = comparison.preprocess(
        images, size=setup.view_size, mean=setup.mean, std=setup.std
    )
    ours = comparison.our_features(setup.network.encoder, variables, inputs)
    theirs, against = chosen.run(description, content, inputs)
    return content, comparison.compare(ours, theirs, against=against, images=named)


def timm_config(description: Description) -> dict[str, Any]:
    """Return the ``config.json`` by which ``timm.create_model`` loads a folder."""
    size, channels = description.size, description.channels
    return {
        "architecture": description.arch,
        "num_classes": 0,
        "num_features": description.encoder().feature_dim,
        "global_pool": "avg",
        "model_args": {} if channels == 3 else {"in_chans": channels},
        "pretrained_cfg": {
            "tag": "ssljax",
            "custom_load": False,
            "input_size": [channels, size, size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": description.crop_fraction,
            "crop_mode": "center",
            "mean": list(description.mean),
            "std": list(description.std),
            "num_classes": 0,
            "pool_size": [-(-size // 32)] * 2,
            "first_conv": "conv1",
            "classifier": "fc",
        },
    }


def _record(
    format: str,
    description: Description,
    run: Restored,
    origin: Origin,
    check: Check,
    licence: str,
) -> dict[str, Any]:
    """Return the content of ``ssljax.json``."""
    return {
        "ssljax": __version__,
        "format": format,
        "encoder": description.as_object(),
        "origin": asdict(origin)
        | {"results": [row.as_object() for row in origin.results]},
        "checked": asdict(check),
        "license": licence,
        "config": asdict(run.config),
    }


def _json(value: Any) -> bytes:
    return (json.dumps(files.plain(value), indent=2, allow_nan=False) + "\n").encode()

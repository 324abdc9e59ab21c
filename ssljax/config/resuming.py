"""Which settings may change when a run is resumed."""

from collections.abc import Sequence
from dataclasses import replace

from ssljax.config.schema import Config
from ssljax.config.serialize import flatten

# Neither the trajectory nor the numbers that runs are compared by depend on these.
INCIDENTAL = (
    "log.",
    "checkpoint.",
    # Not the images and eigenvalues of the panels, which a comparison of runs shows.
    "monitor.every_epochs",
    "monitor.knn",
    "monitor.collapse",
    "data.workers",
    "data.data_dir",
    # All of devices except the microbatch, which changes BatchNorm's statistics.
    "devices.count",
    "devices.engine",
    "devices.distributed",
    "devices.compilation_cache",
    "devices.coordinator",
    "devices.process",
    "devices.timeout",
)

# The trajectory does not depend on these, so they may differ when a run is resumed.
RESUMABLE = (
    *INCIDENTAL,
    "monitor.",
    # If the images have the same fingerprint, wherever they are.
    "data.path",
    "data.store",
    # Of the monitor's kNN and of evaluations.
    "data.test_split",
    "data.test_examples",
    "data.labelled_split",
)


def continued(saved: Config, wanted: Config) -> Config:
    """Return ``wanted`` with what it leaves open decided as in ``saved``.

    A run that cropped stored images keeps them, whatever "auto" means today.

    >>> from ssljax.config import DataConfig
    >>> continued(Config(data=DataConfig(crop="stored")), Config()).data.crop
    'stored'
    """
    if (wanted.data.crop, saved.data.crop) != ("auto", "stored"):
        return wanted
    return replace(wanted, data=replace(wanted.data, crop="stored"))


def differences(
    saved: Config, wanted: Config, *, allowed: Sequence[str] = RESUMABLE
) -> list[str]:
    """List the settings that differ, such as those that prevent resuming.

    Args:
        saved: settings of the run.
        wanted: settings to resume it with.
        allowed: keys, or beginnings of keys, that may differ.

    Returns:
        Lines such as ``seed: 0 -> 5``, sorted by key; empty if the run may resume.
    """
    a, b = flatten(saved), flatten(wanted)
    return [
        f"{key}: {a.get(key)!r} -> {b.get(key)!r}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key) and not key.startswith(tuple(allowed))
    ]


def refusal(saved: Config, wanted: Config, *, extend: bool = False) -> str | None:
    """Return why a run cannot be resumed and what to do, None if it can.

    Args:
        saved: settings of the run.
        wanted: settings to resume it with.
        extend: allow more epochs than the run was planned for.

    >>> refusal(Config(epochs=10), Config(epochs=20), extend=True)
    >>> refusal(Config(), Config(seed=1))
    'different settings (seed: 0 -> 1); use the same settings or another --workdir'
    """
    longer, shorter = wanted.epochs > saved.epochs, wanted.epochs < saved.epochs
    others = differences(saved, wanted, allowed=(*RESUMABLE, "epochs"))
    if not others and not shorter and (extend or not longer):
        return None
    allowed = (*RESUMABLE, "epochs") if extend and longer else RESUMABLE
    changed = differences(saved, wanted, allowed=allowed)
    advice = "use the same settings or another --workdir"
    if shorter:
        advice = f"a run cannot be shortened; {advice}"
    elif not others:
        advice = (
            "use --extend to train for more epochs, which changes the schedule, or "
            "another --workdir"
        )
    return f"different settings ({'; '.join(changed)}); {advice}"

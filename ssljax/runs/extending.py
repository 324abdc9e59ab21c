"""Say what training for more epochs than planned does to a run's schedules."""

from dataclasses import replace

from ssljax.runs.build import build_schedule, total_steps
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.folder import RunFolder
from ssljax.runs.resolved import load_resolved
from ssljax.training.schedules import ema_momentum
from ssljax.training.state import Setup


def effect_of_extending(folder: RunFolder, setup: Setup) -> str:
    """Return a line on the schedules before and after; empty if no epoch is added.

    The schedules stretch over all epochs, so that their values jump at the step from
    which the run is resumed.

    Args:
        folder: of the run, with the settings that it had.
        setup: static parts of the run as it is resumed.
    """
    before = load_resolved(folder)
    if setup.config.epochs <= before.epochs:
        return ""
    step = max(saved_steps(folder.checkpoints), default=0)
    planned = total_steps(before, setup.steps_per_epoch)
    # Only the epochs: nothing else of a schedule may change.
    old, new = (
        build_schedule(
            replace(setup.config, epochs=epochs),
            total_steps=total,
            steps_per_epoch=setup.steps_per_epoch,
        )
        for epochs, total in (
            (before.epochs, planned),
            (setup.config.epochs, setup.total_steps),
        )
    )
    line = (
        f"extended from {before.epochs:g} to {setup.config.epochs:g} epochs: the "
        f"schedule was planned to end at step {planned} with learning rate "
        f"{float(old(planned)):.3g}, and now ends at step {setup.total_steps}"
    )
    if step == 0:
        return f"{line}; no step is saved yet, so the run has one schedule throughout"
    rates = float(old(step)), float(new(step))
    jumps = [f"the learning rate jumps from {rates[0]:.3g} to {rates[1]:.3g}"]
    if setup.has_target:
        momenta = [
            float(ema_momentum(step, total_steps=end, base=setup.target_momentum))
            for end in (planned, setup.total_steps)
        ]
        jumps.append(f"the target's momentum from {momenta[0]:.4g} to {momenta[1]:.4g}")
    return f"{line}; at step {step} {', '.join(jumps)}"

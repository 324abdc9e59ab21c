"""Pretrain from a config: load the data, check, claim the run folder, train."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ssljax import methods
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.paths import local
from ssljax.config.resuming import differences
from ssljax.data import Source
from ssljax.data.host_crop import LARGEST_STORED
from ssljax.data.retry import TransientDataError
from ssljax.data.script import check_script
from ssljax.data.shared_memory import check_shared_memory
from ssljax.runs import errors, processes
from ssljax.runs.agreement import check_agreement, data_facts, program_facts
from ssljax.runs.describe import describe, host_bytes
from ssljax.runs.extending import effect_of_extending
from ssljax.runs.folder import RunFolder
from ssljax.runs.initial import check_initial
from ssljax.runs.loop import Run, Session, TrainingFailed
from ssljax.runs.monitor import measures_knn
from ssljax.runs.preemption import Preempted, Preemption
from ssljax.runs.programs import keep_programs
from ssljax.runs.records import DataRecord
from ssljax.runs.setup import Statistics, load_split, prepare
from ssljax.runs.unreadable_images import add_to_list
from ssljax.runs.writers import check_loggers
from ssljax.training import devices
from ssljax.training.state import Setup


def pretrain(
    config: Config,
    workdir: str | Path,
    *,
    train: Source | None = None,
    test: Source | None = None,
    statistics: Statistics | None = None,
    command: Sequence[str] | None = None,
    quiet: bool = False,
    plan: bool = True,
    extend: bool = False,
) -> Run:
    """Pretrain an encoder; call again with the same folder to resume.

    Args:
        config: the recipe.
        workdir: run folder; created, or resumed if it has a run of this config.
        train: training images; None loads the data set that the config names.
        test: labelled images for the kNN monitor; None loads those that the config
            names. If there are none, the kNN monitor is off.
        statistics: mean and standard deviation of each channel, for normalisation.
            None measures them, or takes those of the run that the encoder comes from.
        command: recorded as the command that was run; None takes ``sys.argv``.
        quiet: print nothing.
        plan: print the settings that decide speed and memory before the first step.
        extend: allow more epochs than the run in the folder was planned for; its
            schedules then stretch over all of them.

    Returns:
        The run's folder, its number of steps and its last metrics.

    Raises:
        ConfigError: settings, data and folder do not fit together.
        TrainingFailed: the loss or its gradient is not finite (``failure/`` has the
            state to replay that step from), or a disk, a file or memory failed
            (`ssljax.runs.errors`).
        Preempted: SIGTERM, SIGUSR1 or SIGHUP arrived; the state is saved, so call
            again to resume.
        ProcessLost: another process of a distributed run died or did not join.
    """
    if not isinstance(config, Config):
        raise ConfigError(f"config is {config!r}; allowed: a Config")
    for name, given_source in (("train", train), ("test", test)):
        if not isinstance(given_source, Source | None):
            raise ConfigError(
                f"{name} is a {type(given_source).__name__}; allowed: a Source, as "
                "ssljax.data.from_arrays(images, labels) makes"
            )
    folder = RunFolder(workdir)
    config = folder.continued(methods.resolve(config))
    keep_programs(config.devices.compilation_cache)
    processes.join(config.devices, quiet=quiet)
    check_agreement(lambda: program_facts(config))
    quiet = quiet or not processes.is_first()
    given = train is not None
    source = train if given else load_split(config, train=True)
    if source.images is None and config.data.workers:
        check_script()  # before the minutes of compiling
    wanted, bank = test is None and not given and config.monitor.knn, None
    # Decoding the test images takes about as long as tracing the step.
    with ThreadPoolExecutor(1, "test images") as pool:
        loading = pool.submit(_optional_test, config, source) if wanted else None
        known = statistics or _known(folder, source, config.model.init_from)
        setup = prepare(config, source, statistics=known)
    if loading is not None:
        test = loading.result()
        if test is not None and config.data.labelled_split is not None:
            bank = load_split(config, train=True, labelled=True)
    if config.checkpoint.best == "knn_accuracy":
        if not measures_knn(config.monitor, bank or source, test):
            raise ConfigError(
                "checkpoint.best is 'knn_accuracy', which needs labelled images to "
                "train and test on; use --checkpoint.best rankme"
            )
    mesh = devices.make_mesh(
        count=config.devices.count,
        batch_size=config.batch_size,
        microbatch=config.devices.microbatch,
    )
    check_agreement(lambda: data_facts(source, setup.mean, setup.std))
    if source.images is None:
        check_shared_memory(host_bytes(setup), workers=config.data.workers)
    check_initial(config, folder)
    if config.log.profile_steps is not None:
        local(folder.path, "the trace of log.profile_steps, in the run folder,")
    check_loggers(folder, tensorboard=config.log.tensorboard, wandb=config.log.wandb)
    words = list(command or sys.argv)
    effect = processes.on_first(lambda: _claim(folder, setup, source, words, extend))
    if effect and not quiet:
        print(effect)
    if plan and not quiet:
        for name, value in describe(setup, source):
            print(f"{name:>24}  {value}")
        if source.skipped:
            print(f"{len(source.skipped)} unreadable files, see {folder.skipped}")
    sources = (source, test, bank)
    try:
        # Signals are heard from here on: restoring and compiling can take minutes.
        with (
            Preemption() as preemption,
            Session(setup, sources, folder, mesh, quiet, preemption) as session,
        ):
            return session.run()
    except (ConfigError, TrainingFailed, Preempted):
        raise
    except Exception as error:
        line = errors.explain(error, folder)
        if line is not None and isinstance(error, TransientDataError):
            raise Preempted(line) from error
        if line is not None:
            raise TrainingFailed(line) from error
        lost = processes.lost(error)
        if lost is not None:
            raise lost from error
        raise


def _known(
    folder: RunFolder, source: Source, init_from: str | None
) -> Statistics | None:
    """Return the channel statistics that this run goes by, if they are known.

    These are the ones that it began with, if on these images, since measuring them
    decodes 10,000 images of a streamed set. A new run keeps those of the run that its
    encoder comes from: other numbers would be another input to the same weights.
    """
    own = folder.load_data([])
    if own.mean is not None and own.std is not None and own.examples == source.size:
        if own.fingerprint == _fingerprint(source, own):
            return tuple(own.mean), tuple(own.std)
    if init_from is None:
        return None
    first = RunFolder(init_from).load_data([])
    channels = source.image_shape[2]
    if first.mean is None or first.std is None or len(first.mean) != channels:
        return None
    return tuple(first.mean), tuple(first.std)


def _claim(
    folder: RunFolder, setup: Setup, source: Source, words: list[str], extend: bool
) -> str:
    """Create the run folder, or check that its run may be resumed.

    Returns:
        What more epochs do to the run's schedules; empty if there are none.
    """
    record = _data_record(setup, source)
    existed = folder.claim(setup.config, fill_gaps=methods.resolve, extend=extend)
    changed, effect = [], ""
    if existed:
        saved = methods.resolve(folder.load_config())
        changed = differences(saved, setup.config, allowed=())
        _check_same_data(folder, record, source, changed)
        effect = effect_of_extending(folder, setup)
    with folder.refusing():
        if changed:
            # Evaluations read the images where they are now.
            folder.write_config(setup.config)
        folder.write_environment(words, [*changed, *filter(None, [effect])])
        folder.write_data(record)
        if existed:
            # Images replaced before the run was resumed stay listed.
            add_to_list(folder, source.skipped)
        else:
            folder.write_skipped(source.skipped)
    return effect


def _check_same_data(
    folder: RunFolder, record: DataRecord, source: Source, changed: list[str]
) -> None:
    """Refuse to resume on images other than those the run started with."""
    saved = folder.load_data()
    if saved.name not in (None, record.name):
        record = replace(record, fingerprint=_fingerprint(source, saved))
    for key in ("examples", "image_shape", "num_classes", "fingerprint"):
        before, now = getattr(saved, key), getattr(record, key)
        # None: not recorded, except where unlabelled images have no classes.
        unknown = before is None and (key != "num_classes" or not saved.complete)
        if before != now and not unknown:
            raise ConfigError(
                f"{folder.path} was trained on different data ({key}: {before} -> "
                f"{now}); restore that data or use another --workdir"
            )
    # Under "auto" the store decides. Older versions did not record the crops.
    moved = any(line.startswith("data.store:") for line in changed)
    large = min(source.image_shape[:2]) > LARGEST_STORED
    if record.crop != saved.crop and (saved.crop or (moved and large)):
        raise ConfigError(
            f"{folder.path} cut its views out of {saved.crop or 'other'} images, which "
            f"this --data.store would replace by {record.crop} ones; use the one that "
            "it had or another --workdir"
        )


def _fingerprint(source: Source, saved: DataRecord) -> str:
    """Return the fingerprint of a set that may have another name since it was moved."""
    name = source.name if saved.name is None else saved.name
    return replace(source, name=name).fingerprint()


def _optional_test(config: Config, source: Source) -> Source | None:
    if not source.labelled:
        return None
    try:
        return load_split(config, train=False, image_shape=source.image_shape)
    except ValueError as error:
        print(f"no kNN monitor: {error}")
        return None


def _data_record(setup: Setup, source: Source) -> DataRecord:
    return DataRecord(
        name=source.name,
        split=source.split,
        examples=source.size,
        image_shape=source.image_shape,
        num_classes=source.num_classes,
        class_names=source.class_names,
        mean=setup.mean,
        std=setup.std,
        fingerprint=source.fingerprint(),
        skipped=len(source.skipped),
        note=source.note,
        crop="original" if setup.crops_on_host else "stored",
    )

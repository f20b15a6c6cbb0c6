"""How a run is computed again: repeated from its record, or resumed from where it was saved."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charlstm.config import RunConfig, flag
from charlstm.errors import DataError, InputOutputError, UsageError
from charlstm.network import device as devices
from charlstm.network.device import Device
from charlstm.storage import loaded as opened
from charlstm.storage.checkpoint import Checkpoint, Standing
from charlstm.storage.runs import Run
from charlstm.text import labels as labelling
from charlstm.text.corpus import Corpus
from charlstm.training import calibration
from charlstm.training import origin as origins
from charlstm.training.calibration import Timed
from charlstm.training.loop import Clock
from charlstm.training.order import Order, Ready, about
from charlstm.training.origin import Base
from charlstm.training.plan import Plan
from charlstm.training.state import Training

LENGTHS = ("time", "steps", "epochs")
"""The settings for the length of a run; only one of them is set."""
_CHANGEABLE = {*LENGTHS, "evaluations", "patience", "save_every"}


def repeat(order: Order, original: Run, given: Mapping[str, Any]) -> Ready:
    """Prepare to compute a run again from its beginning, following its record.

    Raises:
        DataError: if its text has changed, or its checkpoint is damaged.
        UsageError: if a setting would make it a different run.
    """
    checkpoint, standing, _ = _last_state(original)
    config = _changed(checkpoint.config, given, {"save_every"}, "--repeat")
    corpus = _same_text(order, config, checkpoint)
    device, notes = _same_device(standing, order)
    training = Training(config, corpus, device, order.group)
    if checkpoint.origin:
        base = _base_of(order, checkpoint)
        training.begin_with(base.weights(base.move(corpus.tokenizer), corpus), checkpoint.origin)
    timed = Timed(Plan.from_dict(standing.plan), Clock())
    remark = f"as {original.folder.name} was computed"
    return Ready(order.run, training, corpus, timed, remark, notes=(*notes, *about(corpus)))


def resume(order: Order, given: Mapping[str, Any]) -> Ready | None:
    """Prepare a run to go on from its last save; None if it had already finished when torchrun lost a process.

    Raises:
        DataError: if its text has changed, or its checkpoints are damaged.
        InputOutputError: if there is no such run.
        UsageError: if a setting would make it a different run, or it is finished.
    """
    run, group = order.run, order.group
    if not run.exists():
        raise InputOutputError(f"{run.folder}: no run to resume; start it without --resume")
    checkpoint, standing, damaged = _last_state(run)
    notes = []
    if damaged is not None and group.first:
        notes.append(f"{damaged}: going on from the state before it, step {checkpoint.step:,}")
    config = _changed(checkpoint.config, given, _CHANGEABLE, "--resume")
    newest = checkpoint.step
    if order.length_asked or _of_other_length(config, checkpoint.config):
        checkpoint, standing = _before_the_fall(run, checkpoint, standing)
        if checkpoint.step < newest:
            notes.append(f"going on from step {checkpoint.step:,}, at which the learning rate began to fall")
    corpus = _same_text(order, config, checkpoint)
    device, of_device = _same_device(standing, order)
    training = Training(config, corpus, device, group)
    training.restore(checkpoint)
    timed = _going_on(order, training, corpus, checkpoint.config, standing)
    steps = timed.plan.steps
    if newest >= steps and training.step < newest:
        raise UsageError(f"the run is at step {newest:,} already; train it further with more --steps, or --time")
    if training.step >= steps and training.at.row_step == training.step:
        if group.restarts:
            return None
        raise UsageError(f"{run.folder} is finished (step {training.step:,}): train it further with --steps or --time")
    if training.step > steps:
        raise UsageError(f"the run is at step {training.step:,} already; train it further with more --steps, or --time")
    notes = [*notes, *of_device, *about(corpus, resumed=True)]
    return Ready(
        run,
        training,
        corpus,
        timed,
        notes=tuple(notes),
        resumed=True,
        damaged=damaged is not None,
        longer=order.length_asked,
    )


def _last_state(run: Run) -> tuple[Checkpoint, Standing, Exception | None]:
    """Return a run's newest intact state, where it stands, and what was wrong with a newer one."""
    checkpoint, damaged = run.load_last()
    if checkpoint.training is None:
        raise DataError(f"{run.last}: holds only weights; start again with --force")
    return checkpoint, checkpoint.training, damaged


def _before_the_fall(run: Run, checkpoint: Checkpoint, standing: Standing) -> tuple[Checkpoint, Standing]:
    """Return the state from which a run goes on that is given another length, and where it stands.

    The fall ends a run: at the peak rate its weights would first get worse again. From the state at its beginning, the
    run goes on as if it had been longer from the start.
    """
    holds = Plan.from_dict(standing.plan).at(standing.step)
    if holds.begin is None or standing.step <= holds.begin:
        return checkpoint, standing
    level = run.load_level()
    if level is None or level.training is None or level.step != holds.begin:
        return checkpoint, standing
    before = dataclasses.replace(
        level.training,
        plan=standing.plan,
        machine=standing.machine,
        seconds=standing.seconds,
        best_loss=standing.best_loss,
        best_step=standing.best_step,
        scored=standing.scored,
        abandoned=standing.best_step is not None and standing.best_step > level.step,
    )
    return dataclasses.replace(level, training=before), before


def _same_text(order: Order, config: RunConfig, checkpoint: Checkpoint) -> Corpus:
    """Return the text that a run was started with, from the user's paths or from where it was.

    Raises:
        DataError: if it is a different text.
    """
    source = checkpoint.source
    if not order.paths and source.paths and all(Path(path).exists() for path in source.paths):
        order.tell(f"reading {' '.join(source.paths)}")
    order = dataclasses.replace(order, paths=order.paths or source.paths, val_paths=order.val_paths or source.val_paths)
    corpus = order.load(config, checkpoint.tokenizer)
    if (corpus.source.sha256, corpus.source.val_sha256) != (source.sha256, source.val_sha256):
        where = " ".join((*corpus.source.paths, *corpus.source.val_paths))
        raise DataError(
            f"{where}: not the text this run was started with (its SHA-256 differs); "
            "restore it, or start a new run with --name"
        )
    if (
        labelling.of_documents(corpus.train.ids, corpus.train.bounds, corpus.tokenizer)
        != checkpoint.tokenizer.label_counts
    ):
        raise DataError(
            f"{' '.join(corpus.source.paths)}: the documents have other labels than those this run was started with; "
            "give the files and folders their names again, or start a new run with --name"
        )
    return order.beside(config, checkpoint.origin, corpus)


def _base_of(order: Order, checkpoint: Checkpoint) -> Base:
    """Return the model that a run began with.

    Raises:
        DataError: if it has changed.
        InputOutputError: if it is gone.
    """
    origin = checkpoint.origin[-1]
    base = Base(origin.name, opened.load(origin.name, order.run.folder.parent))
    origins.require_same(base, origin)
    return base


def _going_on(order: Order, training: Training, corpus: Corpus, before: RunConfig, standing: Standing) -> Timed:
    """Return the plan of a resumed run: its own, or a new one if the user gave it another length."""
    plan = Plan.from_dict(standing.plan)
    config, old = training.config.train, before.train
    if order.length_asked or _of_other_length(training.config, before):
        return calibration.make(training, corpus, config, order.device, order.began, plan)
    holds = plan.at(training.step)
    changed = dataclasses.replace(holds, step=training.step)
    if config.evaluations != old.evaluations:
        changed = dataclasses.replace(changed, evaluate_every=math.ceil(plan.steps / config.evaluations))
    if holds.threads is not None:
        changed = dataclasses.replace(changed, threads=devices.threads())
    if dataclasses.replace(changed, step=holds.step) != holds:
        plan = plan.then(changed)
    return Timed(plan, Clock())


def _of_other_length(config: RunConfig, before: RunConfig) -> bool:
    """Return whether two configurations give a run different lengths."""
    return any(getattr(config.train, key) != getattr(before.train, key) for key in LENGTHS)


def _changed(config: RunConfig, given: Mapping[str, Any], changeable: set[str], option: str) -> RunConfig:
    """Return the configuration of a run, with the user's changes.

    Args:
        config: the settings of the run.
        given: what the user set.
        changeable: the settings that may be changed.
        option: the option that requires the settings of the run, for messages.

    Raises:
        UsageError: naming a setting that would make it a different run.
    """
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        part = getattr(config, field.name)
        changes = {key: value for key, value in given.items() if hasattr(part, key) and getattr(part, key) != value}
        fixed = sorted(set(changes) - changeable)
        if fixed:
            raise UsageError(
                f"{flag(fixed[0])} {changes[fixed[0]]}: the run was started with {getattr(part, fixed[0])}, "
                f"which {option} cannot change; leave the option out"
            )
        if any(key in changes for key in LENGTHS):
            changes = dict.fromkeys(LENGTHS) | changes
        parts[field.name] = dataclasses.replace(part, **changes)
    return RunConfig(**parts)


def _same_device(standing: Standing, order: Order) -> tuple[Device, list[str]]:
    """Return the device that the run used, or the requested one; and notes if the result will not be the same.

    On the same processor, the run goes on with as many threads as before.
    """
    before, config = standing.machine, order.device
    name = devices.choose(config)
    if config.threads is None and before.get("processor") == devices.processor(name):
        devices.choose(dataclasses.replace(config, threads=before.get("threads")))
    asked = before.get("precision", "fp32") if config.precision == "auto" else config.precision
    taken, note = devices.precision(asked, name)
    notes = [note] if note else []
    device = Device(name, taken)
    for key, value in (devices.machine(device) | {"processes": order.group.size}).items():
        was = before.get(key)
        if value != was:
            notes.append(f"{key} {value}, but {was} before: the run goes on, equal up to rounding, not bit for bit")
    return device, notes

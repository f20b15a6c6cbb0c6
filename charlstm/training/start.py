"""How a run starts: new, from another model, repeated from its record, or resumed from where it was saved.

Each of these returns a `Ready`, which says what will be trained on which text, and then trains. Nothing is written
before `Ready.claim`, and nothing is printed.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from charlstm.config import DeviceConfig, RunConfig, flag
from charlstm.errors import DataError, DivergedError, InputOutputError, UsageError
from charlstm.network import device as devices
from charlstm.network.device import Device
from charlstm.network.distributed import ALONE, Group, join, processes
from charlstm.storage import loaded as opened
from charlstm.storage.checkpoint import Checkpoint, Origin, Standing, state_bytes
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora
from charlstm.text import labels as labelling
from charlstm.text.cache import Cache, default_root
from charlstm.text.corpus import Corpus
from charlstm.text.gather import Watch
from charlstm.text.tokenizer import NONE_INHERITED, Inherited, Tokenizer
from charlstm.training import calibration, recipe
from charlstm.training import origin as origins
from charlstm.training.calibration import Timed
from charlstm.training.loop import Clock, train
from charlstm.training.origin import Base, Brought, trial
from charlstm.training.plan import Plan
from charlstm.training.recipe import Choice
from charlstm.training.records import Record
from charlstm.training.state import Training

LENGTHS = ("time", "steps", "epochs")
"""The settings for the length of a run; only one of them is set."""
_TRIAL_SECONDS, _TRIAL_SHARE = 8.0, 0.04  # of each of two ways to begin
_ENGLISH = "english"
_LEAST_ADVISED = 30.0  # seconds of a run for which a look at another way to begin is worth its time
_CHANGEABLE = {*LENGTHS, "evaluations", "patience", "save_every"}


def _unwatched() -> AbstractContextManager[Watch]:
    return nullcontext(lambda _, __: None)


@dataclass(frozen=True)
class Order:
    """What the user asked for, whether the run is new or resumed."""

    run: Run
    """Where it is kept."""
    paths: Sequence[str] = ()
    """The text; a resumed run knows its own."""
    val_paths: Sequence[str] = ()
    base: str | None = None
    """The model that a new run begins with: a run's name, its folder or a file; None: it begins from nothing."""
    device: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)
    cache: Cache = dataclasses.field(default_factory=lambda: Cache(default_root()))
    group: Group = ALONE
    began: float = dataclasses.field(default_factory=time.monotonic)
    """`time.monotonic()` at the moment from which the run's time counts."""
    length_asked: bool = False
    """Whether the user gives a length now; a run is then extended to that length, or by that much time."""
    tell: Callable[[str], None] = lambda _: None
    """Called with a message about what is being done."""
    watching: Callable[[], AbstractContextManager[Watch]] = _unwatched
    """Returns a context manager that yields the function to call with the progress of reading."""

    def load(
        self, config: RunConfig, tokenizer: Tokenizer | None = None, inherited: Inherited = NONE_INHERITED
    ) -> Corpus:
        """Read the corpus; one process on each machine reads it, and the others take it from the cache.

        Args:
            config: the settings of the run.
            tokenizer: the tokenizer of a run that was started earlier.
            inherited: what the vocabulary of a new run has from the model that it begins with.

        Raises:
            UsageError: if the time of the run is over before the text has been read.
        """
        # A run that is resumed unchanged, or repeated, has no clock.
        limit = config.train.time if tokenizer is None or self.length_asked else None
        with self.group.one_first(), self.watching() as show:

            def watch(read: int, total: int) -> None:
                show(read, total)
                if limit is not None and time.monotonic() - self.began > limit:
                    share = f"{read / total:.0%} of " if total else ""
                    raise UsageError(
                        f"--time {limit:g}s was over when {share}the text had been read; "
                        "give more time, or --steps or --epochs"
                    )

            return corpora.load(
                self.paths,
                self.val_paths,
                config.text,
                tokenizer,
                inherited=inherited,
                cache=self.cache,
                watch=watch,
            )

    def beside(self, config: RunConfig, origin: Sequence[Origin], corpus: Corpus) -> Corpus:
        """Return the corpus with the text of the model that the run began with, if `--keep` asks for it.

        Raises:
            MissingTextError: if that text is no longer there.
        """
        if not config.train.keep or not origin:
            return corpus
        with self.group.one_first():
            last = origin[-1]
            text = opened.training_text(last.source, last.text, corpus.tokenizer, "--keep reads it", self.cache)
        return dataclasses.replace(corpus, beside=text)


@dataclass(frozen=True)
class Ready:
    """A run that is ready to start, or to go on."""

    run: Run
    training: Training
    corpus: Corpus
    timed: Timed
    remark: str = ""
    """Why it is computed this way, in a few words."""
    choices: tuple[Choice, ...] = ()
    """What the recipe chose, and what the user set."""
    notes: tuple[str, ...] = ()
    """What a user should know before it starts."""
    resumed: bool = False
    """Whether it goes on from where it was saved."""
    damaged: bool = False
    """Whether its newest state is damaged, so that it goes on from the one before."""
    longer: bool = False
    """Whether it goes on for a length that the user gave now."""
    brought: Brought | None = None
    """What the model that it begins with knows of the text."""

    def claim(self) -> None:
        """Prepare the run's folder: a new run removes an earlier run's files, a resumed one cuts its metrics.

        Raises:
            InputOutputError: if the folder cannot be written, or the disk is too full.
        """
        training = self.training
        if not training.group.first:
            return
        tokenizer = self.corpus.tokenizer
        size = state_bytes(training.config, tokenizer.vocab_size, len(tokenizer.labels))
        if self.resumed:
            if self.damaged:
                self.run.drop_damaged()
            self.run.make_room(size)
            self.run.cut_metrics(training.at.row_step)
        else:
            self.run.create(size)

    def records(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Record]:
        """Train, and yield what happens; the last record says why the run ended.

        Args:
            stop: called after every step, and while the held-out text is scored.

        Raises:
            DivergedError: if the loss is not finite for the second time; earlier checkpoints are kept.
            InputOutputError: if the last state of the run cannot be written.
        """
        try:
            yield from train(self.training, self.corpus, self.run, self.timed.plan, stop, self.timed.clock)
        except DivergedError as error:
            raise DivergedError(
                f"{error}; the last good state is kept in {self.run.last}; "
                f"try a lower --learning-rate than {self.training.config.train.learning_rate:g}, or --precision fp32"
            ) from None


def join_processes(config: DeviceConfig, paths: Collection[str]) -> Group:
    """Return the group of the torchrun job that this process belongs to.

    Raises:
        UsageError: if several processes would have to share a pipe.
    """
    if processes() == 1:
        return ALONE
    if "-" in paths:
        raise UsageError("-: several processes cannot share the standard input; give a file")
    return join(devices.choose(config))


def new(order: Order, config: RunConfig, given: Collection[str]) -> Ready:
    """Prepare a new run, with the recipe's choices for this text, time and machine.

    Args:
        order: what the user asked for.
        config: the settings, given or default.
        given: the names of the settings that the user set; these are not changed.

    Raises:
        DataError: if the text cannot be used, or is too short.
        InputOutputError: if a file is missing or cannot be read.
        UsageError: if the settings make no sense together, or this machine has no such processor.
    """
    if order.base is not None:
        return _from(order, Base(order.base, opened.load(order.base, order.run.folder.parent)), config, given)
    for name in ("keep", "drop_old_characters"):
        if getattr(config.train, name):
            raise UsageError(f"{flag(name)}: it is about the model given with --from; give both, or leave it out")
    ready = _prepared(order, config, given, order.load(config))
    advice = _advice(order, config, given, ready.corpus)
    return dataclasses.replace(ready, notes=(*ready.notes, *advice))


def _prepared(
    order: Order, config: RunConfig, given: Collection[str], corpus: Corpus, known: float | None = None
) -> Ready:
    """Return a new run, with the recipe's choices.

    Args:
        order: what the user asked for.
        config: the settings, given or default.
        given: the names of the settings that are not changed.
        corpus: the text.
        known: what a trained model knows of the text that it begins with (`recipe.most_epochs`); None: nothing.
    """
    order.tell("measuring this machine")
    prepared = calibration.prepare(config, given, corpus, order.device, order.began, order.group, known)
    why = ""
    if order.device.precision == "auto" and devices.has_bf16(prepared.training.device.name):
        other = "fp32" if prepared.training.device.precision == "bf16" else "bf16"
        why = f"measured faster than {other}"
    return Ready(
        order.run,
        prepared.training,
        corpus,
        prepared.timed,
        why,
        tuple(prepared.choices),
        (*prepared.notes, *_about(corpus)),
    )


def _from(order: Order, base: Base, config: RunConfig, given: Collection[str]) -> Ready:
    """Return a new run that begins with a trained model."""
    asked, config = config, base.settle(config, given)
    corpus = order.load(config, inherited=base.inherited(characters=not config.train.drop_old_characters))
    corpus = order.beside(config, base.origin, corpus)
    order.tell(f"measuring what {base.name} knows of this text")
    moved = base.move(corpus.tokenizer)
    config = dataclasses.replace(config, model=moved.config)
    weights = base.weights(moved, corpus)
    found = origins.brought(base, weights, moved, corpus)
    ready = _prepared(order, config, {*given, *origins.SHAPE}, corpus, found.known)
    ready.training.begin_with(weights, base.origin)
    ready = dataclasses.replace(ready, brought=found, choices=origins.explained(ready.choices, base))
    if not found.doubtful or asked.train.keep:
        return ready
    return _better(order, base, ready, weights, _prepared(order, asked, given, order.load(asked)))


def _better(
    order: Order, base: Base, ready: Ready, weights: Mapping[str, npt.NDArray[Any]], from_nothing: Ready
) -> Ready:
    """Return the run that learns more in a moment: one that begins with a trained model, or one from nothing."""
    order.tell(f"comparing a start with {base.name} with one from nothing")
    limit = ready.training.config.train.time
    seconds = _TRIAL_SECONDS if limit is None else min(_TRIAL_SECONDS, _TRIAL_SHARE * limit)
    bits = [trial(each.training, each.corpus, seconds) / math.log(2) for each in (ready, from_nothing)]
    with_base, without = order.group.agree(bits)
    taken = ready if with_base <= without else from_nothing
    training = Training(taken.training.config, taken.corpus, taken.training.device, order.group)
    if taken is ready:
        training.begin_with(weights, base.origin)
    epochs = recipe.most_epochs(None if taken.brought is None else taken.brought.known)
    timed = calibration.make(
        training, taken.corpus, training.config.train, order.device, order.began, most_epochs=epochs
    )
    way = f"with {base.name}" if taken is ready else "from nothing"
    note = (
        f"{base.name} knows little of this text: {seconds:.0f} seconds of training left {with_base:.2f} bits per "
        f"character with it and {without:.2f} without; this run begins {way}"
    )
    return dataclasses.replace(taken, training=training, timed=timed, notes=(note, *taken.notes))


def _advice(order: Order, config: RunConfig, given: Collection[str], corpus: Corpus) -> tuple[str, ...]:
    """Return a note if the pretrained model of English would help a run from nothing."""
    limit = config.train.time
    if limit is None or limit < _LEAST_ADVISED or {*given} & {"tokenizer", *origins.SHAPE}:
        return ()
    try:
        base = Base(_ENGLISH, opened.load(_ENGLISH, order.run.folder.parent))
    except (DataError, InputOutputError):
        return ()
    advice = origins.advice(base, corpus)
    return () if advice is None else (advice,)


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
    return Ready(order.run, training, corpus, timed, remark, notes=(*notes, *_about(corpus)))


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
    notes = [*notes, *of_device, *_about(corpus, resumed=True)]
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


def _about(corpus: Corpus, *, resumed: bool = False) -> Iterator[str]:
    """Yield what a user should know about how a text was read."""
    yield from corpus.notes()
    overlap = corpus.overlap
    if overlap.documents and not overlap.dropped and not resumed:
        some = overlap.documents < overlap.of
        yield "--deduplicate leaves them out" if some else "name another held-out text with --val"


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

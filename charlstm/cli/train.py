"""`charlstm train`."""

import contextlib
import dataclasses
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import interrupts
from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig, flag
from charlstm.errors import DataError, DivergedError, InputOutputError, UsageError

if TYPE_CHECKING:
    from charlstm.cache import Cache
    from charlstm.checkpoint import Checkpoint
    from charlstm.corpus import Corpus
    from charlstm.device import Device
    from charlstm.distributed import Group
    from charlstm.plan import Timed
    from charlstm.recipe import Choice
    from charlstm.runs import Run
    from charlstm.schedule import Plan
    from charlstm.tokenizer import Tokenizer
    from charlstm.train import Finished, Training

_LENGTHS = ("time", "steps", "epochs")
_CHANGEABLE = {*_LENGTHS, "evaluations", "patience", "save_every"}


@click.command(context_settings=HELP, short_help="Learn from text files, folders or a pipe.")
@click.argument("paths", metavar="CORPUS...", nargs=-1)
@click.option("--name", help="Name of the run.  [default: the corpus's, without its ending]")
@click.option(
    "--checkpoints",
    "runs_root",
    type=click.Path(path_type=Path),
    default=Path("checkpoints"),
    show_default=True,
    help="Folder of the runs.",
)
@click.option("--val", "val_paths", metavar="FILE", multiple=True, help="Held-out text, instead of --val-fraction.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped, exactly as if it had not been.")
@click.option(
    "--repeat",
    metavar="NAME",
    help="Compute a run again from its beginning, with the same settings and whatever the clock decided in it.",
)
@click.option("--force", is_flag=True, help="Write over a run of the same name.")
@click.option("--verbose", is_flag=True, help="Say of every setting why it was chosen.")
@settings(TrainConfig, ModelConfig, TextConfig, DeviceConfig)
@cached
@common
@click.pass_context
def train(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    name: str | None,
    runs_root: Path,
    val_paths: tuple[str, ...],
    resume: bool,
    repeat: str | None,
    force: bool,
    verbose: bool,
    root: str | None,
    **values: Any,
) -> int:
    """Learn from text files, folders of them, or standard input (-); files may be compressed (gzip, xz, zstd).

    Each file is a document, and --separator or --field finds several in a file. The network learns where a document
    begins and ends, and forgets at its end: no document bears on another.

    Several processes train one model together where torchrun starts them, on a file system that all can see:
    torchrun --nproc-per-node 2 --max-restarts 3 -m charlstm train CORPUS. What is lost is begun again from the last
    save.

    The run is kept in checkpoints/NAME: best.safetensors (the weights with the lowest held-out loss),
    last.safetensors (where --resume goes on) and metrics.jsonl. Ctrl-C, SIGTERM and a closed terminal save and stop; a
    second one quits at once.
    """
    began = time.monotonic()
    device_config = collect(DeviceConfig, values)
    given = {key for key in values if ctx.get_parameter_source(key) is not click.core.ParameterSource.DEFAULT}
    config = RunConfig(
        text=collect(TextConfig, values), model=collect(ModelConfig, values), train=collect(TrainConfig, values)
    )
    if resume and force:
        raise UsageError("--resume and --force exclude each other: go on with the run, or write over it")
    if repeat is not None and resume:
        raise UsageError("--repeat and --resume exclude each other: compute a run again, or go on with one")
    if not paths and repeat is None and (name is None or not resume):
        raise UsageError(
            "--resume: which run? Give its --name, or the CORPUS it was begun with"
            if resume
            else "no CORPUS given: name a text file or a folder, like charlstm train corpus.txt"
        )
    from charlstm import runs
    from charlstm.distributed import leave

    if name is None:
        name = _name(paths[0]) if repeat is None else f"{repeat}-again"
    run = runs.named(name, runs_root)
    if run.folder.resolve() in {Path(path).resolve() for path in (*paths, *val_paths)}:
        raise UsageError(f"{run.folder}: the run would be kept in the text it learns from; give another --name")
    with _Stop() as stop:
        group = _join(device_config, (*paths, *val_paths))
        length_asked = not group.restarts and any(
            ctx.get_parameter_source(key) is click.core.ParameterSource.COMMANDLINE for key in _LENGTHS
        )
        setting = _Setting(
            paths, val_paths, run, device_config, open_cache(root), group, began, stop, verbose, length_asked
        )
        if group.restarts:  # torchrun has begun again after a process was lost
            resume = group.agree(run.last.exists() or run.previous.exists())
            force = not resume
        chosen = {key: values[key] for key in given}
        with _quiet(group), run.locked() if group.first else contextlib.nullcontext():
            if group.first and run.exists() and not force and not resume:
                raise UsageError(
                    f"{run.folder} holds a run: --resume goes on with it, --force writes over it, or give --name"
                )
            if resume:
                _resume(setting, chosen)
            elif repeat is not None:
                _repeat(setting, runs.named(repeat, runs_root), chosen)
            else:
                _start(setting, config, given)
        leave(group)
    return stop.exit_code


@dataclass(frozen=True)
class _Setting:
    """What a run is made with, whether it begins or goes on."""

    paths: Sequence[str]
    val_paths: Sequence[str]
    run: "Run"
    device: DeviceConfig
    cache: "Cache"
    group: "Group"
    began: float
    """`time.monotonic()` at which the command began."""
    stop: "_Stop"
    verbose: bool
    length_asked: bool
    """Whether the command line itself names a length: a finished run then gets that much more."""

    def load(self, config: RunConfig, tokenizer: "Tokenizer | None" = None) -> "Corpus":
        """Read the corpus; of the processes on a machine one does, and the others take it from the cache.

        Args:
            config: of the run.
            tokenizer: of a run that was begun before.

        Raises:
            UsageError: if the run's time is over before the text is read.
        """
        from charlstm import console

        if all(path == "-" or Path(path).exists() for path in self.paths):
            console.plain(f"reading {' '.join(self.paths)}")  # before anything that takes long to import
        from charlstm import corpus as corpora

        # A run that goes on as it was, or is computed again, has no clock.
        limit = config.train.time if tokenizer is None or self.length_asked else None

        def watch(read: int, total: int) -> None:
            show(read, total)
            if limit is not None and time.monotonic() - self.began > limit:
                share = f" {read / total:.0%} of" if total else ""
                raise UsageError(
                    f"--time {limit:g}s: over when{share} the text was read; give more time, or --steps or --epochs"
                )

        with self.group.one_first(), console.reading() as show:
            return corpora.load(self.paths, self.val_paths, config.text, tokenizer, cache=self.cache, watch=watch)


def _join(config: DeviceConfig, paths: Sequence[str]) -> "Group":
    """Return the processes that torchrun has started this command in."""
    from charlstm.distributed import ALONE, join, processes

    if processes() == 1:
        return ALONE
    if "-" in paths:
        raise UsageError("-: several processes cannot share the standard input; give a file")
    from charlstm.device import choose

    return join(choose(config))


@contextlib.contextmanager
def _quiet(group: "Group") -> Iterator[None]:
    """Have the first process alone speak; errors are told by each."""
    if group.first:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _start(setting: _Setting, config: RunConfig, given: set[str]) -> None:
    """Begin a run, with what the recipe chooses for this text, time and machine."""
    corpus = setting.load(config)

    from charlstm import console

    console.plain("measuring this machine")
    from charlstm import plan as plans

    prepared = plans.prepare(config, given, corpus, setting.device, setting.began, setting.group)
    training = prepared.training
    setting.stop.begin()
    if setting.group.first:
        setting.run.create(_size(training, corpus))
    for note in prepared.notes:
        console.warn(note)
    remark = _why(setting.device, training.device)
    _describe(setting, corpus, training, prepared.timed.plan, remark, prepared.choices)
    _train(setting, training, corpus, prepared.timed)


def _repeat(setting: _Setting, original: "Run", given: dict[str, Any]) -> None:
    """Compute a run again from its beginning, as its record says."""
    checkpoint, _ = _last_state(original)
    config = _changed(checkpoint.config, given, {"save_every"}, "--repeat")
    setting, corpus = _same_text(setting, config, checkpoint)

    from charlstm.plan import Timed
    from charlstm.schedule import Plan
    from charlstm.train import Clock, Training

    training = Training(config, corpus, _same_device(checkpoint, setting), setting.group)
    setting.stop.begin()
    if setting.group.first:
        setting.run.create(_size(training, corpus))
    plan = Plan.from_dict((checkpoint.training or {})["plan"])
    _describe(setting, corpus, training, plan, f"as {original.folder.name} was computed")
    _train(setting, training, corpus, Timed(plan, Clock()))


def _resume(setting: _Setting, given: dict[str, Any]) -> None:
    """Go on with a run where it was saved last."""
    from charlstm import console

    run, group = setting.run, setting.group
    if not run.exists():
        raise InputOutputError(f"{run.folder}: no run to go on with; start it without --resume")
    checkpoint, damaged = _last_state(run)
    if damaged is not None and group.first:
        console.warn(f"{damaged}: going on from the state before it, step {checkpoint.step:,}")
        run.drop_damaged()
    config = _changed(checkpoint.config, given, _CHANGEABLE, "--resume")
    setting, corpus = _same_text(setting, config, checkpoint)

    from charlstm.train import Training

    training = Training(config, corpus, _same_device(checkpoint, setting), group)
    training.restore(checkpoint)
    so_far = training.seconds
    timed = _going_on(setting, training, corpus, checkpoint)
    plan = timed.plan
    if training.step >= plan.steps and training.row_step == training.step:
        if group.restarts:  # all was done when a process was lost
            return
        raise UsageError(f"{run.folder} is finished (step {training.step:,}): train it further with --steps or --time")
    if training.step > plan.steps:
        raise UsageError(f"the run is at step {training.step:,} already; train it further with more --steps, or --time")
    setting.stop.begin()
    if group.first:
        run.make_room(_size(training, corpus))
        run.cut_metrics(training.row_step)
    remark = f"going on from step {training.step:,}, {console.spoken(so_far)} so far"
    _describe(setting, corpus, training, plan, remark)
    _train(setting, training, corpus, timed)


def _last_state(run: "Run") -> "tuple[Checkpoint, Exception | None]":
    """Return a run's newest state that is whole, and what was wrong with a newer one."""
    checkpoint, damaged = run.load_last()
    if checkpoint.training is None:
        raise DataError(f"{run.last}: holds weights alone; start again with --force")
    return checkpoint, damaged


def _same_text(setting: _Setting, config: RunConfig, checkpoint: "Checkpoint") -> "tuple[_Setting, Corpus]":
    """Return the text that a run was begun with, and where it was found.

    Raises:
        DataError: if it is another text.
    """
    source = checkpoint.source
    setting = dataclasses.replace(
        setting, paths=setting.paths or source.paths, val_paths=setting.val_paths or source.val_paths
    )
    corpus = setting.load(config, checkpoint.tokenizer)
    if (corpus.source.sha256, corpus.source.val_sha256) != (source.sha256, source.val_sha256):
        where = " ".join((*corpus.source.paths, *corpus.source.val_paths))
        raise DataError(
            f"{where}: not the text this run was begun with (its SHA-256 differs); "
            "restore it, or start a new run with --name"
        )
    return setting, corpus


def _going_on(setting: _Setting, training: "Training", corpus: "Corpus", checkpoint: "Checkpoint") -> "Timed":
    """Return the plan of a run that goes on: its own, or one of another length if it is given one."""
    from charlstm import plan as plans
    from charlstm.device import threads
    from charlstm.schedule import Plan
    from charlstm.train import Clock

    plan = Plan.from_dict((checkpoint.training or {})["plan"])
    config, old = training.config.train, checkpoint.config.train
    if any(getattr(config, key) != getattr(old, key) for key in _LENGTHS) or setting.length_asked:
        return plans.make(training, corpus, config, setting.device, setting.began, plan)
    holds = plan.at(training.step)
    changed = dataclasses.replace(holds, step=training.step)
    if config.evaluations != old.evaluations:
        changed = dataclasses.replace(changed, evaluate_every=math.ceil(plan.steps / config.evaluations))
    if holds.threads is not None:
        changed = dataclasses.replace(changed, threads=threads())
    if dataclasses.replace(changed, step=holds.step) != holds:
        plan = plan.then(changed)
    return plans.Timed(plan, Clock())


def _size(training: "Training", corpus: "Corpus") -> int:
    """Return about how many bytes a generation takes."""
    from charlstm.checkpoint import training_shapes, weight_shapes

    shapes = weight_shapes(training.config.model, corpus.tokenizer.vocab_size)
    return 4 * sum(math.prod(shape) for shape in (shapes | training_shapes(training.config, shapes)).values())


def _changed(config: RunConfig, given: dict[str, Any], changeable: set[str], option: str) -> RunConfig:
    """Return a run's own configuration, with the changes that may be made to it.

    Args:
        config: of the run.
        given: what the user set.
        changeable: the settings that may differ.
        option: which calls for the run's own settings.

    Raises:
        UsageError: naming a setting that would make another run of it.
    """
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        part = getattr(config, field.name)
        changes = {key: value for key, value in given.items() if hasattr(part, key) and getattr(part, key) != value}
        fixed = sorted(set(changes) - changeable)
        if fixed:
            raise UsageError(
                f"{flag(fixed[0])} {changes[fixed[0]]}: the run was begun with {getattr(part, fixed[0])}, "
                f"which {option} cannot change; leave the option out"
            )
        if any(key in changes for key in _LENGTHS):
            changes = dict.fromkeys(_LENGTHS) | changes
        parts[field.name] = dataclasses.replace(part, **changes)
    return RunConfig(**parts)


def _same_device(checkpoint: "Checkpoint", setting: _Setting) -> "Device":
    """Return the device that the run used, or the one asked for; warn if the result will not be the same.

    On the same processor the run goes on with as many threads as before.
    """
    from charlstm import console
    from charlstm.device import Device, choose, machine, precision, processor

    before = (checkpoint.training or {})["machine"]
    config = setting.device
    name = choose(config)
    if config.threads is None and before.get("processor") == processor(name):
        choose(dataclasses.replace(config, threads=before.get("threads")))
    asked = before.get("precision", "fp32") if config.precision == "auto" else config.precision
    taken, note = precision(asked, name)
    if note:
        console.warn(note)
    device = Device(name, taken)
    for key, value in (machine(device) | {"processes": setting.group.size}).items():
        if value != before.get(key):
            console.warn(
                f"{key} {value}, but {before.get(key)} before: the run goes on, to rounding but not to the bit"
            )
    return device


def _train(setting: _Setting, training: "Training", corpus: "Corpus", timed: "Timed") -> None:
    """Run the loop and draw it."""
    from charlstm import console
    from charlstm.schedule import Decision
    from charlstm.train import Finished
    from charlstm.train import train as loop

    run, plan, finished = setting.run, timed.plan, None
    try:
        with console.TrainingView(plan, training) as view:
            for record in loop(training, corpus, run, plan, setting.stop, timed.clock):
                view.show(record)
                if isinstance(record, Decision):
                    plan = plan.then(record)
                elif isinstance(record, Finished):
                    finished = record
    except DivergedError as error:
        raise DivergedError(
            f"{error}; the last good state is kept in {run.last}; "
            f"try a lower --learning-rate than {training.config.train.learning_rate:g}, or --precision fp32"
        ) from None
    assert finished is not None
    _conclude(finished, training, corpus, run, plan)


def _why(asked: DeviceConfig, device: "Device") -> str:
    """Return in words how the precision came about; nothing if there was no choice."""
    from charlstm.device import has_bf16

    if asked.precision != "auto" or not has_bf16(device.name):
        return ""
    return "measured faster than fp32" if device.precision == "bf16" else "measured faster than bf16"


def _describe(
    setting: _Setting,
    corpus: "Corpus",
    training: "Training",
    plan: "Plan",
    remark: str,
    choices: "Sequence[Choice]" = (),
) -> None:
    """Say what is trained on what, for how long, and what was chosen for it."""
    from charlstm import console, recipe
    from charlstm.device import threads
    from charlstm.plan import too_short

    config, device = training.config, training.device
    framed = corpus.tokenizer.end_id is not None
    documents = f" in {corpus.train.documents:,} documents" if framed else ""
    ends = ", an end counting as a character" if framed else ""
    for line in corpus.notes():
        console.warn(line)
    overlap = corpus.overlap
    if overlap.documents and not overlap.dropped and not training.step:
        some = overlap.documents < overlap.of
        console.warn("--deduplicate leaves them out" if some else "name another held-out text with --val")
    parameters = recipe.parameters(config.model, corpus.tokenizer.vocab_size)
    rows = [
        ("run", str(setting.run.folder)),
        (
            "text",
            f"{corpus.train.characters:,} characters{documents} to learn from, {corpus.val.characters:,} held out, "
            f"vocabulary of {corpus.tokenizer.vocab_size:,}"
            f"{ends}",
        ),
        ("model", f"{config.model.words}, {parameters / 1e6:.2f} M parameters"),
        ("length", _length(setting, training, plan)),
    ]
    if plan.part is not None:
        end = ", and all of them at the end" if plan.whole else ""
        rows.append(("measured", f"on about {plan.part:,} of the held-out characters, always the same ones{end}"))
    counted = f", {threads()} {'thread' if threads() == 1 else 'threads'}" if device.name == "cpu" else ""
    remark = f" ({remark})" if remark else ""
    rows.append(("device", f"{device.name}, {device.precision}{counted}, seed {config.train.seed}{remark}"))
    telling = [(choice.name, choice.words) for choice in choices if setting.verbose or choice.matters]
    console.table([*rows, *telling])
    if note := too_short(plan, training):
        console.warn(note)


def _length(setting: _Setting, training: "Training", plan: "Plan") -> str:
    """Return how long a run is, in words."""
    from charlstm import console, recipe

    left, windows, limit = plan.steps - training.step, training.batches.windows, training.config.train.time
    steps = f"{plan.steps:,} {'step' if plan.steps == 1 else 'steps'}, {plan.steps / windows:.1f} epochs"
    if limit is None or (training.step and not setting.length_asked):
        return steps
    if training.step:
        return f"{console.spoken(limit)} more, {console.spoken(training.seconds)} so far: about {left:,} steps more"
    if left >= recipe.MAX_EPOCHS * windows:
        return f"{steps}, in {console.spoken(limit)} at most: more readings would only teach it by heart"
    return f"{console.spoken(limit)}: about {steps}"


def _conclude(finished: "Finished", training: "Training", corpus: "Corpus", run: "Run", plan: "Plan") -> None:
    """Say how the run ended, how good it is, and what may come next."""
    from charlstm import console
    from charlstm.shell import command

    steps = f"step {finished.step:,} of {plan.steps:,}"
    reasons = {
        "done": f"all steps done ({steps})",
        "patience": f"no better held-out loss in {training.misses} measurements ({steps})",
        "deadline": f"the time is over ({steps}); this machine became too slow for a last measurement",
        "stopped": f"stopped and saved ({steps})",
    }
    rows = [("end", reasons[finished.reason])]
    plain = run.folder.parent == Path("checkpoints")
    name = run.folder.name if plain else str(run.last if finished.best_loss is None else run.best)
    resume: dict[str, str | bool | None] = {
        "resume": True,
        "name": run.folder.name,
        "checkpoints": None if plain else str(run.folder.parent),
    }
    if finished.best_loss is not None:
        part = f" of {corpus.val.characters:,}" if finished.scored != corpus.val.characters else ""
        scored = f", on {finished.scored:,}{part} characters" if finished.scored is not None else ""
        rows.append(
            (
                "held-out",
                f"{finished.best_loss:.4f} nats, {finished.best_loss / math.log(2):.4f} bits per character "
                f"(step {finished.best_step:,}{scored})",
            )
        )
    else:
        rows.append(("held-out", "not measured yet; the command below does it"))
    rows.append(("trained", f"{training.characters:,} characters in {console.spoken(training.seconds)}"))
    console.table(rows)
    more = None if finished.reason == "stopped" else "10m"
    console.commands(
        [
            ("sample", command("sample", name)),
            ("evaluate", command("eval", name)),
            ("go on", command("train", **resume, time=more)),
        ]
    )


def _name(path: str) -> str:
    """Return the name of a run on this corpus."""
    if path == "-":
        return "stdin"
    place = Path(path).resolve()
    return (place.name if place.is_dir() else place.stem) or "corpus"


class _Stopped(BaseException):
    """A signal has come while there is nothing to save."""


class _Stop:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a wish to stop; the second one ends the process at once.

    As long as nothing is learnt that could be saved, the command ends there and then.
    """

    _SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        from charlstm.distributed import processes

        self.exit_code = 0
        self._alone = processes() == 1
        self._saves = False  # whether there is something to save, and a loop that asks whether to stop

    def __call__(self) -> bool:
        return self.exit_code != 0

    def begin(self) -> None:
        """Save before the end from here on; a signal that came before, and that an import has put off, counts now."""
        if self():
            raise _Stopped
        self._saves = True

    def __enter__(self) -> "_Stop":
        # What nohup has made the process ignore, it goes on ignoring.
        self._before = {
            number: signal.signal(number, self._stop)
            for number in self._SIGNALS
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, kind: object, *_: object) -> bool:
        interrupts.forget()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return kind is _Stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        second, self.exit_code = self.exit_code != 0, self.exit_code or 128 + number
        if not self._saves:
            if second and interrupts.importing(frame):
                os._exit(self.exit_code)
            interrupts.after_imports(self._end, frame)
            return
        if not self._alone:
            return  # torchrun sends each of its processes another signal, and ends those that are slow
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        # os.write, because a handler may come in the middle of a print; nobody may be there to read it.
        with contextlib.suppress(OSError):
            os.write(2, b"\nsaving, then stopping (once more to quit at once)\n")

    def _end(self) -> None:
        if not self._saves:
            raise _Stopped

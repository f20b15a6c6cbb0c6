"""`charlstm train`."""

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig, flag
from charlstm.errors import DataError, DivergedError, InputOutputError, UsageError

if TYPE_CHECKING:
    from charlstm.cache import Cache
    from charlstm.checkpoint import Checkpoint
    from charlstm.corpus import Corpus
    from charlstm.device import Device
    from charlstm.distributed import Group
    from charlstm.runs import Run
    from charlstm.tokenizer import Tokenizer
    from charlstm.train import Finished, Plan, Training

_LENGTHS = ("time", "steps", "epochs")
_CHANGEABLE = {*_LENGTHS, "evaluations", "patience", "save_every"}


@click.command(context_settings=HELP)
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
@click.option("--force", is_flag=True, help="Write over a run of the same name.")
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
    force: bool,
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
    last.safetensors (where --resume goes on) and metrics.jsonl. Ctrl-C saves and stops; a second one quits at once.
    """
    began = time.monotonic()
    device_config = collect(DeviceConfig, values)
    given = {key for key in values if ctx.get_parameter_source(key) is not click.core.ParameterSource.DEFAULT}
    config = RunConfig(
        text=collect(TextConfig, values), model=collect(ModelConfig, values), train=collect(TrainConfig, values)
    )
    if resume and force:
        raise UsageError("--resume and --force exclude each other: go on with the run, or write over it")
    if not paths and (name is None or not resume):
        raise UsageError(
            "--resume: which run? Give its --name, or the CORPUS it was begun with"
            if resume
            else "no CORPUS given: name a text file or a folder, like charlstm train corpus.txt"
        )
    from charlstm import runs
    from charlstm.distributed import leave

    run = runs.named(name if name is not None else _name(paths[0]), runs_root)
    group = _join(device_config, (*paths, *val_paths))
    setting = _Setting(paths, val_paths, run, device_config, open_cache(root), group, began)
    if group.restarts:  # torchrun has begun again after a process was lost
        resume = group.agree(run.last.exists())
        force = not resume
    with _quiet(group):
        code = (
            _resume(setting, {key: values[key] for key in given}) if resume else _start(setting, config, given, force)
        )
    leave(group)
    return code


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

    def load(self, config: TextConfig, tokenizer: "Tokenizer | None" = None) -> "Corpus":
        """Read the corpus; of the processes on a machine one does, and the others take it from the cache."""
        from charlstm import console
        from charlstm import corpus as corpora

        with self.group.one_first(), console.reading() as watch:
            return corpora.load(self.paths, self.val_paths, config, tokenizer, cache=self.cache, watch=watch)


def _join(config: DeviceConfig, paths: Sequence[str]) -> "Group":
    """Return the processes that torchrun has started this command in."""
    from charlstm.distributed import ALONE, join

    if os.environ.get("WORLD_SIZE", "1") == "1":
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


def _start(setting: _Setting, config: RunConfig, given: set[str], force: bool) -> int:
    run, group = setting.run, setting.group
    if group.first and run.exists() and not force:
        raise UsageError(f"{run.folder} holds a run: --resume goes on with it, --force writes over it, or give --name")
    corpus = setting.load(config.text)

    from charlstm import console
    from charlstm import plan as plans

    with _Stop(group) as stop:
        prepared = plans.prepare(config, given, corpus, setting.device, setting.began, stop, group)
        if any(group.any([stop()])):  # nothing was learnt yet, and nothing is written over
            return stop.exit_code
        training, plan = prepared.training, prepared.plan
        if group.first:
            run.create()
        _describe(run, corpus, training, plan, _why(setting.device, training.device))
        console.table(
            (choice.name.replace("_", " "), f"{choice.value:g}: {choice.reason}") for choice in prepared.choices
        )
        return _train(training, corpus, run, plan, stop)


def _resume(setting: _Setting, given: dict[str, Any]) -> int:
    run, group = setting.run, setting.group
    if not run.exists():
        raise InputOutputError(f"{run.folder}: no run to go on with; start it without --resume")
    checkpoint = run.load_last()
    if checkpoint.training is None:
        raise DataError(f"{run.last}: holds weights alone; start again with --force")
    config = _changed(checkpoint.config, given)
    source = checkpoint.source
    setting = dataclasses.replace(
        setting, paths=setting.paths or source.paths, val_paths=setting.val_paths or source.val_paths
    )
    corpus = setting.load(config.text, checkpoint.tokenizer)
    if (corpus.source.sha256, corpus.source.val_sha256) != (source.sha256, source.val_sha256):
        where = " ".join((*corpus.source.paths, *corpus.source.val_paths))
        raise DataError(
            f"{where}: not the text this run was begun with (its SHA-256 differs); "
            "restore it, or start a new run with --name"
        )

    from charlstm import plan as plans
    from charlstm.train import Plan, Training

    with _Stop(group) as stop:
        device = _same_device(checkpoint, setting)
        training = Training(config, corpus, device, group)
        training.restore(checkpoint)
        plan = Plan(**checkpoint.training["plan"])
        if any(getattr(config.train, key) != getattr(checkpoint.config.train, key) for key in _LENGTHS):
            plan = plans.make(training, corpus, config.train, setting.began, stop)
        if training.step >= plan.steps and training.row_step == training.step:
            if group.restarts:  # all was done when a process was lost
                return 0
            raise UsageError(
                f"{run.folder} is finished (step {training.step:,}): train it further with --steps or --time"
            )
        if any(group.any([stop()])):
            return stop.exit_code
        if group.first:
            run.cut_metrics(training.step)
        _describe(run, corpus, training, plan, f"going on from step {training.step:,}")
        return _train(training, corpus, run, plan, stop)


def _changed(config: RunConfig, given: dict[str, Any]) -> RunConfig:
    """Return the run's own configuration, with the changes a resume may make.

    Raises:
        UsageError: naming an option that would make another run of it.
    """
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        part = getattr(config, field.name)
        changes = {key: value for key, value in given.items() if hasattr(part, key) and getattr(part, key) != value}
        fixed = sorted(set(changes) - _CHANGEABLE)
        if fixed:
            raise UsageError(
                f"{flag(fixed[0])} {changes[fixed[0]]}: the run was begun with {getattr(part, fixed[0])}, "
                "which --resume cannot change; leave the option out"
            )
        if any(key in changes for key in _LENGTHS):
            changes = dict.fromkeys(_LENGTHS) | changes
        parts[field.name] = dataclasses.replace(part, **changes)
    return RunConfig(**parts)


def _same_device(checkpoint: "Checkpoint", setting: _Setting) -> "Device":
    """Return the device that the run used, or the one asked for; warn where the result will not be the same."""
    import torch

    from charlstm import console
    from charlstm.device import Device, choose

    before = {"processes": 1} | (checkpoint.training or {})
    config = setting.device
    device = Device(choose(config), before["precision"] if config.precision == "auto" else config.precision)
    now = {
        "device": device.name,
        "precision": device.precision,
        "threads": torch.get_num_threads(),
        "processes": setting.group.size,
    }
    for key, value in now.items():
        if value != before[key]:
            console.warn(f"{key} {value}, but {before[key]} before: the run goes on, to rounding but not to the bit")
    return device


def _train(training: "Training", corpus: "Corpus", run: "Run", plan: "Plan", stop: "_Stop") -> int:
    """Run the loop and draw it; return the exit code."""
    from charlstm import console
    from charlstm.train import Finished
    from charlstm.train import train as loop

    finished = None
    try:
        with console.TrainingView(plan, training) as view:
            for record in loop(training, corpus, run, plan, stop):
                view.show(record)
                if isinstance(record, Finished):
                    finished = record
    except DivergedError as error:
        kept = f"the last good state is kept in {run.last}" if run.last.exists() else "nothing was saved yet"
        raise DivergedError(
            f"{error}; {kept}; try a lower --learning-rate than {training.config.train.learning_rate:g}, "
            "or --precision fp32"
        ) from None
    assert finished is not None
    _conclude(finished, training, run, plan)
    return stop.exit_code


def _why(asked: DeviceConfig, device: "Device") -> str:
    """Return in words how the precision came about."""
    if asked.precision != "auto":
        return "as asked for"
    return "bf16 being measured the faster" if device.precision == "bf16" else "fp32 being the faster or the only one"


def _describe(run: "Run", corpus: "Corpus", training: "Training", plan: "Plan", remark: str) -> None:
    from charlstm import console, recipe

    config, device = training.config, training.device
    framed = corpus.tokenizer.end_id is not None
    documents = f" in {corpus.train.documents:,} documents" if framed else ""
    ends = ", an end counting as a character" if framed else ""
    for skipped in corpus.skipped[:3]:
        console.warn(f"skipped {skipped.path}: {skipped.reason}")
    if len(corpus.skipped) > 3:
        console.warn(f"skipped {len(corpus.skipped) - 3} more files that are no text")
    model = config.model
    parameters = recipe.parameters(model, corpus.tokenizer.vocab_size)
    length = f"{plan.steps:,} steps, {plan.steps / training.batches.windows:.1f} epochs"
    if config.train.time is not None and plan.deadline is not None:
        length += f", for {console.duration(config.train.time)}"
        if plan.steps - training.step >= recipe.MAX_EPOCHS * training.batches.windows:
            length += " at most: reading the text more often would only teach it by heart"
    console.table(
        [
            ("run", str(run.folder)),
            (
                "text",
                f"{corpus.train.characters:,} characters{documents} to learn from, {corpus.val.characters:,} held out, "
                f"vocabulary of {corpus.tokenizer.vocab_size:,}"
                f"{ends}",
            ),
            ("model", f"{config.model.words}, {parameters / 1e6:.2f} M parameters"),
            ("length", length),
            ("device", f"{device.name}, {device.precision}, seed {config.train.seed}, {remark}"),
        ]
    )


def _conclude(finished: "Finished", training: "Training", run: "Run", plan: "Plan") -> None:
    import math

    from charlstm import console

    reasons = {
        "done": "all steps done",
        "patience": f"no better held-out loss in {training.misses} measurements",
        "deadline": f"the time was up {plan.steps - finished.step:,} steps early: this machine became slower",
        "stopped": "stopped and saved",
    }
    rows = [("end", f"{reasons[finished.reason]} (step {finished.step:,} of {plan.steps:,})")]
    if finished.best_loss is not None:
        rows.append(
            (
                "held-out",
                f"{finished.best_loss:.4f} nats a character, {finished.best_loss / math.log(2):.4f} bits "
                f"(step {finished.best_step:,})",
            )
        )
    rows.append(("trained", f"{training.characters:,} characters in {console.duration(training.seconds)}"))
    console.table(rows)
    plain = run.folder.parent == Path("checkpoints")
    name = run.folder.name if plain else str(run.best)
    root = "" if plain else f" --checkpoints {run.folder.parent}"
    resume = ("resume", f"charlstm train --resume --name {run.folder.name}{root}")
    if finished.reason == "stopped":
        console.commands([resume])
    if finished.best_loss is not None:
        console.commands([("sample", f"charlstm sample {name}"), ("evaluate", f"charlstm eval {name}")])
    if finished.reason == "done":
        console.commands([("go on", f"{resume[1]} --time 10m")])


def _name(path: str) -> str:
    """Return the name of a run on this corpus."""
    if path == "-":
        return "stdin"
    place = Path(path).resolve()
    return (place.name if place.is_dir() else place.stem) or "corpus"


class _Stop:
    """Turns the first SIGINT or SIGTERM into a wish to stop; the second one ends the process at once.

    Not so among several processes: torchrun itself sends each of them another signal, and ends those that are slow.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, group: "Group") -> None:
        self.exit_code = 0
        self._patient = group.size > 1

    def __call__(self) -> bool:
        return self.exit_code != 0

    def __enter__(self) -> "_Stop":
        self._before = {number: signal.signal(number, self._stop) for number in self._SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = self.exit_code or 128 + number
        if self._patient:
            return
        for each in self._SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # os.write, because a handler may come in the middle of a print.
        os.write(sys.stderr.fileno(), b"\nsaving, then stopping (once more to quit at once)\n")

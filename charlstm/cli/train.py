"""`charlstm train`."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.errors import UsageError

if TYPE_CHECKING:
    from charlstm.cli.stop import Stop
    from charlstm.network.distributed import Group
    from charlstm.training.order import Ready


@click.command(context_settings=HELP, short_help="Learn from text files, folders or a pipe.")
@click.argument("paths", metavar="CORPUS...", nargs=-1)
@click.option("--name", help="Name of the run.  [default: the name of the corpus, without its extension]")
@click.option(
    "--checkpoints",
    "runs_root",
    type=click.Path(path_type=Path),
    default=Path("checkpoints"),
    show_default=True,
    help="Folder of the runs.",
)
@click.option("--val", "val_paths", metavar="FILE", multiple=True, help="Held-out text, instead of --val-fraction.")
@click.option(
    "--from",
    "base",
    metavar="CHECKPOINT",
    help="Begin with a trained model, such as `english`, instead of nothing: a run's name, its folder or a file.",
)
@click.option("--resume", is_flag=True, help="Go on with a stopped run, exactly as if it had never been stopped.")
@click.option(
    "--repeat",
    metavar="NAME",
    help="Compute a run again from the beginning, with the same settings and the decisions its clock made.",
)
@click.option("--force", is_flag=True, help="Overwrite a run of the same name.")
@click.option("--verbose", is_flag=True, help="Say why each setting was chosen.")
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
    base: str | None,
    resume: bool,
    repeat: str | None,
    force: bool,
    verbose: bool,
    root: str | None,
    **values: Any,
) -> int:
    """Learn from text files, folders of them, or standard input (-); files may be compressed (gzip, xz, zstd).

    Each file is a document; with --separator or --field, a file can contain several. The network learns where documents
    begin and end, and forgets each one at its end: documents never influence each other.

    With torchrun, several processes can train one model together, on a file system that all of them can see:
    torchrun --nproc-per-node 2 --max-restarts 3 -m charlstm train CORPUS. If a process is lost, all start again from
    the last save.

    The run is kept in checkpoints/NAME: best.safetensors (the weights with the lowest held-out loss),
    last.safetensors (from where --resume goes on) and metrics.jsonl. Ctrl-C, SIGTERM or closing the terminal saves and
    stops; a second signal quits at once.
    """
    began = time.monotonic()
    given = {key for key in values if ctx.get_parameter_source(key) is not click.core.ParameterSource.DEFAULT}
    config = RunConfig(
        text=collect(TextConfig, values), model=collect(ModelConfig, values), train=collect(TrainConfig, values)
    )
    _require_sense(paths, name, base, resume=resume, repeat=repeat, force=force)
    from charlstm.cli.stop import Stop
    from charlstm.network.distributed import leads, leave
    from charlstm.show import terminal
    from charlstm.storage import runs

    if name is None:
        name = runs.name_for(paths[0]) if repeat is None else f"{repeat}-again"
    run = runs.named(name, runs_root)
    if run.folder.resolve() in {Path(path).resolve() for path in (*paths, *val_paths)}:
        raise UsageError(f"{run.folder}: the run would be kept in the text it learns from; give another --name")
    if paths and leads() and all(path == "-" or Path(path).exists() for path in paths):
        terminal.plain(f"reading {' '.join(paths)}")  # shown now, because torch takes a moment to load
    with Stop() as stop:
        from charlstm.training import again, start
        from charlstm.training.order import Order, join_processes

        device = collect(DeviceConfig, values)
        group = join_processes(device, (*paths, *val_paths))
        if group.restarts:  # torchrun has restarted the job after losing a process
            resume = group.agree(run.last.exists() or run.previous.exists())
            force = not resume
        named_now = any(
            ctx.get_parameter_source(key) is click.core.ParameterSource.COMMANDLINE for key in again.LENGTHS
        )
        order = Order(
            run=run,
            paths=paths,
            val_paths=val_paths,
            base=base,
            device=device,
            cache=open_cache(root),
            group=group,
            began=began,
            length_asked=named_now and not group.restarts,
            tell=terminal.plain,
            watching=terminal.reading,
        )
        chosen = {key: values[key] for key in given}
        with _quiet(group), run.locked() if group.first else contextlib.nullcontext():
            if group.first and run.exists() and not force and not resume:
                raise UsageError(
                    f"{run.folder} holds a run: go on with it (--resume), overwrite it (--force), or give a --name"
                )
            if resume:
                ready = again.resume(order, chosen)
            elif repeat is not None:
                ready = again.repeat(order, runs.named(repeat, runs_root), chosen)
            else:
                ready = start.new(order, config, given)
            if ready is not None:
                stop.begin()
                ready.claim()
                _train(ready, stop, verbose=verbose)
        leave(group)
    return stop.exit_code


def _require_sense(
    paths: tuple[str, ...], name: str | None, base: str | None, *, resume: bool, repeat: str | None, force: bool
) -> None:
    """Raise `UsageError` if the arguments do not make sense together."""
    if base == "":
        raise UsageError("--from '': name a run, its folder or a file")
    if base is not None and (resume or repeat is not None):
        other = "--resume" if resume else "--repeat"
        raise UsageError(f"--from and {other} exclude each other: a run knows what it began with; leave --from out")
    if resume and force:
        raise UsageError("--resume and --force exclude each other: go on with the run, or overwrite it")
    if repeat is not None and resume:
        raise UsageError("--repeat and --resume exclude each other: compute a run again, or go on with one")
    if paths or repeat is not None:
        return
    if not resume:
        raise UsageError("no CORPUS given: name a text file or a folder, like charlstm train corpus.txt")
    if name is None:
        raise UsageError("--resume: which run? Give its --name, or the CORPUS it was started with")


@contextlib.contextmanager
def _quiet(group: "Group") -> Iterator[None]:
    """Let only the first process write to stderr; errors are still reported by every process."""
    if group.first:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _train(ready: "Ready", stop: "Stop", *, verbose: bool) -> None:
    """Train, and show the progress."""
    from charlstm.show import training as show

    show.describe(ready, verbose=verbose)
    with show.TrainingView(ready.timed.plan, ready.training.step) as view:
        for record in ready.records(stop):
            view.show(record)
    assert view.finished is not None
    show.conclude(ready, view.finished, view.plan)

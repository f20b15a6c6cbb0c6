"""`charlstm eval`."""

import dataclasses
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import texts
from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import DeviceConfig
from charlstm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from charlstm.analysis.baselines import Baseline
    from charlstm.analysis.failures import Failures
    from charlstm.analysis.novelty import Novelty
    from charlstm.batches import Batch
    from charlstm.cache import Cache
    from charlstm.checkpoint import Checkpoint
    from charlstm.corpus import Split
    from charlstm.device import Device
    from charlstm.evaluate import Score
    from charlstm.model import CharLSTM

_EVERY = 16


@click.command("eval", context_settings=HELP, short_help="Measure how well a model predicts a text.")
@click.argument("checkpoint", required=False)
@click.argument("text", required=False)
@click.option(
    "--split",
    type=click.Choice(["all", "train", "val"]),
    default=None,
    help="Part of the text to score.  [default: all of a TEXT, else the held-out part]",
)
@click.option(
    "--cold",
    type=click.IntRange(1, 10**9),
    metavar="N",
    help="Score windows of N characters, each from a zero state: the protocol of models without one.",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Score it once more while a copy of the model goes on learning from what it was scored on.",
)
@click.option(
    "--baselines",
    is_flag=True,
    help="Set it beside n-grams, PPM and compressors, on the same text.",
)
@click.option(
    "--by-character",
    is_flag=True,
    help="Show where the model fails: by kind of character, the most surprising places, and its calibration.",
)
@click.option(
    "--novelty",
    is_flag=True,
    help="Show how much a sample copies from the training text, beside what the held-out text has in common with it.",
)
@click.option("--lines", is_flag=True, help="Print one score a line of TEXT, as it is read: bits a character.")
@click.option(
    "--context",
    is_flag=True,
    help="Show how far back the model looks: the loss by the number of characters read before.",
)
@click.option(
    "--every",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="With --context, score every Nth character: fewer between them take longer and show smaller differences.  "
    f"[default: {_EVERY}]",
)
@click.option(
    "--encoding", default=None, help="Encoding of TEXT, if the model reads characters.  [default: the training text's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --lines, one a line.")
@settings(DeviceConfig)
@cached
@common
def evaluate(
    checkpoint: str | None,
    text: str | None,
    split: str | None,
    cold: int | None,
    dynamic: bool,
    baselines: bool,
    by_character: bool,
    novelty: bool,
    lines: bool,
    context: bool,
    every: int | None,
    encoding: str | None,
    as_json: bool,
    device: str,
    precision: str,
    threads: int | None,
    root: str | None,
) -> None:
    """Measure how well a model predicts a text: the lower, the better.

    CHECKPOINT is a file, the folder or the name of a run; by default the newest. TEXT is a file, a folder, or - for
    standard input; by default the held-out part of the text the model was trained on. Every character counts, each
    given all before it, the first given a newline; an unknown character costs its <unk> and its place in Unicode.
    Where the model knows documents, each is scored for itself, and its end counts as a character.
    With --precision auto fp32 is used, as exact as the model. The interval says within which bounds the figure over
    endless text like this one lies, about 95 times of 100.

    --dynamic, --baselines, --by-character and --novelty add to this, and go together; docs/evaluation.md says what each
    of them means. --lines takes every line as a text of its own, whose end counts as a character.

    --context scores characters of the text after 1, 2, 4, ... 1024 characters of context, beside Kneser-Ney n-grams
    that have counted the training text; and shows how likely the right closing quote, bracket, speaker or indentation
    is by the distance from what it closes.

    If TEXT is given and the training text is not there, what needs that is left out, and a note says so.
    """
    more = {"--dynamic": dynamic, "--baselines": baselines, "--by-character": by_character, "--novelty": novelty}
    apart = {"--lines": lines, "--context": context, "--cold": cold is not None, **more}
    _refuse_together(apart, "--lines", list(apart)[1:])
    _refuse_together(apart, "--context", ["--cold", *more])
    _refuse_together(apart, "--cold", ["--dynamic"])
    if text is None and split in {"train", "all"} and (baselines or novelty):
        raise UsageError(f"--split {split}: it has been learnt from; --baselines and --novelty need text that was not")
    if lines and (text is None or split is not None):
        raise UsageError("--lines: name the TEXT whose lines are scored, or - for standard input, and no --split")
    if every is not None and not context:
        raise UsageError(f"--every {every}: it spaces what --context scores; give both, or leave it out")
    if text == "":
        raise UsageError("TEXT '': name a file or a folder, or - for standard input")
    device_config = collect(DeviceConfig, {"device": device, "precision": precision, "threads": threads})

    from charlstm import checkpoint as checkpoints
    from charlstm import console, runs

    path = runs.find(checkpoint)
    loaded = checkpoints.load(path)
    texts.require_encodable(encoding, text, loaded.tokenizer)
    cache = open_cache(root)
    what, part = ("", None) if lines else texts.scored(loaded, text, split, encoding, cache)

    from charlstm import device as devices
    from charlstm.model import CharLSTM

    name = devices.choose(device_config)
    taken, note = devices.precision("bf16" if precision == "bf16" else "fp32", name)
    if note:
        console.warn(note)
    chosen = devices.Device(name, taken)
    model = CharLSTM.from_weights(loaded.config.model, loaded.tokenizer.vocab_size, loaded.weights).to(chosen.name)
    if part is None:
        assert text is not None
        _lines(loaded, model, text, encoding, chosen, as_json=as_json)
    elif context:
        train = _training(loaded, cache, {"--context"}, text)
        _reach(loaded, model, part, train, chosen, every or _EVERY, as_json=as_json)
    else:
        subject = _Subject(path, loaded, model, what, part, chosen, device_config, cold)
        wanted = {name for name, given in more.items() if given}
        measured = _measure(subject, _training(loaded, cache, wanted, text), wanted)
        if as_json:
            console.Output().json(_row(measured, cold))
        else:
            _show(subject, measured)


def _refuse_together(given: dict[str, bool], option: str, others: list[str]) -> None:
    """Raise `UsageError` where an option was given with another one that excludes it."""
    for other in others:
        if given[option] and given[other]:
            raise UsageError(f"{option} and {other} exclude each other: give one of them")


_OF_TRAINING = {
    "--dynamic": "dynamic evaluation",
    "--baselines": "the baselines that know it",
    "--novelty": "novelty",
    "--context": "the n-grams",
}
"""What takes the training text, by the option that asks for it."""


def _training(loaded: "Checkpoint", cache: "Cache", wanted: set[str], text: str | None) -> "Split | None":
    """Return the training text if something that is wanted takes it.

    Where another TEXT is scored and the training text is not there, None is returned, and a note says what is left out.
    """
    from charlstm import console

    needing = {option: what for option, what in _OF_TRAINING.items() if option in wanted}
    if not needing:
        return None
    purpose = f"without it these are left out: {', '.join(needing.values())}"
    if text is None:
        purpose = f"needed for {', '.join(needing)}"
    try:
        return texts.training(loaded, cache, purpose)
    except texts.MissingTextError as error:
        if text is None:
            raise
        console.warn(str(error))
        return None


@dataclasses.dataclass(frozen=True)
class _Subject:
    """What is measured, and on what."""

    path: Path
    loaded: "Checkpoint"
    model: "CharLSTM"
    what: str
    """The text, in words."""
    part: "Split"
    device: "Device"
    device_config: DeviceConfig
    cold: int | None


@dataclasses.dataclass(frozen=True)
class _Scored:
    """A score, and how sure it is."""

    score: "Score"
    interval: tuple[float, float] | None
    """Bits a character; None of a text that is too short for it."""
    seconds: float


@dataclasses.dataclass(frozen=True)
class _Measured:
    """All that was measured; None is what was not asked for."""

    plain: _Scored
    learnt: _Scored | None = None
    baselines: "list[Baseline] | None" = None
    failures: "Failures | None" = None
    novelty: "Novelty | None" = None
    left_out: frozenset[str] = frozenset()
    """The options that asked for something which takes the training text, when that is not there."""


def _measure(subject: _Subject, train: "Split | None", more: set[str]) -> _Measured:
    """Score a text, and measure what else was asked for and can be had."""
    from charlstm import console
    from charlstm import evaluate as evaluation

    model, part, device, tokenizer = subject.model, subject.part, subject.device, subject.loaded.tokenizer
    copies = observer = None
    # A package that is missing is told before anything long begins.
    if "--novelty" in more and train is not None:
        copies = texts.copies(train, tokenizer)
    if "--by-character" in more:
        from charlstm.analysis.failures import Observer

        observer = Observer(part, tokenizer)
    read = evaluation.windows(model, part, tokenizer, device, cold=subject.cold)
    score = _scored(subject, read if observer is None else observer.watch(read), "scoring")
    measured = _Measured(score, left_out=frozenset() if train is not None else frozenset(more & set(_OF_TRAINING)))
    if observer is not None:
        measured = dataclasses.replace(measured, failures=observer.found())
    if "--dynamic" in more and train is not None:
        from charlstm import dynamic

        learnt = _scored(subject, dynamic.windows(model, part, train, tokenizer, device), "learning")
        measured = dataclasses.replace(measured, learnt=learnt)
    if "--baselines" in more:
        from charlstm.analysis import baselines

        if train is not None:
            texts.warn_of_length(train, baselines.MOST_TRAINING)
        compared: list[Baseline] = []
        with console.bar("comparing") as report:
            for baseline in baselines.measure(part, train, tokenizer):
                compared.append(baseline)
                report(len(compared) / baselines.COUNT)
        measured = dataclasses.replace(measured, baselines=compared)
    if copies is not None:
        from charlstm.analysis import novelty
        from charlstm.stepper import Stepper

        stepper = Stepper(subject.loaded.config.model.cell, subject.loaded.weights)
        with console.bar("writing") as report:
            found = novelty.measure(stepper, part, copies, tokenizer, report)
        measured = dataclasses.replace(measured, novelty=found)
    return measured


def _scored(subject: _Subject, read: "Iterator[tuple[Tensor, Batch]]", what: str) -> _Scored:
    """Add up what is read of a text."""
    from charlstm import console
    from charlstm import evaluate as evaluation
    from charlstm.device import in_fastest_threads

    read = in_fastest_threads(read, subject.device_config, subject.device.name)
    began = time.perf_counter()
    cells = evaluation.Cells(len(subject.part.ids))
    with console.bar(what) as report:
        for score in evaluation.add_up(read, subject.part, subject.loaded.tokenizer, cells):
            report(score.characters / subject.part.characters)
    seconds, factors = time.perf_counter() - began, cells.interval()
    bounds = None if factors is None else (score.bits_per_character * factors[0], score.bits_per_character * factors[1])
    return _Scored(score, bounds, seconds)


def _row(measured: _Measured, cold: int | None) -> dict[str, Any]:
    """Return everything as JSON takes it."""

    def ratios(scored: _Scored) -> dict[str, Any]:
        return {
            "nats": scored.score.nats,
            "bits_per_character": scored.score.bits_per_character,
            "interval": None if scored.interval is None else [round(bound, 6) for bound in scored.interval],
            "bits_per_byte": scored.score.bits_per_byte,
            "perplexity": scored.score.perplexity if math.isfinite(scored.score.perplexity) else None,
        }

    score, learnt = measured.plain.score, measured.learnt
    row: dict[str, Any] = {"characters": score.characters, "bytes": score.bytes, **ratios(measured.plain)}
    row |= {"unknown": score.unknown, "protocol": "carried" if cold is None else f"cold {cold}"}
    row["seconds"] = round(measured.plain.seconds, 6)
    if learnt is not None:
        row["dynamic"] = ratios(learnt) | {"seconds": round(learnt.seconds, 6)}
    elif "--dynamic" in measured.left_out:
        row["dynamic"] = None
    if measured.baselines is not None:
        row["baselines"] = [dataclasses.asdict(each) for each in measured.baselines]
    if (found := measured.failures) is not None:
        ratios_of = {"accuracy": found.accuracy, "calibration_error": found.calibration_error}
        row["by_character"] = dataclasses.asdict(found) | ratios_of
    if measured.novelty is not None:
        row["novelty"] = dataclasses.asdict(measured.novelty)
    elif "--novelty" in measured.left_out:
        row["novelty"] = None
    return row


def _show(subject: _Subject, measured: _Measured) -> None:
    """Print everything for people."""
    from charlstm import console

    cold, device = subject.cold, subject.device
    score, seconds = measured.plain.score, measured.plain.seconds
    bits = score.bits_per_character
    rows = [
        ("model", str(subject.path)),
        ("text", subject.what),
        ("protocol", "carried: given all before it" if cold is None else f"cold: in windows of {cold:,} characters"),
        ("nats", f"{score.loss:.4f} a character"),
        ("bits", f"{bits:.4f} a character, {score.bits_per_byte:.4f} a byte"),
        ("interval", _interval(measured.plain)),
        ("perplexity", f"{score.perplexity:.3f}"),
        ("characters", f"{score.characters:,}, {score.unknown:,} of them unknown"),
        ("speed", f"{score.characters / seconds:,.0f} characters a second, {device.name} {device.precision}"),
    ]
    own = [("this model", bits)]
    if (learnt := measured.learnt) is not None:
        less = learnt.score.bits_per_character
        rows += [
            ("dynamic", f"{less:.4f} bits a character, learning on: {less / bits - 1:+.1%}"),
            ("", f"interval {_interval(learnt)}; {learnt.seconds / seconds:.1f} times as long"),
        ]
        own.append(("this model, dynamic", less))
    console.table(rows, result=True)
    if measured.baselines is not None:
        console.baselines(own, measured.baselines)
    if measured.failures is not None:
        console.failures(measured.failures)
    if measured.novelty is not None:
        console.novelty(measured.novelty)


def _interval(scored: _Scored) -> str:
    if scored.interval is None:
        return "none, the text is too short"
    return "{:.4f} to {:.4f} bits (95 %)".format(*scored.interval)


def _lines(
    loaded: "Checkpoint", model: "CharLSTM", text: str, encoding: str | None, device: "Device", *, as_json: bool
) -> None:
    """Print one score a line of a text, as it is read."""
    from charlstm import console, files
    from charlstm import lines as scoring

    if Path(text).is_dir():
        raise UsageError(f"{text}: a folder; --lines takes one file, or standard input: cat {text}/* | ...")
    config = dataclasses.replace(
        loaded.config.text, field=None, separator=None, encoding=encoding or loaded.config.text.encoding
    )
    files.require_encoding(config.encoding)
    output = console.Output()
    number = 0
    file, binary = files.File(text, found=False), "\0" in loaded.tokenizer.vocabulary
    blocks = (block.codes for block in files.blocks(file, config, files.Ignored(), binary=binary))
    for scores in scoring.scores(model, blocks, loaded.tokenizer, device):
        for score in scores:
            number += 1
            bits = score.bits_per_character if score.characters else math.nan
            if as_json:
                row = dataclasses.asdict(score) | {"bits_per_character": bits if score.characters else None}
                output.json({"line": number} | row)
            else:
                output.write(f"{bits:.4f}\n")
        output.flush()


def _reach(
    loaded: "Checkpoint",
    model: "CharLSTM",
    held_out: "Split",
    train: "Split | None",
    device: "Device",
    every: int,
    *,
    as_json: bool,
) -> None:
    """Measure how far back the model looks, and print it."""
    from charlstm import console
    from charlstm.analysis import ngram, reach, structure

    with console.bar("reading") as report:
        tokenizer = loaded.tokenizer
        ngrams = None if train is None else ngram.KneserNey(train.ids, tokenizer.vocab_size, tokenizer.start_id)
        found = reach.measure(model, held_out.ids, ngrams, loaded.tokenizer, device, report, every=every)
    bands = structure.measure(model, held_out, ngrams, loaded.tokenizer, device, found.best_order)
    if as_json:
        console.Output().json(
            dataclasses.asdict(found) | {"enough": found.enough, "structure": [dataclasses.asdict(it) for it in bands]}
        )
        return
    console.reach(found)
    console.structure(bands, found.best_order)

"""`charlstm eval`."""

from typing import TYPE_CHECKING

import click

from charlstm.cli import opening, reach, score
from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import EVERY, DeviceConfig
from charlstm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from charlstm.storage.loaded import Loaded
    from charlstm.text.cache import Cache
    from charlstm.text.corpus import Split


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
    help="Score windows of N characters, each from a zero state, as models without a state are scored.",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Score it once more while a copy of the model learns from each part after scoring it.",
)
@click.option(
    "--baselines",
    is_flag=True,
    help="Compare the model with n-grams, PPM and compressors on the same text.",
)
@click.option(
    "--by-character",
    is_flag=True,
    help="Show where the model fails: by kind of character, the most surprising places, and its calibration.",
)
@click.option(
    "--novelty",
    is_flag=True,
    help="Show how much a sample copies from the training text, and how much the held-out text has in common with it.",
)
@click.option("--lines", is_flag=True, hidden=True, help="Now a command of its own: charlstm score.")
@click.option("--context", is_flag=True, hidden=True, help="Now a command of its own: charlstm reach.")
@click.option(
    "--every", type=click.IntRange(1, 1024), metavar="N", hidden=True, help="Now an option of charlstm reach."
)
@click.option(
    "--encoding", default=None, help="Encoding of TEXT, if the model reads characters.  [default: the training text's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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
    If the model knows documents, each is scored by itself, and its end counts as a character. --precision auto is fp32,
    as exact as the model. The interval says within which bounds the figure over endless text like this one lies, about
    95 times in 100.

    If documents have labels, the bits per character of each label follow. --dynamic, --baselines, --by-character and
    --novelty add to this and can be combined; docs/evaluation.md explains each of them. If TEXT is given and the
    training text is missing, what needs it is left out, with a note.
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
    opening.require_text(text)
    device_config = collect(DeviceConfig, {"device": device, "precision": precision, "threads": threads})

    from charlstm import api

    loaded = api.load(checkpoint).loaded
    if lines:
        assert text is not None
        loaded.require_encodable(encoding, text)
        _note_moved("--lines", "charlstm score")
        score.lines(opening.computing(loaded, device_config), text, encoding, as_json=as_json)
        return
    cache = open_cache(root)
    passage = opening.passage(loaded, text, split, cache, encoding, "eval")
    loaded = opening.computing(loaded, device_config)
    if context:
        _note_moved("--context", "charlstm reach" if every is None else f"charlstm reach --every {every}")
        train = opening.training(loaded, cache, "needed for the n-grams", "" if text is None else "the n-grams")
        reach.contexts(loaded, passage.split, train, every or EVERY, as_json=as_json)
        return

    from charlstm.measure import by_label, evaluation
    from charlstm.measure.report import Subject
    from charlstm.show import reports, terminal

    labelled = by_label.is_labelled(passage.split, loaded.tokenizer)
    names = [name for name in evaluation.REPORTS if more.get(_option(name), labelled)]
    subject = Subject(loaded, passage.split, _training(loaded, cache, names, own=text is None), device_config)
    begun = evaluation.begin(subject, names)
    for report in begun.values():
        for note in report.notes if report is not None else ():
            terminal.warn(note)
    found = evaluation.evaluate(subject, begun, cold, terminal.bar)
    if as_json:
        terminal.Output().json(reports.evaluation_row(found))
        return
    assert loaded.device is not None
    head = [("model", str(loaded.path)), ("text", passage.name)]
    reports.evaluation(found, head, f"{loaded.device.name} {loaded.device.precision}")


def _refuse_together(given: dict[str, bool], option: str, others: list[str]) -> None:
    """Raise `UsageError` if an option was given with another one that excludes it."""
    for other in others:
        if given[option] and given[other]:
            raise UsageError(f"{option} and {other} exclude each other: give one of them")


def _note_moved(option: str, command: str) -> None:
    """Say that an option has become a command."""
    from charlstm.show.terminal import warn

    warn(f"{option} is now a command of its own: {command}")


def _option(name: str) -> str:
    """Return the option that asks for a report."""
    return f"--{name.replace('_', '-')}"


def _training(loaded: "Loaded", cache: "Cache", names: "Collection[str]", *, own: bool) -> "Split | None":
    """Return the training text if a report needs it; of another text than the model's own, reports are left out."""
    from charlstm.measure.evaluation import REPORTS

    needing = {name: REPORTS[name].from_training for name in names if REPORTS[name].from_training}
    if not needing:
        return None
    purpose = f"needed for {', '.join(map(_option, needing))}"
    return opening.training(loaded, cache, purpose, "" if own else ", ".join(needing.values()))

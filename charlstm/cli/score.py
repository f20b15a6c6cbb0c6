"""`charlstm score`."""

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import opening
from charlstm.cli.options import HELP, collect, common, settings
from charlstm.config import DeviceConfig
from charlstm.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from charlstm.measure.voices import Piece
    from charlstm.storage.loaded import Loaded
    from charlstm.text.files import Block
    from charlstm.text.gather import Watch


@click.command("score", context_settings=HELP, short_help="Score each line of a text.")
@click.argument("checkpoint")
@click.argument("text")
@click.option(
    "--encoding", default=None, help="Encoding of TEXT, if the model reads characters.  [default: the training text's]"
)
@click.option("--labels", is_flag=True, help="Name the most probable label of each line instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line of TEXT.")
@settings(DeviceConfig)
@common
def score(checkpoint: str, text: str, encoding: str | None, labels: bool, as_json: bool, **values: Any) -> None:
    """Print one score per line of a text, as it is read: bits per character.

    CHECKPOINT is a file, the folder or the name of a run. TEXT is a file, or - for standard input. Every line is a text
    of its own, from the beginning of a document to its end, which counts as a character. The memory grows neither with
    the text nor with its lines.

    With --labels, print how probable the label is that the model finds most probable; with --json, how probable each
    is. If the model was trained on JSON Lines, TEXT is such a file too. If it says the true labels (as the training
    text did: by a field, or the name of the file or folder), the accuracy and a table of confusions follow.
    """
    from charlstm import api

    opening.require_text(text)
    loaded = api.load(checkpoint).loaded
    loaded.require_encodable(encoding, text)
    if labels:
        if not loaded.tokenizer.labels:
            raise UsageError("--labels: this model has no labels; train one with --label-field or --label-from")
        voices(opening.computing(loaded, collect(DeviceConfig, values)), text, encoding, as_json=as_json)
        return
    lines(opening.computing(loaded, collect(DeviceConfig, values)), text, encoding, as_json=as_json)


def lines(loaded: "Loaded", text: str, encoding: str | None, *, as_json: bool) -> None:
    """Print one score per line of a text, as it is read."""
    from charlstm.measure import lines as scoring
    from charlstm.measure.read import Reader
    from charlstm.show.terminal import Output
    from charlstm.text import files

    if Path(text).is_dir():
        raise UsageError(f"{text}: a folder; lines are read from one file, or standard input: cat {text}/* | ...")
    config = dataclasses.replace(
        loaded.config.text, field=None, separator=None, encoding=encoding or loaded.config.text.encoding
    )
    files.require_encoding(config.encoding)
    output = Output()
    number = 0
    file, binary = files.File(text, found=False), "\0" in loaded.tokenizer.vocabulary
    blocks = (block.codes for block in files.blocks(file, config, files.Ignored(), binary=binary))
    for scores in scoring.scores(Reader.of(loaded), blocks):
        for found in scores:
            number += 1
            bits = found.bits_per_character if found.characters else math.nan
            if as_json:
                row = dataclasses.asdict(found) | {"bits_per_character": bits if found.characters else None}
                output.json({"line": number} | row)
            else:
                output.write(f"{bits:.4f}\n")
        output.flush()


def voices(loaded: "Loaded", text: str, encoding: str | None, *, as_json: bool) -> None:
    """Print which label each document of a text has, as it is read, and how often that is right."""
    from charlstm.measure.read import Reader
    from charlstm.measure.voices import Tally, verdicts
    from charlstm.show import terminal
    from charlstm.show import voices as show

    reader, output = Reader.of(loaded), terminal.Output()
    counts = Tally(loaded.tokenizer.labels)
    # On a terminal the result itself shows the progress.
    with contextlib.nullcontext(_unwatched) if output.terminal else terminal.reading() as watch:
        for found in verdicts(reader, _documents(loaded, text, encoding, watch)):
            for verdict in found:
                counts.add(verdict)
                if as_json:
                    output.json(show.verdict_row(verdict, counts.documents))
                else:
                    show.verdict(verdict, output)
            output.flush()
    if as_json:
        output.json(show.tally_row(counts))
    else:
        show.tally(counts, output)
    output.flush()


def _unwatched(_: int, __: int) -> None:
    """Ignore the progress of reading."""


def _documents(loaded: "Loaded", text: str, encoding: str | None, watch: "Watch") -> "Iterator[list[Piece]]":
    """Yield the documents of a text: records of JSON Lines if the model learnt from such, else lines."""
    from charlstm.measure.voices import of_lines, of_records
    from charlstm.show.terminal import warn
    from charlstm.text import files, labels, listing

    config = dataclasses.replace(loaded.config.text, encoding=encoding or loaded.config.text.encoding)
    if Path(text).is_dir() and config.label_from is None:
        raise UsageError(f"{text}: a folder; lines are read from one file, or standard input: cat {text}/* | ...")
    files.require_encoding(config.encoding)
    binary = "\0" in loaded.tokenizer.vocabulary
    every = [each.file for each in listing.find((text,)).every]
    total, done = sum(file.size for file in every), 0
    for file in every:
        blocks = files.blocks(file, config, files.Ignored(), binary=binary, unlabelled=True)
        watched = _watched(blocks, watch, done, total)
        label = labels.of_file(file.path, config.label_from)
        try:
            yield from of_lines(watched, label) if config.field is None else of_records(watched, label)
        except DataError as error:
            if not file.found:
                raise
            warn(f"skipped {error}")
        done += file.size


def _watched(blocks: "Iterable[Block]", watch: "Watch", done: int, total: int) -> "Iterator[Block]":
    """Yield the blocks of a file, and tell how far they have come, after `done` bytes of others."""
    for block in blocks:
        yield block
        watch(done + block.read, total)

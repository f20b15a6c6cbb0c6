"""`charlstm score`."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import opening
from charlstm.cli.options import HELP, collect, common, settings
from charlstm.config import DeviceConfig
from charlstm.errors import UsageError

if TYPE_CHECKING:
    from charlstm.storage.loaded import Loaded


@click.command("score", context_settings=HELP, short_help="Score each line of a text.")
@click.argument("checkpoint")
@click.argument("text")
@click.option(
    "--encoding", default=None, help="Encoding of TEXT, if the model reads characters.  [default: the training text's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line of TEXT.")
@settings(DeviceConfig)
@common
def score(checkpoint: str, text: str, encoding: str | None, as_json: bool, **values: Any) -> None:
    """Print one score per line of a text, as it is read: bits per character.

    CHECKPOINT is a file, the folder or the name of a run. TEXT is a file, or - for standard input. Every line is a text
    of its own, from the beginning of a document to its end, which counts as a character. The memory grows neither with
    the text nor with its lines.
    """
    from charlstm import api

    opening.require_text(text)
    loaded = api.load(checkpoint).loaded
    loaded.require_encodable(encoding, text)
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

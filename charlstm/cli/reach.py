"""`charlstm reach`."""

from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import opening
from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import EVERY, DeviceConfig

if TYPE_CHECKING:
    from charlstm.storage.loaded import Loaded
    from charlstm.text.corpus import Split


@click.command("reach", context_settings=HELP, short_help="Show how far back a model looks.")
@click.argument("checkpoint", required=False)
@click.argument("text", required=False)
@click.option(
    "--split",
    type=click.Choice(["all", "train", "val"]),
    default=None,
    help="Part of the text to score.  [default: all of a TEXT, else the held-out part]",
)
@click.option(
    "--every",
    type=click.IntRange(1, 1024),
    metavar="N",
    default=EVERY,
    show_default=True,
    help="Score every Nth character: a smaller N takes longer and shows smaller differences.",
)
@click.option(
    "--encoding", default=None, help="Encoding of TEXT, if the model reads characters.  [default: the training text's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings(DeviceConfig)
@cached
@common
def reach(
    checkpoint: str | None,
    text: str | None,
    split: str | None,
    every: int,
    encoding: str | None,
    as_json: bool,
    root: str | None,
    **values: Any,
) -> None:
    """Show how far back a model looks: its loss by the number of characters read before.

    CHECKPOINT is a file, the folder or the name of a run; by default the newest. TEXT is a file, a folder, or - for
    standard input; by default the held-out part of the text the model was trained on.

    Characters of the text are scored after 1, 2, 4, ... 1024 characters of context, beside Kneser-Ney n-grams of the
    training text. Below that: how likely the right closing quote, bracket, speaker or indentation is, by the distance
    from what it closes. If TEXT is given and the training text is missing, the n-grams are left out, with a note.
    """
    from charlstm import api

    opening.require_text(text)
    loaded = api.load(checkpoint).loaded
    cache = open_cache(root)
    passage = opening.passage(loaded, text, split, cache, encoding, "reach")
    loaded = opening.computing(loaded, collect(DeviceConfig, values))
    train = opening.training(loaded, cache, "needed for the n-grams", "" if text is None else "the n-grams")
    contexts(loaded, passage.split, train, every, as_json=as_json)


def contexts(loaded: "Loaded", text: "Split", train: "Split | None", every: int, *, as_json: bool) -> None:
    """Measure how far back a model looks, and print it."""
    from charlstm.measure import ngram, structure
    from charlstm.measure import reach as reaches
    from charlstm.measure.read import Reader
    from charlstm.show import reports, terminal

    reader, tokenizer = Reader.of(loaded), loaded.tokenizer
    with terminal.bar("reading") as report:
        ngrams = None if train is None else ngram.KneserNey(train.ids, tokenizer.vocab_size, tokenizer.start_id)
        found = reaches.measure(reader, text.ids, ngrams, report, reaches.Layout(every))
    bands = structure.measure(reader, text, ngrams, found.best_order)
    if as_json:
        terminal.Output().json(reports.reach_row(found, bands))
        return
    reports.reach(found)
    reports.structure(bands, found.best_order)

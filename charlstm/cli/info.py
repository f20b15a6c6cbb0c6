"""`charlstm info`."""

import dataclasses
from typing import TYPE_CHECKING

import click

from charlstm import __version__
from charlstm.cli import writing
from charlstm.cli.options import HELP, common

if TYPE_CHECKING:
    from charlstm.storage.checkpoint import Origin


@click.command(context_settings=HELP, short_help="Show what a checkpoint holds, and verify it.")
@click.argument("checkpoint", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@common
def info(checkpoint: str | None, as_json: bool) -> None:
    """Show a checkpoint's shape, vocabulary and provenance, and verify that it is whole.

    CHECKPOINT is a file, the folder or the name of a run; by default the newest. It may also be a file that `charlstm
    compress` wrote.
    """
    import math

    if checkpoint is not None and checkpoint.endswith(writing.SUFFIX):
        _container(checkpoint, as_json=as_json)
        return

    from charlstm import api
    from charlstm.show import terminal as console
    from charlstm.show.characters import marked

    opened = api.load(checkpoint).loaded
    path, loaded = opened.path, opened.checkpoint
    config, source = loaded.config, loaded.source
    if as_json:
        row = {
            "config": config.to_dict(),
            "vocabulary": loaded.tokenizer.vocabulary,
            "labels": loaded.tokenizer.counts_by_label,
            "parameters": loaded.parameters,
            "ngram_rows": loaded.ngram_rows,
            "step": loaded.step,
            "val_loss": loaded.val_loss,
            "corpus_sha256": source.sha256,
            "origin": [dataclasses.asdict(origin) for origin in loaded.origin],
        }
        console.Output().json(row)
        return
    loss = loaded.val_loss
    held_out = "not measured" if loss is None else f"{loss:.4f} nats, {loss / math.log(2):.4f} bits per character"
    newer = ", ".join(loaded.unknown_names)
    vectors = f", and {loaded.ngram_rows:,} vectors of n-grams" if loaded.ngram_rows else ""
    characters = "".join(loaded.tokenizer.vocabulary[1:]) if loaded.tokenizer.kind == "char" else "all bytes"
    console.table(
        [
            ("file", f"{path}, {path.stat().st_size / 1e6:.1f} MB, whole (SHA-256 verified)"),
            ("holds", "weights" if loaded.training is None else "weights and the state of the training"),
            ("model", config.model.words),
            ("parameters", f"{loaded.parameters:,}{vectors}"),
            ("tokenizer", f"{loaded.tokenizer.kind}, {loaded.tokenizer.vocab_size:,} ids"),
            ("vocabulary", marked(characters[:200]) + (" ..." if len(characters) > 200 else "")),
            *([("labels", _labels(loaded.tokenizer.counts_by_label))] if loaded.tokenizer.labels else []),
            ("corpus", f"{' '.join(source.paths)}, {source.characters:,} characters"),
            ("sha256", source.sha256),
            *(("from", _origin(origin)) for origin in reversed(loaded.origin)),
            ("step", f"{loaded.step:,}"),
            ("held-out", held_out),
            ("written by", ", ".join(f"{name} {version}" for name, version in sorted(loaded.versions.items()))),
            *([("ignored", f"{newer[:200]}: unknown to charlstm {__version__}")] if newer else []),
        ],
        result=True,
    )


def _labels(counts: dict[str, int]) -> str:
    """Return how many labels there are, and the first of them, each with how many documents have it."""
    from charlstm.show import voices

    shown = [f"{voices.name(label)} ({count:,})" for label, count in list(counts.items())[:_MOST_LABELS]]
    return f"{len(counts):,}: {', '.join(shown)}" + (" ..." if len(counts) > _MOST_LABELS else "")


_MOST_LABELS = 20


def _origin(origin: "Origin") -> str:
    """Return which model the weights come from, in words."""
    from charlstm.show.characters import printable

    text = f"{' '.join(origin.source.paths)} (SHA-256 {origin.source.sha256[:12]}...)"
    return printable(f"{origin.name}, step {origin.step:,}, trained on {text}; its file {origin.sha256[:12]}...")


def _container(path: str, *, as_json: bool) -> None:
    """Show what a compressed text is, whether or not its model is there; its checksums are checked."""
    from charlstm.compress import container
    from charlstm.show import terminal

    data = writing.read(path, container.MAGIC)
    held = container.parsed(data, path)
    writer = held.writer
    kind = ("bytes as they are", "a text in blocks", "lines, each coded alone")[held.kind]
    coded = 0 if writer is None else sum(block.method == container.MODEL for block in held.blocks)
    row = {
        "kind": ("raw", "text", "records")[held.kind],
        "bytes": held.size,
        "compressed": len(data),
        "blocks": len(held.blocks),
        "coded": coded,
        "model": None if writer is None else writer.name,
        "model_id": None if writer is None else writer.model_id.hex(),
        "arithmetic": None if writer is None else writer.arithmetic,
        "learning": None if writer is None else writer.learning,
    }
    if as_json:
        terminal.Output().json(row)
        return
    needed = "none" if writer is None else f"{writer.words}, arithmetic {writer.arithmetic}"
    terminal.table(
        [
            ("file", f"{path}, {len(data):,} bytes, whole (checksums verified)"),
            ("holds", f"{kind}: {held.size:,} bytes"),
            ("blocks", f"{len(held.blocks):,}, of which {coded:,} are coded with the model"),
            ("model", needed),
            ("learning", "yes" if writer is not None and writer.learning else "no"),
        ],
        result=True,
    )

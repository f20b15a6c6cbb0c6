"""`charlstm eval`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import DeviceConfig
from charlstm.errors import InputOutputError, UsageError

if TYPE_CHECKING:
    from charlstm.cache import Cache
    from charlstm.checkpoint import Checkpoint
    from charlstm.corpus import Split
    from charlstm.device import Device
    from charlstm.model import CharLSTM


@click.command("eval", context_settings=HELP)
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
    type=click.IntRange(1),
    metavar="N",
    help="Score windows of N characters, each from a zero state: the protocol of models without one.",
)
@click.option(
    "--context",
    is_flag=True,
    help="Show how far back the model looks: the loss by the number of characters read before.",
)
@click.option(
    "--every",
    type=click.IntRange(1, 1024),
    default=16,
    show_default=True,
    help="With --context, score every Nth character: fewer between them take longer and show smaller differences.",
)
@click.option("--encoding", default=None, help="Encoding of TEXT.  [default: the training text's]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings(DeviceConfig)
@cached
@common
def evaluate(
    checkpoint: str | None,
    text: str | None,
    split: str | None,
    cold: int | None,
    context: bool,
    every: int,
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
    With --precision auto fp32 is used, as exact as the model. The interval says within which bounds the figure of other
    texts like this one lies, 95 times of 100.

    --context scores characters of the text after 1, 2, 4, ... 1024 characters of context, beside Kneser-Ney n-grams
    that have counted the training text; and shows how likely the right closing quote, bracket, speaker or indentation
    is by the distance from what it closes.
    """
    if context and cold:
        raise UsageError("--cold and --context exclude each other: give one of them")
    device_config = collect(DeviceConfig, {"device": device, "precision": precision, "threads": threads})

    from charlstm import checkpoint as checkpoints
    from charlstm import console, runs

    path = runs.find(checkpoint)
    loaded = checkpoints.load(path)
    cache = open_cache(root)
    what, part = _text(loaded, text, split, encoding, cache)

    from charlstm import evaluate as evaluation
    from charlstm.device import Device, choose
    from charlstm.model import CharLSTM

    chosen = Device(choose(device_config), "bf16" if precision == "bf16" else "fp32")
    model = CharLSTM.from_weights(loaded.config.model, loaded.tokenizer.vocab_size, loaded.weights).to(chosen.name)
    if context:
        _reach(loaded, model, part, chosen, cache, every, as_json=as_json)
        return
    began = time.perf_counter()
    cells = evaluation.Cells(len(part.ids))
    *_, score = evaluation.progress(model, part, loaded.tokenizer, chosen, cold=cold, cells=cells)
    interval = [score.bits_per_character * factor for factor in cells.interval()]
    seconds = time.perf_counter() - began
    if as_json:
        row = {
            "characters": score.characters,
            "bytes": score.bytes,
            "nats": score.nats,
            "bits_per_character": score.bits_per_character,
            "interval": [round(bound, 6) for bound in interval],
            "bits_per_byte": score.bits_per_byte,
            "perplexity": score.perplexity,
            "unknown": score.unknown,
            "protocol": "carried" if cold is None else f"cold {cold}",
            "seconds": round(seconds, 6),
        }
        console.Output().json(row)
        return
    console.table(
        [
            ("model", str(path)),
            ("text", what),
            (
                "protocol",
                "carried: given all before it" if cold is None else f"cold: in windows of {cold:,} characters",
            ),
            ("nats", f"{score.loss:.4f} a character"),
            ("bits", f"{score.bits_per_character:.4f} a character, {score.bits_per_byte:.4f} a byte"),
            ("interval", f"{interval[0]:.4f} to {interval[1]:.4f} bits a character (95 %)"),
            ("perplexity", f"{score.perplexity:.3f}"),
            ("characters", f"{score.characters:,}, {score.unknown:,} of them unknown"),
            ("speed", f"{score.characters / seconds:,.0f} characters a second, {chosen.name} {chosen.precision}"),
        ],
        result=True,
    )


def _reach(
    loaded: "Checkpoint",
    model: "CharLSTM",
    held_out: "Split",
    device: "Device",
    cache: "Cache",
    every: int,
    *,
    as_json: bool,
) -> None:
    """Measure how far back the model looks, and print it."""
    import dataclasses

    from charlstm import console
    from charlstm.analysis import ngram, reach, structure

    _, train = _text(loaded, None, "train", None, cache)
    with console.bar("reading") as report:
        ngrams = ngram.KneserNey(train.ids, loaded.tokenizer.vocab_size, loaded.tokenizer.start_id)
        found = reach.measure(model, held_out.ids, ngrams, loaded.tokenizer, device, report, every=every)
    bands = structure.measure(model, held_out, ngrams, loaded.tokenizer, device, found.best_order)
    if as_json:
        console.Output().json(
            dataclasses.asdict(found) | {"enough": found.enough, "structure": [dataclasses.asdict(it) for it in bands]}
        )
        return
    console.reach(found)
    console.structure(bands, found.best_order)


def _text(
    loaded: "Checkpoint", text: str | None, split: str | None, encoding: str | None, cache: "Cache"
) -> "tuple[str, Split]":
    """Return what is scored, in words, and its ids."""
    import dataclasses

    from charlstm import console
    from charlstm import corpus as corpora

    config, source, tokenizer = loaded.config.text, loaded.source, loaded.tokenizer
    if encoding is not None:
        config = dataclasses.replace(config, encoding=encoding)
    paths: tuple[str, ...] = ()
    if text is not None:
        paths, split = (text,), split or "all"
    elif source.val_sha256 is not None:
        # Held-out text with a file of its own: none of the corpus is held out.
        held_out = split in {None, "val"}
        paths = _find(source.val_paths, source.val_sha256) if held_out else _find(source.paths, source.sha256)
        split = "all"
    else:
        paths, split = _find(source.paths, source.sha256), split or "val"
    name = " ".join(paths)
    with console.reading() as watch:
        if split == "all":
            whole = corpora.load_text(paths, config, tokenizer, cache=cache, watch=watch)
            if text is not None and whole.sha256 == source.sha256:
                console.warn(
                    "the model was trained on most of this text; leave TEXT out to score the held-out part alone"
                )
            return f"{name}, all of it", whole.split
        corpus = corpora.load(paths, (), config, tokenizer, cache=cache, watch=watch)
    part = corpus.train if split == "train" else corpus.val
    return f"{name}, {split} part ({part.characters / corpus.source.characters:.0%})", part


def _find(paths: tuple[str, ...], sha256: str) -> tuple[str, ...]:
    """Return where the text with this hash is: where training read it, or by its name here or in data/."""
    from charlstm import corpus as corpora

    names = tuple(Path(path).name for path in paths)
    for candidates in (paths, names, tuple(f"data/{name}" for name in names)):
        if "-" in candidates or not all(Path(path).exists() for path in candidates):
            continue
        if corpora.fingerprint(candidates) == sha256:
            return candidates
    raise InputOutputError(
        f"{' '.join(paths)}: the text this model was trained on is not there any more, or has changed "
        f"(SHA-256 {sha256[:12]}...); name it, or another TEXT: charlstm eval CHECKPOINT TEXT"
    )

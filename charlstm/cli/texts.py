"""Which text a command reads: the one that is named, or what the model was trained on, and how much of it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from charlstm.errors import InputOutputError

if TYPE_CHECKING:
    from charlstm.analysis.novelty import Copies
    from charlstm.cache import Cache
    from charlstm.checkpoint import Checkpoint
    from charlstm.corpus import Source, Split
    from charlstm.tokenizer import Tokenizer


def scored(
    loaded: "Checkpoint", text: str | None, split: str | None, encoding: str | None, cache: "Cache"
) -> "tuple[str, Split]":
    """Return what is scored, in words, and its ids."""
    from charlstm import console
    from charlstm import corpus as corpora

    config, source, tokenizer = loaded.config.text, loaded.source, loaded.tokenizer
    if encoding is not None:
        config = dataclasses.replace(config, encoding=encoding)
    paths: tuple[str, ...]
    val_paths: tuple[str, ...] = ()
    if text is not None:
        paths, split = (text,), split or "all"
        config = dataclasses.replace(config, deduplicate=None)  # as it is read today, however the model's text was
    else:
        paths, val_paths, split = _own(source, split, compared=bool(config.deduplicate))
    name = " ".join(val_paths or paths)
    with console.reading() as watch:
        if split == "all":
            whole = corpora.load_text(paths, config, tokenizer, cache=cache, watch=watch)
            what, part, notes = f"{name}, all of it", whole.split, whole.left_out.notes()
            if whole.sha256 == source.sha256:
                notes.append(
                    "the model was trained on most of this text; leave TEXT out to score the held-out part alone"
                )
        else:
            corpus = corpora.load(paths, val_paths, config, tokenizer, cache=cache, watch=watch)
            part, notes = (corpus.train, []) if split == "train" else (corpus.val, corpus.overlap.notes())
            what = f"{name}, {split} part ({part.characters / corpus.source.characters:.0%})"
            if val_paths:
                what = f"{name}, without what also occurs in the training text"
            if text is not None:
                notes = corpus.notes()
    for note in notes if text is not None or split == "val" else ():
        console.warn(note)
    return what, part


def _own(source: "Source", split: str | None, *, compared: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the files of the model's own text, those of its held-out text if need be, and which part is scored."""
    if source.val_sha256 is None:
        return _find(source.paths, source.sha256, split), (), split or "val"
    # Held-out text with a file of its own: none of the corpus is held out.
    if split not in {None, "val"}:
        return _find(source.paths, source.sha256, split), (), "all"
    val_paths = _find(source.val_paths, source.val_sha256, split)
    if not compared:
        return val_paths, (), "all"
    return _find(source.paths, source.sha256, split), val_paths, "val"  # without what the two have in common


def _find(paths: tuple[str, ...], sha256: str, split: str | None) -> tuple[str, ...]:
    """Return where the text with this hash is: where training read it, or by its name here or in data/."""
    from charlstm import corpus as corpora

    names = tuple(Path(path).name for path in paths)
    for candidates in (paths, names, tuple(f"data/{name}" for name in names)):
        if "-" in candidates or not all(Path(path).exists() for path in candidates):
            continue
        if corpora.is_text(candidates, sha256):
            return candidates
    remedy = "" if split == "train" else ", or name another text: charlstm eval CHECKPOINT TEXT"
    raise InputOutputError(
        f"{' '.join(paths)}: the text this model was trained on is not there any more, or has changed "
        f"(SHA-256 {sha256[:12]}...); put it back there, here or into data/{remedy}"
    )


def training(loaded: "Checkpoint", cache: "Cache") -> "Split":
    """Return the text that the model has learnt from; raises `InputOutputError` where it is not there any more."""
    return scored(loaded, None, "train", None, cache)[1]


def copies(train: "Split", tokenizer: "Tokenizer") -> "Copies":
    """Return a training text in which copied spans are looked up; raises `UsageError` where a package is missing."""
    from charlstm.analysis.novelty import MOST_INDEXED, Copies

    warn_of_length(train, MOST_INDEXED)
    return Copies(train.ids, tokenizer)


def warn_of_length(train: "Split", most: int) -> None:
    """Say so where a comparison with a training text takes but its end."""
    from charlstm import console

    if len(train.ids) > most:
        console.warn(f"of the training text's {len(train.ids):,} ids the last {most:,} are compared with")

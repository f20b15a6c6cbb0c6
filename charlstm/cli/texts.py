"""Which text a command reads: the one that is named, or what the model was trained on, and how much of it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from charlstm.errors import InputOutputError, UsageError

if TYPE_CHECKING:
    from charlstm.analysis.novelty import Copies
    from charlstm.cache import Cache
    from charlstm.checkpoint import Checkpoint
    from charlstm.corpus import Source, Split
    from charlstm.tokenizer import Tokenizer

_PUBLIC = {
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed": "Tiny Shakespeare, the file input.txt in "
    "data/tinyshakespeare/ of Andrej Karpathy's char-rnn on GitHub",
}
"""Where a text that everybody can get comes from, by its SHA-256: models of it travel without it."""
_ANOTHER = ", or name another text: charlstm eval CHECKPOINT TEXT"


class MissingTextError(InputOutputError):
    """The text that a model was trained on, or the one held out, is not there any more, or has changed."""


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
    scored = "without a TEXT, eval scores it"
    if source.val_sha256 is None:
        purpose = scored if split in {"train", "all"} else "without a TEXT, eval scores its held-out part"
        return _find(source.paths, source.sha256, purpose, _ANOTHER), (), split or "val"
    # Held-out text with a file of its own: none of the corpus is held out.
    if split not in {None, "val"}:
        return _find(source.paths, source.sha256, scored, _ANOTHER), (), "all"
    val_paths = _find(source.val_paths, source.val_sha256, scored, _ANOTHER)
    if not compared:
        return val_paths, (), "all"
    # without what the two have in common
    purpose = f"without a TEXT, eval scores what {' '.join(val_paths)} does not have in common with it"
    return _find(source.paths, source.sha256, purpose, _ANOTHER), val_paths, "val"


def training(loaded: "Checkpoint", cache: "Cache", purpose: str) -> "Split":
    """Return the text that the model has learnt from.

    Args:
        loaded: the model.
        cache: where prepared corpora are kept.
        purpose: what it is needed for, in words.

    Raises:
        MissingTextError: if it is not there any more.
    """
    from charlstm import console
    from charlstm import corpus as corpora

    source, config = loaded.source, loaded.config.text
    paths = _find(source.paths, source.sha256, purpose)
    with console.reading() as watch:
        if source.val_sha256 is not None:
            return corpora.load_text(paths, config, loaded.tokenizer, cache=cache, watch=watch).split
        return corpora.load(paths, (), config, loaded.tokenizer, cache=cache, watch=watch).train


def require_encodable(encoding: str | None, text: str | None, tokenizer: "Tokenizer") -> None:
    """Raise `UsageError` if an encoding is given that would be ignored, or would garble the model's own text."""
    if encoding is None:
        return
    if tokenizer.kind == "byte":
        raise UsageError(f"--encoding {encoding}: this model reads bytes as they are; leave the option out")
    if text is None:
        raise UsageError(
            f"--encoding {encoding}: it is for a TEXT, and none is given (the model's own text is decoded as it was in "
            "training); leave the option out"
        )


def _find(paths: tuple[str, ...], sha256: str, purpose: str, otherwise: str = "") -> tuple[str, ...]:
    """Return where the text with this hash is: where training read it, or by its name here or in data/.

    Args:
        paths: where training read it.
        sha256: of it.
        purpose: what it is needed for, in words.
        otherwise: what else a user may do.

    Raises:
        MissingTextError: if it is nowhere.
    """
    from charlstm import corpus as corpora

    names = tuple(Path(path).name for path in paths)
    changed = False
    for candidates in (paths, names, tuple(f"data/{name}" for name in names)):
        if "-" in candidates or not all(Path(path).exists() for path in candidates):
            continue
        if corpora.is_text(candidates, sha256):
            return candidates
        changed = True
    if "-" in paths:
        raise MissingTextError(f"standard input: the text this model was trained on was not kept; {purpose}{otherwise}")
    state = "has changed" if changed else "is not there"
    public = f" (it is {_PUBLIC[sha256]})" if sha256 in _PUBLIC else ""
    raise MissingTextError(
        f"{' '.join(paths)}: the text this model was trained on {state} (SHA-256 {sha256[:12]}...); {purpose}; "
        f"put it there, here or into data/{public}{otherwise}"
    )


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

"""Provisional numbers -> the parts of a text as files of ids: the second of the two passes over it.

The vocabulary is that of the training part, whose counts are those of the whole text less those of the held-out part.
What is held out, at most a million characters or one document, is copied to a file of its own first and read from there
as often as needed. Then the training part is written, and what is held out is looked for in it as it passes by.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.config import TextConfig
from charlstm.errors import DataError
from charlstm.text import documents, labels, repeats
from charlstm.text.documents import MANY_DOCUMENTS, Flags, Part, Positions
from charlstm.text.gather import Numbers
from charlstm.text.labels import Unlabelled
from charlstm.text.repeats import Overlap, Pieces, Search
from charlstm.text.tokenizer import (
    NONE_INHERITED,
    ByteTokenizer,
    CharTokenizer,
    Ids,
    Inherited,
    Tokenizer,
    id_dtype,
    widths,
)


@dataclass(frozen=True)
class Written:
    """What was written: for each part, `N.ids` and the documents' bounds in `N.npy`, numbered from 0."""

    tokenizer: Tokenizer
    sizes: tuple[dict[str, int], ...]
    """The characters, bytes and unknown characters of each part; the end of a framed document counts as one."""
    overlap: Overlap = field(default_factory=Overlap)
    unlabelled: Unlabelled = field(default_factory=Unlabelled)
    """Of the last part."""

    def summary(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "tokenizer": self.tokenizer.kind,
            "vocabulary": self.tokenizer.vocabulary,
            "labels": self.tokenizer.counts_by_label,
            "characters": sum(size["characters"] for size in self.sizes),
            "overlap": asdict(self.overlap),
            "unlabelled": asdict(self.unlabelled),
            "parts": list(self.sizes),
        }


def write(
    text: Numbers,
    config: TextConfig,
    tokenizer: Tokenizer | None,
    folder: Path,
    *,
    share: float = 0.0,
    train: Pieces | None = None,
    inherited: Inherited = NONE_INHERITED,
    name: str = "the text",
) -> Written:
    """Write the parts of a text as ids with their frames: the training part and the held-out part, or all of it.

    Args:
        text: in provisional numbers.
        config: how it was read.
        tokenizer: the model's; by default it is made from the training part.
        folder: where the parts are written; nothing else stays there.
        share: of the text that is held out; if it is 0, the text is one part.
        train: the training text, in the tokenizer's ids, if all of `text` is held out.
        inherited: what a tokenizer that is made has beside the characters of the training part.
        name: of the text, for the errors.

    Raises:
        DataError: if the text is too short to hold anything out, if its training part has only one distinct character
            or hardly any labels, or if all that is held out also occurs in the training text and the user asked to
            leave that out.
    """
    if share:
        return _write_two(text, config, tokenizer, folder, share, inherited, name)
    (part,) = documents.split(text.ends, 0, text.labels)
    code = _code(text, part, text.counts, config, tokenizer, inherited, name)
    if train is None:
        sizes = (_write(text, part, text.counts, code, folder / "0"),)
        return Written(code.tokenizer, sizes, unlabelled=_unlabelled(text, part, code.tokenizer))
    pieces = Pieces(part.begins, part.ends, lambda begin, end: code.table[text.read(begin, end)])
    found = repeats.occurring(pieces, train, within=_few(part))
    part, overlap = _without_repeats(part, found, config, name, by_default=False)
    counts = text.counted(part) if overlap.dropped else text.counts
    sizes = (_write(text, part, counts, code, folder / "0"),)
    return Written(code.tokenizer, sizes, overlap, _unlabelled(text, part, code.tokenizer))


def _write_two(
    text: Numbers,
    config: TextConfig,
    tokenizer: Tokenizer | None,
    folder: Path,
    share: float,
    inherited: Inherited,
    name: str,
) -> Written:
    """Write the training part and the held-out part."""
    train, val = documents.split(text.ends, share, text.labels)
    if not (len(train.ends) and len(val.ends)):
        raise DataError(
            f"{name}: {text.length:,} characters are too few to hold some out",
            remedies={"--val": "give more text, a larger --val-fraction or --val FILE"},
            otherwise="give more text",
        )
    held_out = text.extract(val, folder / "held-out")
    counts = text.counts - held_out.counts
    code = _code(text, train, counts, config, tokenizer, inherited, name)
    val, drawn = val.closed_up(), documents.are_drawn(text.ends, share)
    search = Search(
        Pieces(val.begins, val.ends, held_out.read),
        Pieces(train.begins, train.ends, text.read),
        within=_few(val) and not drawn,
    )
    train_sizes = _write(text, train, counts, code, folder / "0", search)
    val, overlap = _without_repeats(val, search.found, config, name, by_default=drawn)
    val_counts = held_out.counted(val) if overlap.dropped else held_out.counts
    val_sizes = _write(held_out, val, val_counts, code, folder / "1")
    held_out.file.unlink()
    return Written(code.tokenizer, (train_sizes, val_sizes), overlap, _unlabelled(text, val, code.tokenizer))


def _unlabelled(text: Numbers, part: Part, tokenizer: Tokenizer) -> Unlabelled:
    """Return which documents of a part are read without a label; none if the model has no labels."""
    if part.labels is None or not tokenizer.labels:
        return Unlabelled()
    return Unlabelled.among(text.label_names, part.labels[part.opens], tokenizer.labels, text.strangers)


@dataclass(frozen=True)
class _Code:
    """What numbers become."""

    tokenizer: Tokenizer
    alphabet: npt.NDArray[np.int64]
    table: Ids
    """The id of each number."""
    openers: Ids
    """What stands before a document, by the number of its label; the last one before a document without."""

    def ids(self, part: Part, begin: int, block: Ids) -> Ids:
        """Return what a block of numbers has of a part, as ids with their frames."""
        numbers, closing, opening = part.within(begin, block)
        ids = self.table[numbers]
        if self.tokenizer.end_id is None:
            return ids
        labels = part.labels_within(begin, begin + len(block))
        openers = self.openers[np.full(len(opening), -1) if labels is None else labels]
        return documents.framed(ids, closing, opening, self.tokenizer.end_id, openers)

    def sizes(self, part: Part, counts: Positions) -> dict[str, int]:
        """Return the characters, bytes and unknown characters of a part; `counts` has those of each number."""
        characters, size = (int((counts * each).sum()) for each in widths(self.alphabet, self.tokenizer.kind))
        unknown = 0 if self.tokenizer.unknown_id is None else counts[self.table == self.tokenizer.unknown_id].sum()
        ends = 0 if self.tokenizer.end_id is None else int(part.closes.sum())
        return {"characters": max(1, characters) + ends, "bytes": size + ends, "unknown": int(unknown)}


def _write(
    text: Numbers, part: Part, counts: Positions, code: _Code, place: Path, search: Search | None = None
) -> dict[str, int]:
    """Write a part of a text, and show each block to a search; return the part's sizes."""
    with place.with_suffix(".ids").open("wb") as file:
        for begin, block in text.blocks():
            if search is not None:
                search.see(begin, block)
            file.write(code.ids(part, begin, block).tobytes())
    np.save(place.with_suffix(".npy"), part.bounds(code.tokenizer.framed))
    return code.sizes(part, counts)


def _few(part: Part) -> bool:
    return len(part.ends) < MANY_DOCUMENTS


def _code(
    text: Numbers,
    train: Part,
    counts: Positions,
    config: TextConfig,
    tokenizer: Tokenizer | None,
    inherited: Inherited,
    name: str,
) -> _Code:
    """Return what the numbers of a text become; its training part has each of them as often as `counts` says.

    Raises:
        DataError: if there is no tokenizer, and the training part has only one distinct character or hardly any labels.
    """
    if tokenizer is None:
        if (counts > 0).sum() < 2:
            raise DataError(
                f"{name}: the training text has only one distinct character, nothing to learn; give another text"
            )
        framed = inherited.framed or len(text.ends) > 1
        tokenizer = _fitted(text.alphabet, counts, config, inherited.characters, framed=framed)
        if train.labels is not None:
            tokenizer = tokenizer.labelled(labels.counted(text.label_names, train.labels, config, name))
    dtype = id_dtype(tokenizer.num_ids)
    known = [label if label in tokenizer.labels else None for label in text.label_names]
    openers = np.array([tokenizer.opener(label) for label in (*known, None)], dtype)
    table = tokenizer.encode_codes(text.alphabet.astype(np.uint32)).astype(dtype)
    return _Code(tokenizer, text.alphabet, table, openers)


def _fitted(
    alphabet: npt.NDArray[np.int64], counts: Positions, config: TextConfig, kept: Sequence[str], *, framed: bool
) -> Tokenizer:
    """Return the tokenizer of a training text; it has each code of the alphabet as often as `counts` says."""
    if config.tokenizer == "byte":
        return ByteTokenizer(framed=framed)
    frequent = alphabet[counts >= max(config.min_count, 1)].tolist()
    return CharTokenizer([chr(code) for code in sorted({*frequent, *map(ord, kept)})], framed=framed)


def _without_repeats(
    part: Part, found: Flags, config: TextConfig, name: str, *, by_default: bool
) -> tuple[Part, Overlap]:
    """Return the held-out part without what was found in the training text, if that is wanted, and how much that is.

    The training text stays as it is, so the model is the same with and without.

    Raises:
        DataError: if nothing would be left, and the user asked for it.
    """
    overlap = Overlap(int(found.sum()), len(found))
    wanted = by_default if config.deduplicate is None else config.deduplicate
    if not overlap.documents or not wanted:
        return part, overlap
    if found.all():
        if config.deduplicate is None:
            return part, overlap
        raise DataError(
            f"{name}: everything held out also occurs in the training text",
            remedies={"--val": "name another text with --val", "--no-deduplicate": "keep it with --no-deduplicate"},
            otherwise="give another text",
        )
    return part.without(found), replace(overlap, dropped=True)

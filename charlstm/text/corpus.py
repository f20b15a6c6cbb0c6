"""Files -> documents -> memory-mapped ids, split into a training and a held-out part.

The files are hashed first, since a prepared corpus is known by its content: if the cache has it, nothing more is read.
Otherwise the text streams through twice. `gather` turns each character into a provisional number, counts it, and notes
where documents end: then the length of the text is known, and so is what to hold out, and so is the vocabulary of the
rest. `parts` turns the numbers into ids, with frames around the documents, for the cache. Before that it copies what is
held out, for which it reads only the blocks of numbers that have some of it. A held-out text with files of its own
is read once more, and so is the training text in the cache, to compare the two.

A model should not have learnt what is held out: files that repeat others are read once, and held-out documents that
also occur in the training part are counted, and left out if that is wanted.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from charlstm.config import TextConfig
from charlstm.errors import DataError
from charlstm.text import files as filing
from charlstm.text import labels as labelling
from charlstm.text import listing as listings
from charlstm.text import parts as parts_of
from charlstm.text.cache import Cache, Entry, default_root
from charlstm.text.documents import Positions
from charlstm.text.gather import Gathered, Watch, gather, read_ids
from charlstm.text.labels import Unlabelled
from charlstm.text.listing import LeftOut, Listed, Listing, Repeat, Skipped, combined
from charlstm.text.parts import Written
from charlstm.text.repeats import Overlap, Pieces
from charlstm.text.tokenizer import (
    NONE_INHERITED,
    Ids,
    Inherited,
    Tokenizer,
    code_points,
    from_vocabulary,
    id_dtype,
    widths,
)

_SCHEMA = 2
_LONG = 20_000  # characters of a document, on average, over which a label is forgotten


@dataclass(frozen=True)
class Split:
    """A part of the text as ids, and its size in the units that ratios need."""

    ids: Ids
    """All documents one after the other, with their frames if the tokenizer has any: `<start> ... <end>`."""
    bounds: Positions
    """Where each document begins in `ids`, and where the last one ends, (documents + 1,). The first may lack its
    beginning, and the last its end, if the text was cut for the split."""
    characters: int
    """The end of a framed document counts as one, and as one byte."""
    bytes: int
    unknown: int
    """Characters outside the vocabulary."""

    @property
    def documents(self) -> int:
        """How many there are."""
        return len(self.bounds) - 1


@dataclass(frozen=True)
class Source:
    """Where a corpus came from; a checkpoint keeps it to find its held-out text again."""

    paths: tuple[str, ...]
    sha256: str
    """Of a file's bytes; of several files, of their hashes one after the other."""
    characters: int
    val_paths: tuple[str, ...] = ()
    val_sha256: str | None = None


@dataclass(frozen=True)
class Corpus:
    """A text ready to train on."""

    source: Source
    tokenizer: Tokenizer
    train: Split
    val: Split
    left_out: LeftOut = field(default_factory=LeftOut)
    """Of the files with the training text."""
    val_left_out: LeftOut = field(default_factory=LeftOut)
    """Of the files with the held-out text."""
    overlap: Overlap = field(default_factory=Overlap)
    unlabelled: Unlabelled = field(default_factory=Unlabelled)
    """Of the held-out text."""
    beside: Split | None = None
    """The text of the model that the run began with, if that is read too, so that its skill is kept."""

    def notes(self) -> list[str]:
        """Return what a user should know about how the text was read, one line each."""
        notes = [*self.left_out.notes(), *self.val_left_out.notes(), *self.overlap.notes(), *self.unlabelled.notes()]
        if self.tokenizer.labels and (length := self.train.characters // max(1, self.train.documents)) > _LONG:
            notes.append(
                f"documents have {length:,} characters on average, and a label is read at the beginning of each alone: "
                r"cut them (--separator '\n\n', say), or the model will hardly hear it"
            )
        return notes


@dataclass(frozen=True)
class Text:
    """A whole text as ids."""

    split: Split
    tokenizer: Tokenizer
    sha256: str
    left_out: LeftOut = field(default_factory=LeftOut)
    unlabelled: Unlabelled = field(default_factory=Unlabelled)


def load(
    paths: Sequence[str],
    val_paths: Sequence[str],
    config: TextConfig,
    tokenizer: Tokenizer | None = None,
    *,
    inherited: Inherited = NONE_INHERITED,
    cache: Cache | None = None,
    watch: Watch = lambda _, __: None,
    block: int = filing.BLOCK,
) -> Corpus:
    """Read a corpus, split it, and encode it; or take it from the cache, if that has it.

    Args:
        paths: files, folders or `-`.
        val_paths: the held-out text; if there are none, `config.val_fraction` of the text is held out.
        config: how to read it.
        tokenizer: of the model that goes on; by default the vocabulary is taken from the training part.
        inherited: what such a vocabulary has beside the characters of the training part.
        cache: where prepared corpora are kept.
        watch: called with the bytes read so far and their total, 0 if that is not known.
        block: bytes read at a time, and ids: bounds the memory.

    Raises:
        DataError: if there is no text, or it has too little variety.
        InputOutputError: if a file is missing or cannot be read.
        UsageError: if Python has no such encoding.
    """
    cache = cache or Cache(default_root())
    share = 0.0 if val_paths else config.val_fraction
    prepared = _prepare(paths, _Reading(config, tokenizer, share, inherited=inherited), cache, watch, block)
    source = Source(tuple(paths), prepared.sha256, prepared.characters, tuple(val_paths))
    train, tokenizer = prepared.parts[0], prepared.tokenizer
    if not val_paths:
        return Corpus(
            source,
            tokenizer,
            train,
            prepared.parts[1],
            prepared.left_out,
            overlap=prepared.overlap,
            unlabelled=prepared.unlabelled,
        )
    held_out = _prepare(val_paths, _Reading(config, tokenizer, 0, prepared), cache, watch, block)
    source = replace(source, val_sha256=held_out.sha256)
    return Corpus(
        source,
        tokenizer,
        train,
        held_out.parts[0],
        prepared.left_out,
        held_out.left_out,
        held_out.overlap,
        held_out.unlabelled,
    )


def load_text(
    paths: Sequence[str],
    config: TextConfig,
    tokenizer: Tokenizer,
    *,
    cache: Cache | None = None,
    watch: Watch = lambda _, __: None,
    block: int = filing.BLOCK,
) -> Text:
    """Read a whole text as a model reads it; `load` explains the arguments and the errors."""
    prepared = _prepare(paths, _Reading(config, tokenizer, 0), cache or Cache(default_root()), watch, block)
    return Text(prepared.parts[0], prepared.tokenizer, prepared.sha256, prepared.left_out, prepared.unlabelled)


def fingerprint(paths: Sequence[str], *, once: bool = True) -> str:
    """Return the SHA-256 by which a corpus is known, if its files can be read twice.

    Args:
        paths: files and folders.
        once: whether files that repeat others are left out, as they are unless `TextConfig.deduplicate` is False.
    """
    return combined([str(listed.sha256) for listed in listings.find(paths).chosen(once=once)])


def is_text(paths: Sequence[str], sha256: str) -> bool:
    """Return whether a corpus is known by this SHA-256, whether files that repeat others are left out or not."""
    listing = listings.find(paths)
    return sha256 in {combined([str(it.sha256) for it in listing.chosen(once=once)]) for once in (True, False)}


def encode(text: str, tokenizer: Tokenizer, label: str | None = None) -> Split:
    """Return a text that is in memory as one document, as `load_text` returns that of a file.

    Raises:
        DataError: if it has a lone surrogate that does not stand for a stray byte, and the tokenizer is `byte`.
        UsageError: if the tokenizer has no such label.
    """
    opener = tokenizer.opener(label)
    ids = tokenizer.encode(text)
    unknown = 0 if tokenizer.unknown_id is None else int((ids == tokenizer.unknown_id).sum())
    codes = ids if tokenizer.kind == "byte" else code_points(text)
    characters, size = (int(each.sum()) for each in widths(codes, tokenizer.kind))
    characters = max(characters, int(len(ids) > 0))  # if the bytes are not UTF-8, perhaps none begins a character
    framed = tokenizer.end_id is not None
    if framed:
        ids = np.concatenate([[opener], ids, [tokenizer.end_id]]).astype(id_dtype(tokenizer.num_ids))
    return Split(ids, np.array([0, len(ids)]), characters + framed, size + framed, unknown)


@dataclass(frozen=True)
class _Prepared:
    """What the cache holds of a text, and what is known about the files it was read from."""

    parts: list[Split]
    """The training part and the held-out part, or all of it."""
    tokenizer: Tokenizer
    sha256: str
    characters: int
    left_out: LeftOut
    overlap: Overlap
    unlabelled: Unlabelled


@dataclass(frozen=True)
class _Reading:
    """How a text is prepared."""

    config: TextConfig
    tokenizer: Tokenizer | None
    """The model's; by default it is made from the training part."""
    share: float
    """Of the text that is held out."""
    against: _Prepared | None = None
    """The training text, if all of this text is held out."""
    inherited: Inherited = NONE_INHERITED
    """What a vocabulary that is made from the training part has beside its characters."""

    @property
    def once(self) -> bool:
        """Whether files that repeat others are left out."""
        return self.config.deduplicate is not False

    def key(self, sha256: str, files: Sequence[Listed], tokenizer: Tokenizer | None) -> str:
        """Return the cache's key of a text with this hash, prepared for this tokenizer or for one of its own."""
        vocabulary = None if tokenizer is None else tokenizer.vocabulary
        config, against = self.config, None if self.against is None else self.against.sha256
        how = [config.tokenizer, config.min_count, config.encoding, config.separator, config.field]
        compared = [config.deduplicate, against] if self.share or against else None
        whole = [_SCHEMA, sha256, how, self.share, vocabulary, compared]
        if tokenizer is None and self.inherited != NONE_INHERITED:
            whole.append(asdict(self.inherited))
        if config.labels or (tokenizer is not None and tokenizer.labels):
            by_file = [labelling.of_file(listed.file.path, config.label_from) for listed in files]
            counts = None if tokenizer is None else tokenizer.counts_by_label
            whole.append({"labels": [config.label_field, by_file if config.label_from else None, counts]})
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:32]

    def find(self, cache: Cache, sha256: str, files: Sequence[Listed]) -> Entry | None:
        """Return what the cache has of a text: with this tokenizer, or with the text's own if that is the same."""
        entry = cache.find(self.key(sha256, files, None))
        if self.tokenizer is None or (entry is not None and _has(entry, self.tokenizer)):
            return entry
        return cache.find(self.key(sha256, files, self.tokenizer))


def _has(entry: Entry, tokenizer: Tokenizer) -> bool:
    """Return whether a text in the cache was prepared for a tokenizer like this one."""
    vocabulary, labels = entry.summary["vocabulary"], entry.summary.get("labels", {})
    return bool(vocabulary == tokenizer.vocabulary and labels == tokenizer.counts_by_label)


def _prepare(paths: Sequence[str], reading: _Reading, cache: Cache, watch: Watch, block: int) -> _Prepared:
    """Return a text from the cache, or read it and store it there."""
    filing.require_encoding(reading.config.encoding)
    listing = listings.find(paths)
    files = listing.chosen(once=reading.once)
    lasting = bool(files) and all(listed.sha256 is not None for listed in files)
    if lasting:
        entry = reading.find(cache, combined([str(listed.sha256) for listed in files]), files)
        if entry is not None:
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                return _opened(entry, _left_out(listing, files, entry.summary["skipped"], once=reading.once))
    with cache.unfinished() as folder:
        gathered, written = _read(paths, files, reading, folder, watch, block)
        left_out = _left_out(listing, files, gathered.skipped, gathered.repeats, once=reading.once)
        if written is None:
            raise _nothing(paths, len(left_out.skipped))
        # A reading that includes a pipe is found again by the text alone, not by the same list of files.
        about = {"sha256": gathered.sha256, "paths": list(paths), "skipped": gathered.skipped if lasting else []}
        key = reading.key(gathered.sha256, files, reading.tokenizer)
        entry = cache.store(folder, key, written.summary() | about)
    try:
        return _opened(entry, left_out)
    except FileNotFoundError:  # another process, with a small limit, has just removed it
        return _prepare(paths, reading, cache, watch, block)


def _read(
    paths: Sequence[str], files: Sequence[Listed], reading: _Reading, folder: Path, watch: Watch, block: int
) -> tuple[Gathered, Written | None]:
    """Read files, and write the parts of their text into a folder, if there is any."""
    config, tokenizer, against = reading.config, reading.tokenizer, reading.against
    binary = tokenizer is not None and "\0" in tokenizer.vocabulary
    place = folder / "gathered"
    known = None if tokenizer is None else tokenizer.labels
    gathered = gather(files, config, place, once=reading.once, binary=binary, known=known, watch=watch, block=block)
    if not gathered.numbers.length:
        return gathered, None
    train = None if against is None else _pieces(against.parts[0], against.tokenizer)
    name = " ".join(paths)
    written = parts_of.write(
        gathered.numbers,
        config,
        tokenizer,
        folder,
        share=reading.share,
        train=train,
        inherited=reading.inherited,
        name=name,
    )
    place.unlink()
    return gathered, written


def _left_out(
    listing: Listing,
    files: Sequence[Listed],
    skipped: Sequence[tuple[int, str]],
    more: Sequence[Repeat] = (),
    *,
    once: bool,
) -> LeftOut:
    """Return which files add nothing; a file that repeats one that is not text is not reported."""
    no_text = [Skipped(files[number].file.path, reason) for number, reason in skipped]
    ignored = {each.path for each in no_text}
    repeats = []
    for repeat in (*listing.repeats, *more):
        if repeat.original in ignored:
            ignored.add(repeat.path)
        else:
            repeats.append(repeat)
    return LeftOut((*listing.skipped, *no_text), tuple(repeats), once)


def _opened(entry: Entry, left_out: LeftOut) -> _Prepared:
    summary = entry.summary
    tokenizer = from_vocabulary(summary["tokenizer"], summary["vocabulary"], summary.get("labels"))
    parts = [
        Split(
            np.memmap(entry.folder / f"{number}.ids", id_dtype(tokenizer.num_ids), "r"),
            np.load(entry.folder / f"{number}.npy"),
            **sizes,
        )
        for number, sizes in enumerate(summary["parts"])
    ]
    overlap = Overlap(**summary["overlap"])
    found = summary.get("unlabelled", {})
    unlabelled = Unlabelled(**found | {"examples": tuple(found.get("examples", ()))})
    return _Prepared(parts, tokenizer, summary["sha256"], summary["characters"], left_out, overlap, unlabelled)


def _nothing(paths: Sequence[str], skipped: int) -> DataError:
    name = " ".join(paths)
    if skipped:
        return DataError(
            f"{name}: no text in it ({skipped} files skipped)",
            remedies={"--tokenizer": "name text files, or use --tokenizer byte"},
            otherwise="name text files",
        )
    if any(path != filing.STDIN and Path(path).is_dir() for path in paths):
        return DataError(f"{name}: no text in it; name a folder with text files")
    return DataError(f"{'standard input' if name == filing.STDIN else name}: empty; give a text with some characters")


def _pieces(split: Split, tokenizer: Tokenizer) -> Pieces:
    """Return the documents of a split in the cache, without their frames."""
    ids, frame = split.ids, int(tokenizer.end_id is not None)
    assert isinstance(ids, np.memmap) and ids.filename is not None
    file, dtype = Path(ids.filename), ids.dtype
    whole = np.flatnonzero(np.diff(split.bounds) > 2 * frame)
    return Pieces(
        split.bounds[:-1][whole] + frame,
        split.bounds[1:][whole] - frame,
        lambda begin, end: read_ids(file, dtype, begin, end),
    )

"""Files -> documents -> memory-mapped ids, split into a training and a held-out part.

The text streams through twice. First it is gathered: every character becomes a provisional number, in the order in
which characters first appear, and the documents' ends are noted. Then it is known how long the text is, so what is held
out, so the vocabulary of the rest; and the numbers become ids, the documents get their frames, and the parts are stored
in the cache.

What is held out should not be learnt from: files that repeat others are read once, and held-out documents that also
occur in the training part are counted, and left out if that is wanted.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from charlstm import files as filing
from charlstm import repeats
from charlstm.cache import Cache, Entry, default_root
from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError
from charlstm.files import Codes, Listed, Listing, Repeat, Skipped
from charlstm.repeats import Pieces, Positions
from charlstm.tokenizer import (
    ByteTokenizer,
    CharTokenizer,
    Ids,
    Tokenizer,
    code_points,
    from_vocabulary,
    id_dtype,
    widths,
)

_SCHEMA = 2
_BLOCK = 1 << 20  # ids handled at a time
_CODE_POINTS = 0x110000
_MANY_DOCUMENTS = 20  # from which whole documents are held out
_MOST_HELD_OUT = 1_000_000  # characters: an evaluation of more would only take time

Watch = Callable[[int, int], None]
"""Told how many bytes were read, and how many there are (0 where that is not known)."""


@dataclass(frozen=True)
class Split:
    """A part of the text as ids, and its size in the units that ratios need."""

    ids: Ids
    """All documents one after the other, with their frames where the tokenizer has any: `<start> ... <end>`."""
    bounds: Positions
    """Where each document begins in `ids`, and where the last one ends; the first may lack its beginning, the last
    its end, where the text was cut for the split."""
    characters: int
    """Framed, the end of a document counts as one."""
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


_KINDS = {
    "named": ("file named more than once", "files named more than once"),
    "link": ("link to a file already read", "links to files already read"),
    "content": ("file with the same content as another", "files with the same content as others"),
}


@dataclass(frozen=True)
class LeftOut:
    """Which files that paths lead to add nothing to a text."""

    skipped: tuple[Skipped, ...] = ()
    """What was found in folders and is no text."""
    repeats: tuple[Repeat, ...] = ()
    """Files that repeat others."""
    once: bool = True
    """Whether each of those was left out; otherwise they were read as often as there are."""

    def notes(self) -> list[str]:
        """Return what a user should know of it, a line each."""
        notes = [f"skipped {skipped.path}: {skipped.reason}" for skipped in self.skipped[:3]]
        if len(self.skipped) > 3:
            notes.append(f"skipped {len(self.skipped) - 3:,} more files")
        for kind, names in _KINDS.items():
            repeats = [repeat for repeat in self.repeats if repeat.kind == kind]
            if repeats:
                first = repeats[0]
                example = first.path if first.path == first.original else f"{first.path}, the same as {first.original}"
                such = "" if len(repeats) == 1 else "such as "
                reading = "not read again" if self.once else "read again each time"
                notes.append(f"{len(repeats):,} {names[len(repeats) > 1]}: {reading} ({such}{example})")
        return notes


@dataclass(frozen=True)
class Overlap:
    """Held-out documents that also occur in the training text."""

    documents: int = 0
    of: int = 0
    """How many documents there were to hold out."""
    dropped: bool = False
    """Whether the documents that occur in both were left out of the held-out part."""

    def notes(self) -> list[str]:
        """Return what a user should know of it: a line, or none."""
        if not self.documents:
            return []
        which = "the held-out text" if self.of == 1 else f"{self.documents:,} of {self.of:,} held-out documents"
        verb = "occurs" if self.of == 1 else "occur"
        outcome = "left out of the held-out part" if self.dropped else "the model is scored on what it has learnt from"
        return [f"{which} also {verb} in the training text: {outcome}"]


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

    def notes(self) -> list[str]:
        """Return what a user should know of how the text was read, a line each."""
        return [*self.left_out.notes(), *self.val_left_out.notes(), *self.overlap.notes()]


@dataclass(frozen=True)
class Text:
    """A whole text as ids."""

    split: Split
    tokenizer: Tokenizer
    sha256: str
    left_out: LeftOut = field(default_factory=LeftOut)


def load(
    paths: Sequence[str],
    val_paths: Sequence[str],
    config: TextConfig,
    tokenizer: Tokenizer | None = None,
    *,
    cache: Cache | None = None,
    watch: Watch = lambda _, __: None,
) -> Corpus:
    """Read a corpus, split it, and encode it; or take it from the cache, if that has it.

    Args:
        paths: files, folders or `-`.
        val_paths: the held-out text; where empty, `config.val_fraction` of the text is held out.
        config: how to read it.
        tokenizer: of the model that goes on; by default the vocabulary is taken from the training part.
        cache: where prepared corpora are kept.
        watch: told how far the reading is.

    Raises:
        DataError: where there is no text, or too little variety in it.
        InputOutputError: where a file is missing or cannot be read.
        UsageError: where the encoding has no such name.
    """
    cache = cache or Cache(default_root())
    share = 0.0 if val_paths else config.val_fraction
    prepared = _prepare(paths, config, tokenizer, share, cache, watch)
    source = Source(tuple(paths), prepared.sha256, prepared.characters, tuple(val_paths))
    train, tokenizer = prepared.parts[0], prepared.tokenizer
    if not val_paths:
        return Corpus(source, tokenizer, train, prepared.parts[1], prepared.left_out, overlap=prepared.overlap)
    held_out = _prepare(val_paths, config, tokenizer, 0, cache, watch, against=prepared)
    source = replace(source, val_sha256=held_out.sha256)
    return Corpus(source, tokenizer, train, held_out.parts[0], prepared.left_out, held_out.left_out, held_out.overlap)


def load_text(
    paths: Sequence[str],
    config: TextConfig,
    tokenizer: Tokenizer,
    *,
    cache: Cache | None = None,
    watch: Watch = lambda _, __: None,
) -> Text:
    """Read a whole text as a model reads it; it raises what `load` raises."""
    prepared = _prepare(paths, config, tokenizer, 0, cache or Cache(default_root()), watch)
    return Text(prepared.parts[0], prepared.tokenizer, prepared.sha256, prepared.left_out)


def fingerprint(paths: Sequence[str], *, once: bool = True) -> str:
    """Return the SHA-256 by which a corpus is known, of files that can be read twice.

    Args:
        paths: files and folders.
        once: whether files that repeat others are left out, as they are unless `TextConfig.deduplicate` is False.
    """
    return _combined([str(listed.sha256) for listed in filing.listing(paths).chosen(once=once)])


def is_text(paths: Sequence[str], sha256: str) -> bool:
    """Return whether a corpus is known by this SHA-256, whether files that repeat others are left out or not."""
    listing = filing.listing(paths)
    return sha256 in {_combined([str(it.sha256) for it in listing.chosen(once=once)]) for once in (True, False)}


def encode(text: str, tokenizer: Tokenizer) -> Split:
    """Return a short text as one document."""
    ids = tokenizer.encode(text)
    unknown = 0 if tokenizer.unknown_id is None else int((ids == tokenizer.unknown_id).sum())
    size = len(text.encode("utf-8", "surrogateescape"))
    framed = tokenizer.end_id is not None
    if framed:
        ids = np.concatenate([[tokenizer.start_id], ids, [tokenizer.end_id]]).astype(id_dtype(tokenizer.vocab_size))
    return Split(ids, np.array([0, len(ids)]), len(text) + framed, size + framed, unknown)


@dataclass(frozen=True)
class _Prepared:
    """What the cache holds of a text, and what is known of the files it was read from."""

    parts: list[Split]
    """The training part and the held-out part, or all of it."""
    tokenizer: Tokenizer
    sha256: str
    characters: int
    left_out: LeftOut
    overlap: Overlap


def _prepare(
    paths: Sequence[str],
    config: TextConfig,
    tokenizer: Tokenizer | None,
    share: float,
    cache: Cache,
    watch: Watch,
    against: _Prepared | None = None,
) -> _Prepared:
    """Return a text from the cache, or read it; one held out `against` another is compared with that one's text."""
    filing.require_encoding(config.encoding)
    listing = filing.listing(paths)
    once = config.deduplicate is not False
    files = listing.chosen(once=once)
    lasting = bool(files) and all(listed.sha256 is not None for listed in files)
    keys = _Keys(config, share, None if against is None else against.sha256)
    if lasting:
        entry = keys.find(cache, _combined([str(listed.sha256) for listed in files]), tokenizer)
        if entry is not None:
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                return _opened(entry, _left_out(listing, files, entry.summary["skipped"], once=once))
    with cache.unfinished() as folder:
        binary = tokenizer is not None and "\0" in tokenizer.vocabulary
        gathered = _gather(files, config, folder / "gathered", watch, once=once, binary=binary)
        left_out = _left_out(listing, files, gathered.skipped, gathered.repeats, once=once)
        if not gathered.length:
            raise _nothing(paths, len(left_out.skipped))
        train = None if against is None else _split_pieces(against.parts[0], against.tokenizer)
        summary = _encode(gathered, config, tokenizer, share, folder, " ".join(paths), train)
        (folder / "gathered").unlink()
        # A reading that includes a pipe is found again by the text alone, not by the same list of files.
        summary |= {"paths": list(paths), "skipped": gathered.skipped if lasting else []}
        entry = cache.store(folder, keys.key(gathered.sha256, tokenizer), summary)
    try:
        return _opened(entry, left_out)
    except FileNotFoundError:  # another process, with a small limit, has just removed it
        return _prepare(paths, config, tokenizer, share, cache, watch, against)


def _left_out(
    listing: Listing,
    files: Sequence[Listed],
    skipped: Sequence[tuple[int, str]],
    more: Sequence[Repeat] = (),
    *,
    once: bool,
) -> LeftOut:
    """Return which files add nothing; what repeats a file that is no text is not told of."""
    no_text = [Skipped(files[number].file.path, reason) for number, reason in skipped]
    ignored = {each.path for each in no_text}
    repeats = []
    for repeat in (*listing.repeats, *more):
        if repeat.original in ignored:
            ignored.add(repeat.path)
        else:
            repeats.append(repeat)
    return LeftOut((*listing.skipped, *no_text), tuple(repeats), once)


@dataclass(frozen=True)
class _Keys:
    """By what a prepared text is known."""

    config: TextConfig
    share: float
    against: str | None

    def key(self, sha256: str, tokenizer: Tokenizer | None) -> str:
        """Return the key of a text with this hash, prepared for this tokenizer or one of its own."""
        vocabulary = None if tokenizer is None else tokenizer.vocabulary
        config = self.config
        how = [config.tokenizer, config.min_count, config.encoding, config.separator, config.field]
        compared = [config.deduplicate, self.against] if self.share or self.against else None
        whole = [_SCHEMA, sha256, how, self.share, vocabulary, compared]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:32]

    def find(self, cache: Cache, sha256: str, tokenizer: Tokenizer | None) -> Entry | None:
        """Return what the cache has of a text: with this tokenizer, or with the text's own if that is the same."""
        entry = cache.find(self.key(sha256, None))
        if tokenizer is None or (entry is not None and entry.summary["vocabulary"] == tokenizer.vocabulary):
            return entry
        return cache.find(self.key(sha256, tokenizer))


def _opened(entry: Entry, left_out: LeftOut) -> _Prepared:
    summary = entry.summary
    tokenizer = from_vocabulary(summary["tokenizer"], summary["vocabulary"])
    parts = [
        Split(
            np.memmap(entry.folder / f"{number}.ids", id_dtype(tokenizer.vocab_size), "r"),
            np.load(entry.folder / f"{number}.npy"),
            **sizes,
        )
        for number, sizes in enumerate(summary["parts"])
    ]
    overlap = Overlap(**summary["overlap"])
    return _Prepared(parts, tokenizer, summary["sha256"], summary["characters"], left_out, overlap)


@dataclass(frozen=True)
class _Gathered:
    """A text in provisional numbers, in a file."""

    file: Path
    dtype: np.dtype[np.unsignedinteger]
    alphabet: npt.NDArray[np.int64]
    """The code point, or the byte, of each number."""
    ends: Positions
    """Where the documents end, ascending; none is empty."""
    sha256: str
    skipped: tuple[tuple[int, str], ...]
    """Which of the files are no text, and why."""
    repeats: tuple[Repeat, ...]
    """What turned out to repeat a file when it was read: the text of a pipe."""
    watch: Callable[[], None]
    """Told, as one who may want to stop it, that the work goes on."""

    @property
    def length(self) -> int:
        """Characters, or bytes."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def blocks(self) -> Iterator[tuple[int, Ids]]:
        """Yield the text piece by piece, and where each piece begins."""
        for begin in range(0, self.length, _BLOCK):
            yield begin, self.read(begin, begin + _BLOCK)

    def read(self, begin: int, end: int) -> Ids:
        """Return the numbers from one place to another."""
        self.watch()
        return _read(self.file, self.dtype, begin, end)


def _read(file: Path, dtype: np.dtype[np.unsignedinteger], begin: int, end: int) -> Ids:
    """Return some ids of a file. A mapped file would count as memory used."""
    with file.open("rb") as opened:
        opened.seek(begin * dtype.itemsize)
        return np.frombuffer(opened.read((end - begin) * dtype.itemsize), dtype)


def _gather(
    files: Sequence[Listed], config: TextConfig, place: Path, watch: Watch, *, once: bool, binary: bool
) -> _Gathered:
    """Read all files; what was found in a folder and is no text is skipped, and so is a pipe that repeats a file."""
    separator = code_points(config.between) if config.separator else np.empty(0, np.uint8)
    if config.tokenizer == "byte":
        separator = np.frombuffer(config.between.encode(), np.uint8)
    skipped: list[tuple[int, str]] = []
    repeats: list[Repeat] = []
    read: dict[str, str] = {}
    hashes: list[str] = []
    total = sum(listed.file.size for listed in files)
    done = 0
    with place.open("w+b") as opened:
        numbers = _Numbers(opened, config.tokenizer)
        for position, listed in enumerate(files):
            file, before, digest, cutter = listed.file, numbers.mark(), hashlib.sha256(), _Cutter(separator)
            try:
                for block in filing.blocks(file, config, digest, binary=binary):
                    numbers.add(*cutter(block.codes, block.ends))
                    watch(done + block.read, total)
                numbers.add(*cutter.rest())
            except DataError as error:
                if not file.found:
                    raise
                numbers.back_to(before)
                skipped.append((position, error.fact.removeprefix(f"{file.path}: ")))
                continue
            finally:
                done += file.size
            sha256 = digest.hexdigest()
            if listed.sha256 not in {None, sha256}:
                raise InputOutputError(f"{file.path}: changed while it was read; start again when it is complete")
            if once and sha256 in read and numbers.mark()[0] != before[0]:
                numbers.back_to(before)
                repeats.append(Repeat(file.path, read[sha256], "content"))
                continue
            read.setdefault(sha256, file.path)
            hashes.append(sha256)
    if all(listed.sha256 is not None for listed in files):
        hashes = [str(listed.sha256) for listed in files]
    return _Gathered(
        file=place,
        dtype=numbers.dtype,
        alphabet=numbers.alphabet(),
        ends=numbers.ends(),
        sha256=_combined(hashes),
        skipped=tuple(skipped),
        repeats=tuple(repeats),
        watch=lambda: watch(total, total),
    )


class _Numbers:
    """Writes codes as numbers in the order in which they first appear; as many bytes each as that needs."""

    def __init__(self, file: IO[bytes], kind: str) -> None:
        self._file = file
        self._table = np.full(_CODE_POINTS, -1, np.int32)
        self._alphabet: list[int] = []
        self._ends: list[Positions] = []
        self._count = 0
        self.dtype = np.dtype(np.uint8)
        if kind == "byte":
            self._name(np.arange(256))

    def mark(self) -> tuple[int, int]:
        """Return where the text is now."""
        return self._count, len(self._ends)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget what came after `mark`."""
        self._count, ends = mark
        del self._ends[ends:]
        self._file.truncate(self._count * self.dtype.itemsize)
        self._file.seek(0, 2)

    def add(self, codes: Codes, ends: Positions) -> None:
        """Append codes, some of which end a document: those before each of `ends`."""
        numbers = self._table.take(codes)
        if len(codes) and numbers.min() < 0:
            self._name(np.unique(codes[numbers < 0]))
            numbers = self._table.take(codes)
        self._file.write(numbers.astype(self.dtype).tobytes())
        if len(ends):  # small objects that stay would hold the heap open between the blocks
            self._ends.append(self._count + ends)
        self._count += len(codes)

    def ends(self) -> Positions:
        """Return where the documents end that are not empty."""
        ends = np.concatenate([np.zeros(1, np.int64), *self._ends])
        return ends[1:][np.diff(ends) > 0]

    def alphabet(self) -> npt.NDArray[np.int64]:
        """Return the code of each number."""
        return np.array(self._alphabet, np.int64)

    def _name(self, codes: npt.NDArray[Any]) -> None:
        self._table[codes] = np.arange(len(self._alphabet), len(self._alphabet) + len(codes))
        self._alphabet += codes.tolist()
        wanted = id_dtype(len(self._alphabet))
        if wanted.itemsize > self.dtype.itemsize:
            self._widen(wanted)

    def _widen(self, dtype: np.dtype[np.unsignedinteger]) -> None:
        """Write the file again from its end on, so that nothing is written over before it was read."""
        for begin in reversed(range(0, self._count, _BLOCK)):
            self._file.seek(begin * self.dtype.itemsize)
            block = np.frombuffer(self._file.read(min(_BLOCK, self._count - begin) * self.dtype.itemsize), self.dtype)
            self._file.seek(begin * dtype.itemsize)
            self._file.write(block.astype(dtype).tobytes())
        self._file.seek(self._count * dtype.itemsize)
        self.dtype = dtype


class _Cutter:
    """Takes the separators out of a file's codes; one may lie across two blocks."""

    def __init__(self, separator: Codes) -> None:
        self._separator = [int(code) for code in separator]
        self._held: Codes = separator[:0]

    def __call__(self, codes: Codes, ends: Positions) -> tuple[Codes, Positions]:
        """Return what is left of the codes, and how many of them come before each end of a document."""
        width = len(self._separator)
        if not width:
            return codes, ends
        codes = np.concatenate([self._held, codes]) if len(self._held) else codes
        at = np.flatnonzero(codes[: max(0, len(codes) - width + 1)] == self._separator[0])
        for offset, code in enumerate(self._separator[1:], 1):
            at = at[codes[at + offset] == code]
        at = _apart(at, width)
        done = max(len(codes) - width + 1, int(at[-1]) + width if len(at) else 0)
        self._held = codes[done:]
        kept = np.ones(done, bool)
        for offset in range(width):
            kept[at + offset] = False
        return codes[:done][kept], at - width * np.arange(len(at))

    def rest(self) -> tuple[Codes, Positions]:
        """Return what was held back; the file's end is the end of a document."""
        held, self._held = self._held, self._held[:0]
        return held, np.array([len(held)])


def _apart(at: Positions, width: int) -> Positions:
    """Return the matches, ascending, that do not overlap an earlier one."""
    if not (np.diff(at) < width).any():
        return at
    chosen: list[int] = []
    for match in at.tolist():
        if not chosen or match >= chosen[-1] + width:
            chosen.append(match)
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class _Part:
    """Which stretches of the gathered text belong to a part: documents, or what a cut left of them; none is empty."""

    begins: Positions
    ends: Positions
    opens: npt.NDArray[np.bool_]
    """Whether a stretch begins where its document does."""
    closes: npt.NDArray[np.bool_]
    """Whether it ends where its document does."""

    def within(self, begin: int, ids: Ids) -> tuple[Ids, Positions, Positions]:
        """Return what a block of the text has of the part, and before which of these ids documents end and begin."""
        end = begin + len(ids)
        first, last = np.searchsorted(self.ends, begin, "right"), np.searchsorted(self.begins, end, "left")
        begins, ends = self.begins[first:last], self.ends[first:last]
        closing = ends[self.closes[first:last] & (ends <= end)] - begin
        opening = begins[self.opens[first:last] & (begins >= begin)] - begin
        if not len(begins):
            return ids[:0], closing, opening
        if len(begins) == 1 and begins[0] <= begin and ends[0] >= end:  # all of it: most blocks of long documents
            return ids, closing, opening
        change = np.zeros(len(ids) + 1, np.int8)
        np.add.at(change, np.maximum(begins - begin, 0), 1)
        np.add.at(change, np.minimum(ends - begin, len(ids)), -1)
        inside = change[:-1].cumsum(dtype=np.int8).astype(bool)
        before = np.concatenate([[0], inside.cumsum()])  # ids of the part before each place
        return ids[inside], before[closing], before[opening]

    def without(self, dropped: npt.NDArray[np.bool_]) -> "_Part":
        """Return the part without some of its stretches."""
        kept = ~dropped
        return _Part(self.begins[kept], self.ends[kept], self.opens[kept], self.closes[kept])

    def bounds(self, framed: bool) -> Positions:
        """Return where each stretch begins in the part's ids, and where the last one ends."""
        lengths = self.ends - self.begins
        if framed:
            lengths = lengths + self.opens + self.closes
        return np.concatenate([[0], lengths.cumsum()])


def _parts(ends: Positions, share: float) -> list[_Part]:
    """Return the training part and the held-out part, which may be empty; or all of the text where nothing is shared.

    Of many documents some are drawn, always the same ones; of few the text's end is held out.
    """
    begins = np.concatenate([[0], ends[:-1]])
    length = int(ends[-1])
    whole = np.ones(len(ends), bool)
    if not share:
        return [_Part(begins, ends, whole, whole)]
    wanted = min(int(length * share), _MOST_HELD_OUT)
    if _draws(ends, share):
        held_out = _drawn(ends - begins, wanted)
        return [_Part(begins[it], ends[it], whole[it], whole[it]) for it in (~held_out, held_out)]
    boundary = length - wanted
    parts = []
    for least, limit in ((0, boundary), (boundary, length)):
        cut_begins, cut_ends = np.maximum(begins, least), np.minimum(ends, limit)
        there = cut_begins < cut_ends
        stretches = cut_begins[there], cut_ends[there]
        parts.append(_Part(*stretches, cut_begins[there] == begins[there], cut_ends[there] == ends[there]))
    return parts


def _draws(ends: Positions, share: float) -> bool:
    """Return whether whole documents are held out."""
    return share > 0 and len(ends) >= _MANY_DOCUMENTS


def _drawn(lengths: Positions, wanted: int) -> npt.NDArray[np.bool_]:
    """Return which documents are held out: drawn until they have the wanted length; none is longer than that."""
    drawn = np.zeros(len(lengths), bool)
    order = np.random.default_rng(0).permutation(len(lengths))
    order = order[lengths[order] <= wanted]
    if not len(order):
        drawn[lengths.argmin()] = True
        return drawn
    enough = int(np.searchsorted(lengths[order].cumsum(), wanted)) + 1
    drawn[order[: min(enough, len(lengths) - 1)]] = True
    return drawn


def _encode(
    gathered: _Gathered,
    config: TextConfig,
    tokenizer: Tokenizer | None,
    share: float,
    folder: Path,
    where: str,
    train: Pieces | None,
) -> dict[str, Any]:
    """Write the parts as ids with their frames; return what is to be known of them.

    Args:
        gathered: the text.
        config: how it is read.
        tokenizer: of the model; by default it is made from the training part.
        share: of the text that is held out.
        folder: where the parts are written.
        where: the text's name.
        train: the training text, in the tokenizer's ids, if all of this text is held out.
    """
    parts = _parts(gathered.ends, share)
    if not all(len(part.ends) for part in parts):
        raise DataError(
            f"{where}: {gathered.length:,} characters leave none to hold out",
            remedies={"--val": "give more text, a larger --val-fraction or --val FILE"},
            otherwise="give more text",
        )
    overlap = Overlap()
    if share or train is not None:
        if train is not None and tokenizer is not None:
            table = _table(gathered, tokenizer)
            held_out = Pieces(parts[-1].begins, parts[-1].ends, lambda begin, end: table[gathered.read(begin, end)])
        else:
            train, held_out = (Pieces(part.begins, part.ends, gathered.read) for part in parts)
        drawn = _draws(gathered.ends, share)
        parts[-1], overlap = _without_repeats(parts[-1], held_out, train, config, where, drawn=drawn)
    counts = _counts(gathered, parts)
    if tokenizer is None:
        if (counts[0] > 0).sum() < 2:
            raise DataError(
                f"{where}: the training text has only one distinct character, nothing to learn; give another text"
            )
        tokenizer = _fitted(gathered.alphabet, counts[0], config, framed=len(gathered.ends) > 1)
    dtype = id_dtype(tokenizer.vocab_size)
    table = _table(gathered, tokenizer)
    frames = None if tokenizer.end_id is None else np.array([tokenizer.end_id, tokenizer.start_id], dtype)
    sizes = []
    for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
        with (folder / f"{number}.ids").open("wb") as file:
            for begin, block in gathered.blocks():
                numbers, closing, opening = part.within(begin, block)
                ids = table[numbers]
                if frames is not None:
                    ids = _framed(ids, closing, opening, frames)
                file.write(ids.tobytes())
        np.save(folder / f"{number}.npy", part.bounds(frames is not None))
        sizes.append(_sizes(gathered, count, table, tokenizer, 0 if frames is None else int(part.closes.sum())))
    return {
        "tokenizer": tokenizer.kind,
        "vocabulary": tokenizer.vocabulary,
        "sha256": gathered.sha256,
        "characters": sum(size["characters"] for size in sizes),
        "overlap": asdict(overlap),
        "parts": sizes,
    }


def _table(gathered: _Gathered, tokenizer: Tokenizer) -> Ids:
    """Return the id of each number."""
    if tokenizer.kind == "char":
        return tokenizer.encode("".join(map(chr, gathered.alphabet)))
    return gathered.alphabet.astype(id_dtype(tokenizer.vocab_size))


def _without_repeats(
    part: _Part, held_out: Pieces, train: Pieces, config: TextConfig, where: str, *, drawn: bool
) -> tuple[_Part, Overlap]:
    """Return the held-out part without what is also in the training text, if that is wanted, and how much that is.

    The training text stays as it is: so the model is the same with and without.

    Raises:
        DataError: if nothing would be left, and the user asked for it.
    """
    few = len(part.ends) < _MANY_DOCUMENTS
    found = repeats.occurring(held_out, train, within=few and not drawn)
    overlap = Overlap(int(found.sum()), len(found))
    if not overlap.documents or not (drawn if config.deduplicate is None else config.deduplicate):
        return part, overlap
    if found.all():
        if config.deduplicate is None:
            return part, overlap
        raise DataError(
            f"{where}: everything held out also occurs in the training text",
            remedies={"--val": "name another text with --val", "--no-deduplicate": "keep it with --no-deduplicate"},
            otherwise="give another text",
        )
    return part.without(found), replace(overlap, dropped=True)


def _framed(ids: Ids, closing: Positions, opening: Positions, frames: Ids) -> Ids:
    """Return ids with an `<end>` before each id of `closing`, and a `<start>` before each of `opening`."""
    places = np.concatenate([closing, opening])
    values = frames.repeat([len(closing), len(opening)])
    order = places.argsort(kind="stable")  # where one document ends and the next begins, the end comes first
    return np.insert(ids, places[order], values[order])


def _counts(gathered: _Gathered, parts: Sequence[_Part]) -> list[Positions]:
    """Return how often each part has each number."""
    counts = [np.zeros(len(gathered.alphabet), np.int64) for _ in parts]
    for begin, block in gathered.blocks():
        for number, part in enumerate(parts):
            ids, _, _ = part.within(begin, block)
            counts[number] += np.bincount(ids, minlength=len(gathered.alphabet))
    return counts


def _fitted(alphabet: npt.NDArray[np.int64], counts: Positions, config: TextConfig, *, framed: bool) -> Tokenizer:
    if config.tokenizer == "byte":
        return ByteTokenizer(framed=framed)
    frequent = np.sort(alphabet[counts >= max(config.min_count, 1)])
    return CharTokenizer([chr(code) for code in frequent], framed=framed)


def _sizes(gathered: _Gathered, counts: Positions, table: Ids, tokenizer: Tokenizer, ends: int) -> dict[str, int]:
    """Return a part's characters, bytes and unknown characters; the end of a document counts as one, and one byte."""
    characters, size = (int((counts * each).sum()) for each in widths(gathered.alphabet, tokenizer.kind))
    unknown = 0 if tokenizer.unknown_id is None else int(counts[table == tokenizer.unknown_id].sum())
    return {"characters": max(1, characters) + ends, "bytes": size + ends, "unknown": unknown}


def _combined(hashes: Sequence[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _nothing(paths: Sequence[str], skipped: int) -> DataError:
    where = " ".join(paths)
    if skipped:
        return DataError(
            f"{where}: no text in it ({skipped} files skipped)",
            remedies={"--tokenizer": "name text files, or use --tokenizer byte"},
            otherwise="name text files",
        )
    if any(path != filing.STDIN and Path(path).is_dir() for path in paths):
        return DataError(f"{where}: no text in it; name a folder with text files")
    return DataError(f"{'standard input' if where == filing.STDIN else where}: empty; give a text with some characters")


def _split_pieces(split: Split, tokenizer: Tokenizer) -> Pieces:
    """Return the documents of a split that lies in the cache, without their frames."""
    ids, frame = split.ids, int(tokenizer.end_id is not None)
    assert isinstance(ids, np.memmap) and ids.filename is not None
    file, dtype = Path(ids.filename), ids.dtype
    whole = np.flatnonzero(np.diff(split.bounds) > 2 * frame)
    return Pieces(
        split.bounds[:-1][whole] + frame,
        split.bounds[1:][whole] - frame,
        lambda begin, end: _read(file, dtype, begin, end),
    )

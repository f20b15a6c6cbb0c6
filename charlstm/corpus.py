"""Files -> documents -> memory-mapped ids, split into a training and a held-out part.

The text streams through twice. First it is gathered: every character becomes a provisional number, in the order in
which characters first appear, and the documents' ends are noted. Then it is known how long the text is, so what is held
out, so the vocabulary of the rest; and the numbers become ids, the documents get their frames, and the parts are stored
in the cache.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from charlstm import files as filing
from charlstm.cache import Cache, Entry, default_root
from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError
from charlstm.files import Codes, File
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

_SCHEMA = 1
_BLOCK = 1 << 20  # ids handled at a time
_CODE_POINTS = 0x110000
_MANY_DOCUMENTS = 20  # from which whole documents are held out
_MOST_HELD_OUT = 1_000_000  # characters: an evaluation of more would only take time

Watch = Callable[[int, int], None]
"""Told how many bytes were read, and how many there are (0 where that is not known)."""
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Skipped:
    """A file of a folder that is no text."""

    path: str
    reason: str


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


@dataclass(frozen=True)
class Corpus:
    """A text ready to train on."""

    source: Source
    tokenizer: Tokenizer
    train: Split
    val: Split
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Text:
    """A whole text as ids."""

    split: Split
    tokenizer: Tokenizer
    sha256: str
    skipped: tuple[Skipped, ...] = ()


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
    skipped, val_sha256 = prepared.skipped, None
    if val_paths:
        held_out = _prepare(val_paths, config, prepared.tokenizer, 0, cache, watch)
        val, val_sha256 = held_out.parts[0], held_out.sha256
        skipped += held_out.skipped
    else:
        val = prepared.parts[1]
    source = Source(tuple(paths), prepared.sha256, prepared.characters, tuple(val_paths), val_sha256)
    return Corpus(source, prepared.tokenizer, prepared.parts[0], val, skipped)


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
    return Text(prepared.parts[0], prepared.tokenizer, prepared.sha256, prepared.skipped)


def fingerprint(paths: Sequence[str]) -> str:
    """Return the SHA-256 by which a corpus is known, of files that can be read twice."""
    return _combined(filing.fingerprints(list(filing.expand(paths))))


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
    """What the cache holds of a text."""

    parts: list[Split]
    """The training part and the held-out part, or all of it."""
    tokenizer: Tokenizer
    sha256: str
    characters: int
    skipped: tuple[Skipped, ...]


def _prepare(
    paths: Sequence[str], config: TextConfig, tokenizer: Tokenizer | None, share: float, cache: Cache, watch: Watch
) -> _Prepared:
    filing.require_encoding(config.encoding)
    files = list(filing.expand(paths))
    total = sum(file.size for file in files)
    hashes = None
    if files and all(file.lasting for file in files):
        hashes = filing.fingerprints(files)
        if entry := _cached(cache, _combined(hashes), config, tokenizer, share):
            return _opened(entry)
    with cache.unfinished() as folder:
        gathered = _gather(files, config, folder / "gathered", hashes, total, watch)
        if not gathered.length:
            raise DataError(_nothing(paths, len(gathered.skipped)))
        where = " ".join(paths)
        summary = _encode(gathered, config, tokenizer, share, folder, where)
        (folder / "gathered").unlink()
        key = _key(gathered.sha256, config, tokenizer, share)
        return _opened(cache.store(folder, key, summary | {"paths": list(paths)}))


def _key(sha256: str, config: TextConfig, tokenizer: Tokenizer | None, share: float) -> str:
    vocabulary = None if tokenizer is None else tokenizer.vocabulary
    how = [config.tokenizer, config.min_count, config.encoding, config.separator, config.field]
    return hashlib.sha256(json.dumps([_SCHEMA, sha256, how, share, vocabulary]).encode()).hexdigest()[:32]


def _cached(cache: Cache, sha256: str, config: TextConfig, tokenizer: Tokenizer | None, share: float) -> Entry | None:
    """Return what the cache has of this text: with this tokenizer, or with the text's own if that is the same."""
    entry = cache.find(_key(sha256, config, None, share))
    if tokenizer is None or (entry is not None and entry.summary["vocabulary"] == tokenizer.vocabulary):
        return entry
    return cache.find(_key(sha256, config, tokenizer, share))


def _opened(entry: Entry) -> _Prepared:
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
    skipped = tuple(Skipped(**it) for it in summary["skipped"])
    return _Prepared(parts, tokenizer, summary["sha256"], summary["characters"], skipped)


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
    skipped: tuple[Skipped, ...]
    watch: Callable[[], None]
    """Told, as one who may want to stop it, that the work goes on."""

    @property
    def length(self) -> int:
        """Characters, or bytes."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def blocks(self) -> Iterator[tuple[int, Ids]]:
        """Yield the text piece by piece, and where each piece begins. A mapped file would count as memory used."""
        with self.file.open("rb") as file:
            for begin in range(0, self.length, _BLOCK):
                self.watch()
                yield begin, np.frombuffer(file.read(_BLOCK * self.dtype.itemsize), self.dtype)


def _gather(
    files: Sequence[File], config: TextConfig, place: Path, hashes: list[str] | None, total: int, watch: Watch
) -> _Gathered:
    """Read all files; one that was found in a folder and is no text is skipped."""
    separator = code_points(config.between) if config.separator else np.empty(0, np.uint8)
    if config.tokenizer == "byte":
        separator = np.frombuffer(config.between.encode(), np.uint8)
    skipped: list[Skipped] = []
    found: list[str] = []
    done = 0
    with place.open("w+b") as opened:
        numbers = _Numbers(opened, config.tokenizer)
        for position, file in enumerate(files):
            before, digest, cutter = numbers.mark(), hashlib.sha256(), _Cutter(separator)
            try:
                for block in filing.blocks(file, config, digest):
                    numbers.add(*cutter(block.codes, block.ends))
                    watch(done + block.read, total)
                numbers.add(*cutter.rest())
            except DataError as error:
                if not file.found:
                    raise
                numbers.back_to(before)
                skipped.append(Skipped(file.path, str(error).removeprefix(f"{file.path}: ")))
                continue
            finally:
                done += file.size
            found.append(digest.hexdigest())
            if hashes is not None and hashes[position] != found[-1]:
                raise InputOutputError(f"{file.path}: changed while it was read; start again when it is complete")
    sha256 = _combined(found if hashes is None else hashes)
    return _Gathered(
        place, numbers.dtype, numbers.alphabet(), numbers.ends(), sha256, tuple(skipped), lambda: watch(total, total)
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
    """Which stretches of the gathered text belong to a part: documents, or what a cut left of them."""

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
    if len(ends) >= _MANY_DOCUMENTS:
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
    gathered: _Gathered, config: TextConfig, tokenizer: Tokenizer | None, share: float, folder: Path, where: str
) -> dict[str, Any]:
    """Write the parts as ids with their frames; return what is to be known of them."""
    parts = _parts(gathered.ends, share)
    if not all(len(part.ends) for part in parts):
        raise DataError(
            f"{where}: {gathered.length:,} characters leave none to hold out; "
            "give more text, a larger --val-fraction or --val FILE"
        )
    counts = _counts(gathered, parts)
    if tokenizer is None:
        if (counts[0] > 0).sum() < 2:
            raise DataError(
                f"{where}: the training text has only one distinct character, nothing to learn; give another text"
            )
        tokenizer = _fitted(gathered.alphabet, counts[0], config, framed=len(gathered.ends) > 1)
    dtype = id_dtype(tokenizer.vocab_size)
    table = gathered.alphabet.astype(dtype)
    if tokenizer.kind == "char":
        table = tokenizer.encode("".join(map(chr, gathered.alphabet)))
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
        "skipped": [asdict(it) for it in gathered.skipped],
        "parts": sizes,
    }


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


def _nothing(paths: Sequence[str], skipped: int) -> str:
    where = " ".join(paths)
    if skipped:
        return f"{where}: no text in it ({skipped} files skipped); name text files, or use --tokenizer byte"
    if any(path != filing.STDIN and Path(path).is_dir() for path in paths):
        return f"{where}: no text in it; name a folder with text files"
    return f"{'standard input' if where == filing.STDIN else where}: empty; give a text with some characters"

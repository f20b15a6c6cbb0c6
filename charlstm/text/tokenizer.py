"""Text <-> ids, by characters or by bytes; vectorised, lossless, free of torch.

Text is always a `str`. A file that is not UTF-8 reaches the byte tokenizer with its stray bytes as lone
surrogates (PEP 383), so that any file survives the round trip.

A framed tokenizer has two more ids, the last ones: `<start>` and `<end>` stand before and after each document. They
belong to no text: `encode` never returns them.

It may also have labels, such as the authors of the documents. Each label has an id above the vocabulary, which opens a
document in place of `<start>`: it is read, but never written, so the output layer does not know it.
"""

import codecs
import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from charlstm.errors import DataError, UsageError

Ids = npt.NDArray[np.unsignedinteger]

UNKNOWN = "<unk>"
START, END = "<start>", "<end>"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CODE_POINTS = 0x110000
_SCALAR_VALUES = _CODE_POINTS - 0x800  # all code points but the surrogates
_BLOCK = 1 << 20  # characters handled at a time: bounds the memory, and stays within the processor's cache
_NAMED = 20  # labels that a message lists


@dataclass(frozen=True)
class Inherited:
    """What a vocabulary has from the model that a run begins with, beside what the training text has."""

    characters: tuple[str, ...] = ()
    """Known to that model, and kept."""
    framed: bool = False
    """Whether its documents have frames: those of any text have them then."""

    @classmethod
    def of(cls, tokenizer: "Tokenizer", *, characters: bool = True) -> "Inherited":
        """Return what a model's tokenizer hands on, with or without its characters."""
        known = tokenizer.characters if isinstance(tokenizer, CharTokenizer) and characters else ()
        return cls(tuple(known), tokenizer.framed)


NONE_INHERITED = Inherited()
"""The run begins with no other model."""


class StreamDecoder(Protocol):
    """Turns ids into text piece by piece."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that these ids complete."""


class Tokenizer(ABC):
    """A vocabulary: what each id stands for, and how text becomes ids and back."""

    kind: ClassVar[str]
    """`char` or `byte`."""
    unknown_id: ClassVar[int | None]
    """The id that stands for unknown characters and is never generated, or None."""

    def __init__(self, known: int, newline: int, *, framed: bool) -> None:
        """Lay out the ids.

        Args:
            known: number of ids before the frames.
            newline: the id that is read before a text without frames.
            framed: whether `<start>` and `<end>` stand around documents.
        """
        self.framed = framed
        self.vocab_size = known + 2 * framed
        """Number of ids that a model may write: the size of its output layer."""
        self.labels: tuple[str, ...] = ()
        """What a document may be labelled with, in order; label k has the id `vocab_size` + k."""
        self.label_counts: tuple[int, ...] = ()
        """How many documents of the training text have each label."""
        self._newline = newline

    def labelled(self, counts: Mapping[str, int]) -> Self:
        """Return this tokenizer with labels.

        Args:
            counts: of each label, how many documents of the training text have it.

        Raises:
            DataError: if documents have no frames, so that nothing could be labelled.
        """
        if counts and not self.framed:
            raise DataError("labels without documents: the vocabulary has no <start>")
        tokenizer = copy.copy(self)
        tokenizer.labels = tuple(sorted(counts))
        tokenizer.label_counts = tuple(counts[label] for label in tokenizer.labels)
        return tokenizer

    @property
    def counts_by_label(self) -> dict[str, int]:
        """How many documents of the training text have each label, by its name."""
        return dict(zip(self.labels, self.label_counts, strict=True))

    @property
    def num_ids(self) -> int:
        """Number of ids that are read: those of the vocabulary, then one for each label."""
        return self.vocab_size + len(self.labels)

    def opens(self, ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which ids open a document, with a label or without; none do if documents have no frames."""
        ids = np.asarray(ids)
        if not self.framed:
            return np.zeros(ids.shape, bool)
        opens: npt.NDArray[np.bool_] = (ids == self.start_id) | (ids >= self.vocab_size)
        return opens

    def unlabelled(self, ids: Ids) -> Ids:
        """Return ids with `<start>` in place of every label."""
        return np.where(ids >= self.vocab_size, ids.dtype.type(self.start_id), ids) if self.labels else ids

    def counts(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Return how often each id of the vocabulary occurs, (V,); a label counts as a `<start>`."""
        counts = np.bincount(ids, minlength=self.num_ids)
        own, labels = counts[: self.vocab_size], counts[self.vocab_size :]
        if len(labels):
            own[self.start_id] += labels.sum()
        return own

    def opener(self, label: str | None) -> int:
        """Return the id that opens a document with this label, or with none.

        Raises:
            UsageError: if the vocabulary has no such label.
        """
        if label is None:
            return self.start_id
        if label in self.labels:
            return self.vocab_size + self.labels.index(label)
        if not self.labels:
            raise UsageError(
                f"label {label!r:.60}: this model has no labels; leave it out, or train a model with --label-field or "
                "--label-from"
            )
        more = f" and {len(self.labels) - _NAMED:,} more" if len(self.labels) > _NAMED else ""
        names = ", ".join(f"{name!r:.60}" for name in self.labels[:_NAMED])
        raise UsageError(f"label {label!r:.60}: this model does not know it; choose one of {names}{more}")

    @property
    def start_id(self) -> int:
        """The id read before the first character of a text: `<start>`, or without frames the id of a newline.

        Without frames it is `<unk>` if the vocabulary has no newline.
        """
        return self.vocab_size - 2 if self.framed else self._newline

    @property
    def end_id(self) -> int | None:
        """The id of `<end>`, or None if documents have no frames."""
        return self.vocab_size - 1 if self.framed else None

    @property
    def opening(self) -> list[int]:
        """The ids read before a text: `<end>`, which takes the state back to its beginning, and the `start_id`."""
        return self.opened(None)

    def opened(self, label: str | None) -> list[int]:
        """Return the ids read before a text with this label, or with none; raises `UsageError` as `opener` does."""
        opener = self.opener(label)
        return [self.vocab_size - 1, opener] if self.framed else [opener]

    @property
    def never(self) -> list[int]:
        """The ids that are never generated: `<unk>` and `<start>`, if the vocabulary has them."""
        unknown = [] if self.unknown_id is None else [self.unknown_id]
        return [*unknown, self.start_id] if self.framed else unknown

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """What hashes of n-grams are computed from, (num_ids,): the code point (or byte) plus 1, and 0 for `<end>`.

        `<unk>` and `<start>` have codes above those of all characters; a label has that of `<start>`.
        """
        start = _CODE_POINTS + 2
        frames = [start, 0] if self.framed else []
        return np.concatenate([self._own_codes() + 1, frames, [start] * len(self.labels)]).astype(np.int64)

    @abstractmethod
    def _own_codes(self) -> npt.NDArray[np.int64]:
        """Return the code point or byte of each id before the frames."""

    @property
    @abstractmethod
    def unknown_nats(self) -> float:
        """What naming an unknown character costs beyond -ln P(<unk>), in nats."""

    @property
    @abstractmethod
    def vocabulary(self) -> list[str]:
        """What each id stands for, (V,)."""

    def require_known(self, text: str, what: str = "the prompt") -> None:
        """Raise `DataError` naming the characters of a text that are not in the vocabulary."""
        ids = self.encode(text)
        if self.unknown_id is None or self.unknown_id not in ids:
            return
        unknown = list(dict.fromkeys(text[at] for at in (ids == self.unknown_id).nonzero()[0]))
        names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(
            f"{what} has characters this model has never seen: {names}{more}, the first at position "
            f"{text.index(unknown[0])}; leave them out, or train a model on text that has them"
        )

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """Return the ids of `text`, in the smallest unsigned type that holds them."""

    @abstractmethod
    def encode_codes(self, codes: npt.NDArray[np.unsignedinteger]) -> Ids:
        """Return the ids of code points; the tokenizer `byte` takes bytes."""

    @abstractmethod
    def decode(self, ids: npt.ArrayLike) -> str:
        """Return the text of `ids`."""

    @abstractmethod
    def stream(self) -> StreamDecoder:
        """Return a decoder for ids that come one after the other."""


def id_dtype(num_ids: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest unsigned type that holds every id."""
    return np.dtype(np.uint8 if num_ids <= 1 << 8 else np.uint16 if num_ids <= 1 << 16 else np.uint32)


def code_points(text: str) -> npt.NDArray[np.unsignedinteger]:
    """Return the code points of a text, one byte each if all are ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(codes: npt.NDArray[np.unsignedinteger]) -> str:
    """Return the text of code points."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def widths(codes: npt.NDArray[Any], kind: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many characters, and how many bytes in UTF-8, each code is.

    Args:
        codes: code points, of which a lone surrogate stands for a stray byte; bytes for the tokenizer `byte`, and only
            the first byte of each character counts as a character.
        kind: of the tokenizer.
    """
    if kind == "byte":
        return ((codes & 0xC0) != 0x80).astype(np.int64), np.ones(len(codes), np.int64)
    surrogate = (codes >= 0xD800) & (codes < 0xE000)
    size = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    return np.ones(len(codes), np.int64), np.where(surrogate, 1, size)


class CharTokenizer(Tokenizer):
    """One id per character of the training text; id 0 is `<unk>`, the others follow in code point order."""

    kind = "char"
    unknown_id = 0

    def __init__(self, characters: Sequence[str], *, framed: bool = False) -> None:
        """Take the known characters, in the order of their ids.

        Raises:
            DataError: if they are not single, distinct characters.
        """
        if any(not isinstance(character, str) or len(character) != 1 for character in characters):
            raise DataError("the vocabulary holds something that is not one character")
        if len(set(characters)) != len(characters):
            raise DataError("the vocabulary holds a character twice")
        self._characters = "".join(characters)
        codes = np.array([ord(character) for character in characters], np.int64)
        self._ids: Ids = np.zeros(_CODE_POINTS, id_dtype(1 + len(characters) + 2 * framed))
        self._ids[codes] = np.arange(1, 1 + len(characters))
        super().__init__(1 + len(characters), int(self._ids[ord("\n")]), framed=framed)
        self._codes = np.concatenate([[ord(REPLACEMENT)], codes, [ord("\n")] * 2 * framed]).astype("<u4")

    @property
    def characters(self) -> str:
        """The known characters, in the order of their ids."""
        return self._characters

    def _own_codes(self) -> npt.NDArray[np.int64]:
        codes = self._codes[: 1 + len(self._characters)].astype(np.int64)
        codes[self.unknown_id] = _CODE_POINTS
        return codes

    @property
    def unknown_nats(self) -> float:
        """The uniform code over all Unicode scalars but the known characters."""
        return float(np.log(max(1, _SCALAR_VALUES - len(self._characters))))

    @property
    def vocabulary(self) -> list[str]:
        """`<unk>`, the known characters, and the frames."""
        return [UNKNOWN, *self._characters, *([START, END] if self.framed else [])]

    def encode(self, text: str, *, block: int = _BLOCK) -> Ids:
        """Return one id per character, `block` characters at a time; unknown characters become `<unk>`."""
        ids: Ids = np.empty(len(text), self._ids.dtype)
        for start in range(0, len(text), block):
            codes = code_points(text[start : start + block])
            ids[start : start + len(codes)] = self.encode_codes(codes)
        return ids

    def encode_codes(self, codes: npt.NDArray[np.unsignedinteger]) -> Ids:
        """Return one id per code point."""
        return self._ids.take(codes, mode="clip")

    def decode(self, ids: npt.ArrayLike) -> str:
        """Return one character per id; `<unk>` becomes U+FFFD, and a frame or a label a newline."""
        codes: npt.NDArray[np.uint32] = self._codes.take(np.asarray(ids, np.int64), mode="clip")  # a label is a frame
        return codes.tobytes().decode("utf-32-le", "surrogatepass")

    def stream(self) -> StreamDecoder:
        """Return a decoder: no character waits for another."""
        return _CharStream([REPLACEMENT, *self._characters, *([""] * 2 * self.framed)])


class _CharStream:
    """A look-up, faster than `decode` for a single id."""

    def __init__(self, characters: Sequence[str]) -> None:
        self._characters = characters

    def decode(self, ids: Sequence[int]) -> str:
        return "".join([self._characters[id] for id in ids])


class ByteTokenizer(Tokenizer):
    """256 ids, one per byte of the UTF-8 text; nothing is unknown."""

    kind = "byte"
    unknown_id = None

    def __init__(self, *, framed: bool = False) -> None:
        """Have an id for each byte, and two more if `framed`."""
        super().__init__(256, ord("\n"), framed=framed)

    def _own_codes(self) -> npt.NDArray[np.int64]:
        return np.arange(256)

    @property
    def unknown_nats(self) -> float:
        """Nothing: no byte is unknown."""
        return 0.0

    @property
    def vocabulary(self) -> list[str]:
        """The bytes, written as `0x41`, and the frames."""
        return [*(f"0x{byte:02x}" for byte in range(256)), *([START, END] if self.framed else [])]

    def encode(self, text: str) -> Ids:
        """Return the bytes of `text`.

        Raises:
            DataError: if a lone surrogate does not stand for a stray byte.
        """
        try:
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
        except UnicodeEncodeError as error:
            raise DataError(
                f"character {error.start} is the lone surrogate U+{ord(text[error.start]):04X}, which no file holds; "
                "remove it"
            ) from None

    def encode_codes(self, codes: npt.NDArray[np.unsignedinteger]) -> Ids:
        """Return the bytes themselves."""
        return codes.astype(np.uint8)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Return the text; bytes that are not UTF-8 become lone surrogates, as `encode` takes them.

        A frame or a label becomes a newline.
        """
        ids = np.asarray(ids)
        return np.where(ids < 256, ids, ord("\n")).astype(np.uint8).tobytes().decode("utf-8", "surrogateescape")

    def stream(self) -> StreamDecoder:
        """Return a decoder that holds a character back until its last byte has arrived."""
        return _ByteStream()


class _ByteStream:
    """Incremental UTF-8; a byte that fits nowhere becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, ids: Sequence[int]) -> str:
        return self._decoder.decode(bytes(id for id in ids if id < 256))


def from_vocabulary(kind: str, vocabulary: Sequence[str], labels: Mapping[str, int] | None = None) -> Tokenizer:
    """Rebuild the tokenizer whose `vocabulary` a checkpoint holds.

    Args:
        kind: `char` or `byte`.
        vocabulary: what each id stands for.
        labels: how many documents have each label, if there are any.

    Raises:
        DataError: if the vocabulary is not one of this kind.
    """
    framed = list(vocabulary[-2:]) == [START, END]
    if kind == "byte":
        tokenizer: Tokenizer = ByteTokenizer(framed=framed)
    elif kind == "char" and vocabulary and vocabulary[0] == UNKNOWN:
        tokenizer = CharTokenizer(vocabulary[1 : -2 if framed else None], framed=framed)
    else:
        raise DataError(f"no vocabulary of the kind {kind!r}")
    if tokenizer.vocabulary != list(vocabulary):
        raise DataError(f"the vocabulary is not that of the tokenizer {kind}")
    return tokenizer.labelled(labels) if labels else tokenizer

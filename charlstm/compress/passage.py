"""A piece of text <-> symbols of the coder, one for each id that a predictor expects.

The text is any bytes: those that are not UTF-8 are lone surrogates in a `str` (PEP 383). A character outside the
vocabulary is `<unk>`, followed by its name: one of all Unicode scalars and stray bytes, each as likely as any other; if
the code learns, those that came before are likelier. A separator is what `<end>` stands for; `<start>` follows by
itself.
"""

from collections.abc import Callable, Iterator

import numpy as np

from charlstm.compress.coder import Decoder, Encoder
from charlstm.compress.predict import TOTAL, Coding, Predictor
from charlstm.errors import DataError
from charlstm.text.tokenizer import Tokenizer

Watch = Callable[[int], None]
"""Is told how many more bytes of the text are done."""
_SURROGATES = 0x800
_FIRST_SURROGATE = 0xD800
_STRAY = 0xDC80  # the lone surrogate of the byte 0x80
_SCALARS = 0x110000 - _SURROGATES
_NAMES = _SCALARS + 0x80
_MOST_BEYOND = 6  # bytes that a decoder reads after the end of whole data
_TOLD = 64  # ids between two words to a watch
_PROBED = 4096  # ids after which a text that the model does not know is given up
_MOST_REMEMBERED = 4096  # unknown characters


def text_of(data: bytes) -> str:
    """Return bytes as text, those that are not UTF-8 as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """Return the bytes of `text_of`."""
    return text.encode("utf-8", "surrogateescape")


class Names:
    """Codes unknown characters."""

    def __init__(self, *, learning: bool) -> None:
        """Begin without any; without `learning`, every name stays as likely as any other."""
        self._learning = learning
        self._seen: dict[int, int] = {}

    def encode(self, encoder: Encoder, character: str) -> None:
        """Write a character."""
        code = ord(character)
        if code >= _FIRST_SURROGATE:
            code = _SCALARS + code - _STRAY if code < _FIRST_SURROGATE + _SURROGATES else code - _SURROGATES
        if self._learning:
            begin, total = self._place(code)
            encoder.encode(begin, self._seen.get(code, 1), total)
        if code not in self._seen:
            encoder.encode(code, 1, _NAMES)
        self._learn(code)

    def decode(self, decoder: Decoder) -> str:
        """Read a character."""
        code = None
        if self._learning:
            total = self._place(-1)[1]
            target, begin = decoder.target(total), 0
            for each, size in self._seen.items():
                if begin + size > target:
                    code = each
                    break
                begin += size
            decoder.take(begin, 1 if code is None else self._seen[code], total)
        if code is None:
            code = decoder.target(_NAMES)
            decoder.take(code, 1, _NAMES)
        self._learn(code)
        if code >= _SCALARS:
            return chr(code - _SCALARS + _STRAY)
        return chr(code if code < _FIRST_SURROGATE else code + _SURROGATES)

    def _place(self, code: int) -> tuple[int, int]:
        """Return what comes before a name among those seen, and the sum; a new one comes last."""
        begin, total = 0, 0
        for each, size in self._seen.items():
            if each == code:
                begin = total
            total += size
        return (begin if code in self._seen else total), total + 1

    def _learn(self, code: int) -> None:
        if self._learning and (code in self._seen or len(self._seen) < _MOST_REMEMBERED):
            self._seen[code] = min(self._seen.get(code, 0) + 2, 255)


class Passages:
    """Codes pieces of a text, one after the other."""

    def __init__(self, coding: Coding, predictor: Predictor, *, learning: bool) -> None:
        """Begin at the beginning of a text."""
        self._tokenizer: Tokenizer = coding.tokenizer
        self._separator = coding.separator
        self._end = coding.tokenizer.end_id
        self._predictor = predictor
        self._learning = learning
        self._names = Names(learning=learning)
        self._characters = [bytes([byte]) for byte in range(256)]
        if coding.tokenizer.kind == "char":
            decoded = [coding.tokenizer.decode([id]) for id in range(coding.tokenizer.vocab_size)]
            self._characters = [bytes_of(character) for character in decoded]

    def begin(self) -> None:
        """Forget everything."""
        self._predictor.begin()
        self._names = Names(learning=self._learning)

    def encode(self, text: str, encoder: Encoder, watch: Watch, *, most: int | None = None, one: bool = False) -> bool:
        """Write a piece of text.

        Args:
            text: what to write.
            encoder: what to write to.
            watch: told of the progress.
            most: the bytes at which to give up.
            one: whether it is one document, whatever separators are in it.

        Returns:
            Whether it was written; False if it was given up.
        """
        unknown, count = self._tokenizer.unknown_id, len(bytes_of(text))
        told = 0
        documents = text.split(self._separator) if self._separator and not one else [text]
        pieces = [self._tokenizer.encode(document) for document in documents]
        whole = sum(map(len, pieces)) + len(pieces) - 1
        done = 0
        for number, (document, ids) in enumerate(zip(documents, pieces, strict=True)):
            if number:
                self.end(encoder)
                self._predictor.read(self._tokenizer.start_id)
            for at, id in enumerate(ids.tolist()):
                self._write(encoder, id)
                if id == unknown:
                    self._names.encode(encoder, document[at])
                done += 1
                if done % _TOLD == 0:
                    share = count * done // whole
                    watch(share - told)
                    told = share
                    if most is not None and (
                        len(encoder) > most or (done == _PROBED and len(encoder) * whole > 2 * most * done)
                    ):
                        watch(count - told)
                        return False
        watch(count - told)
        return True

    def decode(self, decoder: Decoder, count: int, watch: Watch) -> bytes:
        """Return the next piece of text: `count` bytes, and the rest of a character.

        Raises:
            DataError: if the data do not hold so many.
        """
        pieces: list[bytes] = []
        size = told = 0
        for piece in self._read(decoder, None):
            pieces.append(piece)
            size += len(piece)
            if len(pieces) % _TOLD == 0:
                watch(size - told)
                told = size
            if size >= count:
                break
        watch(size - told)
        return b"".join(pieces)

    def end(self, encoder: Encoder) -> None:
        """Write the end of a document; if the model's have none, a newline."""
        if self._end is not None:
            self._write(encoder, self._end)
        else:
            (id,) = self._tokenizer.encode("\n").tolist()
            self._write(encoder, id)
            if id == self._tokenizer.unknown_id:
                self._names.encode(encoder, "\n")

    def decode_document(self, decoder: Decoder, most: int) -> bytes:
        """Return the text up to the end of a document.

        Raises:
            DataError: if there is none within `most` bytes.
        """
        found = bytearray()
        for piece in self._read(decoder, b"\n"):
            found += piece
            if len(found) > most:
                raise DataError("a record is too short for its text")
        return bytes(found)

    def _write(self, encoder: Encoder, id: int) -> None:
        found = self._predictor.frequencies()
        encoder.encode(int(found[:id].sum()), int(found[id]), TOTAL)
        self._predictor.read(id)

    def _read(self, decoder: Decoder, last: bytes | None) -> Iterator[bytes]:
        """Yield characters; up to the end of a document if `last`, which ends one where documents have no frames."""
        unknown = self._tokenizer.unknown_id
        while True:
            ends = np.cumsum(self._predictor.frequencies())
            target = decoder.target(TOTAL)
            id = int(ends.searchsorted(target, "right"))
            begin = int(ends[id - 1]) if id else 0
            decoder.take(begin, int(ends[id]) - begin, TOTAL)
            if decoder.beyond > _MOST_BEYOND:
                raise DataError("the text ends too early")
            self._predictor.read(id)
            if id == self._end:
                if last is not None:
                    return
                self._predictor.read(self._tokenizer.start_id)
                yield bytes_of(self._separator)
                continue
            piece = self._characters[id] if id != unknown else bytes_of(self._names.decode(decoder))
            if piece == last and self._end is None:
                return
            yield piece

"""Bytes -> code points, with errors that say which encoding a text is probably in."""

import codecs

import numpy as np
import numpy.typing as npt

from charlstm.errors import DataError
from charlstm.text.tokenizer import code_points

_SAMPLE = 4096  # bytes that tell UTF-16 from text of one byte per character

Codes = npt.NDArray[np.unsignedinteger]


class Decoder:
    """Turns a file's bytes into code points, block by block."""

    def __init__(self, path: str, encoding: str, *, text_only: bool, binary: bool) -> None:
        """Begin a file.

        Args:
            path: of the file, for the errors.
            encoding: a text encoding of Python.
            text_only: whether a NUL character is refused, as a sign that the file is not text.
            binary: whether control characters are expected; otherwise a text full of them is refused.
        """
        self._path = path
        self._encoding = encoding
        self._text_only = text_only
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._taken = 0
        self._first = b""  # enough of the file to tell what it is
        self._judged = binary or b"a".decode(encoding, "replace") != "a"  # not an encoding that extends ASCII
        self._begun = False

    def decode(self, data: bytes) -> tuple[Codes, DataError | None]:
        """Return the characters that these bytes complete, and what is wrong after them; empty `data` ends the file."""
        self._first += data[: _SAMPLE - len(self._first)]
        if not self._judged and (len(self._first) == _SAMPLE or not data):
            self._judged = True
            if error := self._misread():
                return _NO_CODES, error
        before = self._decoder.getstate()
        error = None
        try:
            content = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as caught:
            error = self._refusal(caught, self._taken + len(data))
            self._decoder.setstate(before)
            content = self._decoder.decode(data[: max(0, caught.start - len(caught.object) + len(data))])
        except UnicodeError as caught:  # UTF-16 that does not say which of the two it is
            fact = f"{self._path}: not valid {self._encoding} ({caught})"
            return _NO_CODES, self._error(fact, "name its own --encoding")
        self._taken += len(data)
        if content and not self._begun:
            self._begun = True
            content = content.removeprefix("\N{BYTE ORDER MARK}")
        if self._text_only and "\0" in content:
            return _NO_CODES, DataError("it holds NUL characters: not a text")
        return code_points(content), error

    def _misread(self) -> DataError | None:
        """Return what is wrong with a text if hardly any byte, or only every other one, is a printable character."""
        likely = _suspected(self._first)
        if likely is None:
            return None
        if likely == _BINARY:
            return DataError(
                f"{self._path}: almost nothing but control characters: not a text",
                remedies={"--tokenizer": "use --tokenizer byte"},
                otherwise="give a text",
            )
        looks = f"this looks like {likely}, not {self._encoding}"
        fact = f"{self._path}: control characters such as NUL at regular intervals: {looks}"
        return self._error(fact, f"name --encoding {likely}")

    def _refusal(self, error: UnicodeDecodeError, end: int) -> DataError:
        offset = end - len(error.object) + error.start
        fact = f"{self._path}: byte {offset:,} (0x{error.object[error.start]:02X}) is not valid {self._encoding}"
        if self._first[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            return self._error(fact, "name --encoding utf-16")
        likely = _suspected(self._first)
        if likely is not None and likely != _BINARY:
            return self._error(fact, f"name --encoding {likely}")
        return self._error(fact, "name its own encoding (--encoding latin-1, say)")

    def _error(self, fact: str, encoding: str) -> DataError:
        return DataError(
            fact,
            remedies={"--encoding": encoding, "--tokenizer": "use --tokenizer byte"},
            otherwise=f"convert it to {self._encoding}",
        )


_NO_CODES: Codes = np.empty(0, np.uint8)
_BINARY = "binary"
_CONTROLS = np.array([byte < 32 and chr(byte) not in "\t\n\v\f\r\x1b" for byte in range(256)])
_SIGNS = {
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (True, True, True, True): _BINARY,
}
"""What a text is, by which of four consecutive bytes are nearly always control characters."""


def _suspected(first: bytes) -> str | None:
    """Return the encoding of two or four bytes per character, without a byte order mark, that a text is in; or None.

    The upper byte of most characters is small: 0 in Latin script, 4 in Cyrillic.
    """
    if len(first) < 8:
        return None
    columns = np.frombuffer(first[: len(first) // 4 * 4], np.uint8).reshape(-1, 4)
    shares = _CONTROLS[columns].mean(axis=0)
    if ((shares > 0.1) & (shares < 0.9)).any():
        return None
    return _SIGNS.get(tuple((shares > 0.5).tolist()))

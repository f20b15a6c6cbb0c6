"""The index of records: their lengths in bytes <-> a few bits each.

A length of b bits is coded as b, then as its bits below the first: two that follow the frequencies so far, then plain.
"""

from collections.abc import Sequence

from charlstm.compress.coder import Decoder, Encoder
from charlstm.errors import DataError

_CLASSES = 33  # lengths of 0 to 32 bits
_STEP = 24  # what an occurrence adds to a frequency
_MOST = 1 << 16  # sum of frequencies above which all are halved
_ADAPTIVE = 2


class _Adaptive:
    """Frequencies that follow what comes."""

    def __init__(self, count: int) -> None:
        self._sizes = [1] * count
        self._total = count

    def encode(self, encoder: Encoder, symbol: int) -> None:
        encoder.encode(sum(self._sizes[:symbol]), self._sizes[symbol], self._total)
        self._learn(symbol)

    def decode(self, decoder: Decoder) -> int:
        target, symbol, begin = decoder.target(self._total), 0, 0
        while begin + self._sizes[symbol] <= target:
            begin += self._sizes[symbol]
            symbol += 1
        decoder.take(begin, self._sizes[symbol], self._total)
        self._learn(symbol)
        return symbol

    def _learn(self, symbol: int) -> None:
        self._sizes[symbol] += _STEP
        self._total += _STEP
        if self._total > _MOST:
            self._sizes = [(size + 1) // 2 for size in self._sizes]
            self._total = sum(self._sizes)


class _Lengths:
    """The models of a length's parts."""

    def __init__(self) -> None:
        self.bits = _Adaptive(_CLASSES)
        self.next = [_Adaptive(1 << min(max(bits - 1, 0), _ADAPTIVE)) for bits in range(_CLASSES)]


def encoded(lengths: Sequence[int]) -> bytes:
    """Return the index of records with these lengths."""
    encoder, models = Encoder(), _Lengths()
    for length in lengths:
        bits = length.bit_length()
        models.bits.encode(encoder, bits)
        below = max(bits - 1, 0)
        plain = max(below - _ADAPTIVE, 0)
        rest = length - (1 << below if bits else 0)
        models.next[bits].encode(encoder, rest >> plain)
        for shift in range(plain - 1, -1, -1):
            encoder.encode(rest >> shift & 1, 1, 2)
    return encoder.finish()


def decoded(data: bytes, total: int) -> list[int]:
    """Return the lengths of records that have `total` bytes together, of which none is empty.

    Raises:
        DataError: if there are no such lengths.
    """
    decoder, models = Decoder(data), _Lengths()
    lengths = []
    while total > 0:
        bits = models.bits.decode(decoder)
        below = max(bits - 1, 0)
        plain = max(below - _ADAPTIVE, 0)
        rest = models.next[bits].decode(decoder)
        for _ in range(plain):
            bit = decoder.target(2)
            decoder.take(bit, 1, 2)
            rest = rest << 1 | bit
        length = rest + (1 << below if bits else 0)
        if not 0 < length <= total:
            raise DataError("its index is damaged")
        lengths.append(length)
        total -= length
    return lengths

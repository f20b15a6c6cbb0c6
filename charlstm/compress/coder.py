"""A range coder over integer frequencies: the number that it writes is as long as the sum of -log2(size / total).

Everything is an integer below 2^53, so that a reader in any language, JavaScript included, can compute it exactly.
(Martin 1979; the carry goes back into the bytes already written. With 32 bits of range instead of 48, a total of 2^22
would cost 0.03 bits more per symbol.)
"""

MOST_TOTAL = 1 << 22
"""The largest sum of frequencies."""
_BITS = 48
_WHOLE = 1 << _BITS
_LEAST = 1 << (_BITS - 8)  # below this range the next byte is settled, except for a carry
_BYTES = _BITS // 8


class Encoder:
    """Symbols -> bytes."""

    def __init__(self) -> None:
        """Begin with the interval from 0 to 2^48."""
        self._low = 0
        self._range = _WHOLE
        self._written = bytearray()

    def __len__(self) -> int:
        """Return the bytes settled so far."""
        return len(self._written)

    def encode(self, begin: int, size: int, total: int) -> None:
        """Narrow the interval to that of a symbol: `size` of `total` parts, after the `begin` parts of others."""
        part = self._range // total
        self._low += begin * part
        self._range = size * part
        if self._low >= _WHOLE:
            self._carry()
        while self._range < _LEAST:
            self._written.append(self._low >> (_BITS - 8))
            self._low = (self._low << 8) & (_WHOLE - 1)
            self._range <<= 8

    def finish(self) -> bytes:
        """Return the shortest bytes that lead to this interval, however many zeros a reader thinks follow."""
        for kept in range(_BYTES + 1):
            below = (1 << (_BITS - 8 * kept)) - 1
            value = (self._low + below) & ~below
            if value < self._low + self._range:
                break
        self._low = value
        if self._low >= _WHOLE:
            self._carry()
        return bytes(self._written) + self._low.to_bytes(_BYTES, "big").rstrip(b"\0")

    def _carry(self) -> None:
        self._low -= _WHOLE
        at = len(self._written) - 1
        while self._written[at] == 0xFF:
            self._written[at] = 0
            at -= 1
        self._written[at] += 1


class Decoder:
    """Bytes -> symbols: ask where in `total` the next symbol lies, and then say which one that was."""

    def __init__(self, data: bytes) -> None:
        """Take what `Encoder.finish` returned."""
        self._data = data
        self._place = _BYTES
        self._range = _WHOLE
        self._value = int.from_bytes(data[:_BYTES].ljust(_BYTES, b"\0"), "big")

    @property
    def beyond(self) -> int:
        """How many bytes more than the data have been read; more than 6 tell that the data are not whole."""
        return self._place - max(len(self._data), _BYTES)

    def target(self, total: int) -> int:
        """Return the part, from 0 to `total` - 1, that the next symbol includes."""
        return min(self._value // (self._range // total), total - 1)

    def take(self, begin: int, size: int, total: int) -> None:
        """Go on after the symbol that has `size` parts after the `begin` parts of others."""
        part = self._range // total
        self._value -= begin * part
        self._range = size * part
        while self._range < _LEAST:
            following = self._data[self._place] if self._place < len(self._data) else 0
            self._value = ((self._value << 8) | following) & (_WHOLE - 1)
            self._range <<= 8
            self._place += 1

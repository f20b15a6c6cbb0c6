"""What comes next, in integer frequencies: a model that reads, and (`learn.py`) one that learns as it reads."""

import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlstm.network.exact import TOTAL, ExactEngine
from charlstm.network.quantise import ARITHMETIC, Quantised
from charlstm.text.tokenizer import Tokenizer

Frequencies = npt.NDArray[np.uint32]
ASKED = 24
"""Ids that the known answer is about."""


class Predictor(Protocol):
    """What writer and reader of a text both ask, so that they agree on every frequency."""

    def begin(self) -> None:
        """Forget everything, and stand at the beginning of a text."""

    def frequencies(self) -> Frequencies:
        """Return the frequency of each id as the next one, (V,); their sum is `TOTAL`."""

    def read(self, id: int) -> None:
        """Go on after the next id."""


@dataclass(frozen=True)
class Coding:
    """A model to code with: what two parties share."""

    quantised: Quantised
    tokenizer: Tokenizer
    separator: str
    """What stands between documents in a file, if the model reads it as `<end>` and `<start>`; else empty."""
    name: str
    """For people."""

    @cached_property
    def engine(self) -> ExactEngine:
        """The model, laid out for single steps."""
        return ExactEngine(self.quantised)

    @cached_property
    def id(self) -> bytes:
        """What tells this model from any other, 8 bytes."""
        return hashlib.sha256(f"{self.quantised.model_id} {self.separator}".encode("utf-8", "replace")).digest()[:8]

    @property
    def size(self) -> int:
        """Bytes of its weights."""
        return sum(tensor.nbytes for tensor in self.quantised.tensors().values())

    @property
    def arithmetic(self) -> int:
        """The version of the arithmetic."""
        return ARITHMETIC

    @cached_property
    def answer(self) -> int:
        """The CRC-32 of the frequencies, uint32, at the first `ASKED` places of a fixed text: id n of it is n * 7."""
        reader = Reader(self)
        crc = 0
        for number in range(ASKED):
            crc = zlib.crc32(reader.frequencies().astype("<u4").tobytes(), crc)
            reader.read(number * 7 % self.tokenizer.vocab_size)
        return crc

    @property
    def known_answer(self) -> bytes:
        """What tells whether a machine computes as another one does, 2 bytes of `answer`."""
        return (self.answer & 0xFFFF).to_bytes(2, "little")


class Reader:
    """A model whose weights stay as they are."""

    def __init__(self, coding: Coding) -> None:
        """Take a model, and begin."""
        self._engine = coding.engine
        self._opening = coding.tokenizer.opening
        self.begin()

    def begin(self) -> None:
        """Forget everything, and stand at the beginning of a text."""
        self._state = self._engine.zero_state()
        self._outputs: Any = None
        for id in self._opening:
            self.read(id)

    def frequencies(self) -> Frequencies:
        """Return the frequency of each id as the next one, (V,)."""
        return self._engine.frequencies(self._outputs)

    def read(self, id: int) -> None:
        """Go on after the next id."""
        self._outputs, self._state = self._engine.step(id, self._state)


__all__ = ["TOTAL", "Coding", "Frequencies", "Predictor", "Reader"]

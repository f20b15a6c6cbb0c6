"""What to compare a model with: what n-grams, adaptive contexts and compressors need for the same text.

Each figure is the length in bits of a code from which the text can be restored, as the model's own is: that of the ids
under a distribution, or of a compressed file. A compressor reads the text in UTF-8, the end of a document as a newline;
each unknown character costs every one of them its name, as it costs the model (`tokenizer.unknown_nats`).
"""

import bz2
import gzip
import importlib.util
import lzma
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.measure.ngram import MAX_ORDER, KneserNey
from charlstm.measure.report import Progress, Report, shortened
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Ids, Tokenizer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ORDERS = (3, 5, 8)
PPM_ORDER = 5
_PPM_MEMORY = 1 << 28  # bytes; if the text needs more, it begins anew
MOST_TRAINING = 1 << 24
"""Ids of the training text that are counted, its last: the counts of more would not fit a laptop's memory."""
_GZIP_REACH = 1 << 15  # bytes that the format can look back


class BaselinesReport(Report):
    """What others need for the same text."""

    name = "baselines"
    doing = "comparing"
    from_training = "the baselines that know it"
    partial = True

    @property
    def notes(self) -> list[str]:
        """Whether only the end of the training text is counted."""
        train = self.subject.train
        return [] if train is None else shortened(train, MOST_TRAINING)

    def measure(self, report: Progress) -> "tuple[Baseline, ...]":
        """Return what each of them needs."""
        subject, found = self.subject, []
        for baseline in measure(subject.text, subject.train, subject.loaded.tokenizer):
            found.append(baseline)
            report(len(found) / COUNT)
        return tuple(found)


@dataclass(frozen=True)
class Baseline:
    """What a code needs for a text."""

    name: str
    primed: bool
    """Whether it knows the training text."""
    bits_per_character: float | None
    """None if it needs the training text and that is missing, or a package that is not installed."""


def measure(held_out: Split, train: Split | None, tokenizer: Tokenizer) -> Iterator[Baseline]:
    """Yield what each baseline needs for the held-out text; those that know the training text have read the end of it.

    Args:
        held_out: the text.
        train: the training text, of which the last MOST_TRAINING ids are used; None if it is missing.
        tokenizer: of both.
    """
    named = held_out.unknown * tokenizer.unknown_nats / math.log(2)

    def baseline(name: str, bits: float | None, *, primed: bool) -> Baseline:
        return Baseline(name, primed, None if bits is None else (bits + named) / held_out.characters)

    counted = None if train is None else train.ids[-MOST_TRAINING:]
    framed = tokenizer.end_id is not None
    predicted = len(held_out.ids) - int(tokenizer.opens(held_out.ids).sum())
    yield baseline("uniform", predicted * math.log2(tokenizer.vocab_size - framed), primed=False)
    totals = None if counted is None else _ngrams(held_out.ids, counted, predicted, tokenizer)
    for order in (1, *ORDERS):
        name = "unigram" if order == 1 else f"Kneser-Ney {order}-gram"
        yield baseline(name, None if totals is None else float(totals[order - 1]), primed=True)
    text, known = _bytes(held_out.ids, tokenizer), None if counted is None else _bytes(counted, tokenizer)
    for name, size in _CODECS.items():
        yield baseline(name, 8 * size(text, b""), primed=False)
        if name in _PRIMED:
            yield baseline(name, None if known is None else 8 * size(text, known), primed=True)
    name = f"PPM order {PPM_ORDER}"
    there = importlib.util.find_spec("pyppmd") is not None
    yield baseline(name, 8 * _ppm(text, b"") if there else None, primed=False)
    yield baseline(name, 8 * _ppm(text, known) if there and known is not None else None, primed=True)


def sizes(data: bytes) -> dict[str, int]:
    """Return the bytes to which xz, and PPMd if its package is there, compress a text that nothing knows."""
    there = importlib.util.find_spec("pyppmd") is not None
    return {"xz": _xz(data, b"")} | ({"PPM": _ppm(data, b"")} if there else {})


def _ngrams(ids: Ids, counted: Ids, predicted: int, tokenizer: Tokenizer) -> npt.NDArray[np.float64]:
    """Return the bits of a text under the n-grams of another one, by order: (MAX_ORDER,)."""
    framed = tokenizer.end_id is not None
    ngrams = KneserNey(counted, tokenizer.vocab_size, tokenizer.start_id)
    totals, place = np.zeros(MAX_ORDER), 0
    for bits in ngrams.bits(ids):
        piece = ids[place : place + bits.shape[1]]
        totals += bits.sum(1) if not framed else bits[:, ~tokenizer.opens(piece)].sum(1)
        place += len(piece)
    if framed:  # a `<start>` is never predicted, so the unigram need not expect one
        start = np.array([tokenizer.start_id])
        totals[0] += predicted * np.log2(1 - ngrams.probabilities(ngrams.contexts(start), start)[0, 0])
    return totals


def _bytes(ids: Ids, tokenizer: Tokenizer) -> bytes:
    """Return a text in UTF-8, the end of each document as a newline."""
    if tokenizer.end_id is not None:
        ids = ids[~tokenizer.opens(ids)]
    return tokenizer.decode(ids).encode("utf-8", "surrogateescape")


def _gzip(text: bytes, known: bytes) -> int:
    if not known:
        return len(gzip.compress(text, 9))
    codec = zlib.compressobj(9, wbits=zlib.MAX_WBITS, zdict=known[-_GZIP_REACH:])
    return len(codec.compress(text) + codec.flush())


def _bz2(text: bytes, _: bytes) -> int:
    return len(bz2.compress(text, 9))


def _xz(text: bytes, _: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def _zstd(text: bytes, known: bytes) -> int:
    key = zstd.CompressionParameter
    reach = max(20, min((len(text) + len(known)).bit_length(), 27))
    options: dict[int, int] = {key.compression_level: 22, key.window_log: reach}
    dictionary = zstd.ZstdDict(known, is_raw=True) if len(known) >= _LEAST_DICTIONARY else None
    return len(zstd.compress(text, options=options, zstd_dict=dictionary))


_LEAST_DICTIONARY = 8  # bytes; zstd takes no shorter one
_CODECS: dict[str, Callable[[bytes, bytes], int]] = {"gzip": _gzip, "bz2": _bz2, "xz": _xz, "zstd": _zstd}
_PRIMED = {"gzip", "zstd"}  # whose format knows a dictionary; Python's xz takes none, and bz2 has none
COUNT = 2 + len(ORDERS) + len(_CODECS) + len(_PRIMED) + 2
"""How many baselines there are."""


def _ppm(text: bytes, known: bytes) -> int:
    """Return the bytes of PPMd, variant H (Shkarin 2002): of a text alone, or of what it adds to a known one's."""
    import pyppmd

    def size(data: bytes) -> int:
        encoder = pyppmd.Ppmd7Encoder(PPM_ORDER, _PPM_MEMORY)
        return len(encoder.encode(data)) + len(encoder.flush(endmark=False))

    return size(known + text) - (size(known) if known else 0)

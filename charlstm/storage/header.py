"""Checks a checkpoint's header, which may come from a stranger, completely before any tensor is created.

A header is the JSON at the beginning of a `.safetensors` file. It holds the types and shapes of the tensors and, under
`__metadata__`, everything else, each entry as JSON in a string.
"""

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import safetensors

from charlstm.config import MOST_THREADS
from charlstm.errors import CharLSTMError, DataError

UNUSABLE: tuple[type[Exception], ...] = (
    CharLSTMError,
    safetensors.SafetensorError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
)
"""What reading a file that somebody has made up may raise."""

LEAST = 1 << 20
"""Size in bytes that a header may have in any file."""
_SHARE = 8  # a longer header may take at most 1/8 of the file: parsed JSON takes many times its length in memory
_LONGEST = 100_000_000  # the limit of the safetensors format


def read(file: BinaryIO, size: int) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file of `size` bytes and the bytes up to its end; raises ValueError if there is none."""
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if not 0 < length <= min(size - 8, most(size)):
        raise ValueError("no header")
    text = file.read(length)
    return parsed(text), first + text


def most(size: int) -> int:
    """Return the largest allowed header size, in bytes, for a file of `size` bytes."""
    return min(_LONGEST, max(LEAST, size // _SHARE))


def parsed(text: bytes) -> dict[str, Any]:
    """Return the JSON object in a header; raises TypeError or ValueError if there is none."""
    header = json.loads(text, object_pairs_hook=unique)
    if not isinstance(header, dict):
        raise TypeError("the header is not an object")
    return header


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises ValueError for duplicate names, which different readers may resolve differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def digest(header: dict[str, Any], body: memoryview) -> str:
    """Return the SHA-256 of a header, without its entry `sha256`, followed by the bytes of the tensors."""
    metadata = {name: text for name, text in header["__metadata__"].items() if name != "sha256"}
    sha256 = hashlib.sha256(json.dumps(header | {"__metadata__": metadata}, sort_keys=True).encode())
    sha256.update(body)
    return sha256.hexdigest()


def digest_of(data: bytes) -> str:
    """Return the digest of a whole file, as `safetensors` has just written it."""
    end = end_of(data)
    return digest(parsed(data[8:end]), memoryview(data)[end:])


def end_of(data: bytes) -> int:
    """Return where the header of a file ends."""
    return 8 + int.from_bytes(data[:8], "little")


def require_digest(header: dict[str, Any], body: memoryview) -> None:
    """Raise `DataError` if a file is not what was written."""
    if digest(header, body) != header["__metadata__"].get("sha256"):
        raise DataError("its SHA-256 does not match: it is damaged")


_REQUIRED: Any = object()


@dataclass(frozen=True)
class Entry:
    """The rule for one value in the metadata."""

    fits: Callable[[Any], bool]
    """Returns whether a value is allowed."""
    default: Any = _REQUIRED
    """The value to assume if a file of an older version lacks the entry."""


def known(what: str, values: Mapping[str, Any], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the values of these entries, with defaults for those that an older version did not write.

    Raises:
        DataError: naming the entry, if it is missing or its value is not allowed.
    """
    found = {}
    for name, entry in entries.items():
        if name in values:
            found[name] = values[name]
            if not entry.fits(found[name]):
                raise DataError(f"its {name} is invalid" if what == "metadata" else f"its {what} has an invalid {name}")
        elif entry.default is _REQUIRED:
            raise DataError(f"its {what} lacks {name}")
        else:
            found[name] = copy.copy(entry.default)
    return found


def is_count(value: object) -> bool:
    """Return whether a value is a whole number from 0 to 2^63 - 1."""
    return type(value) is int and 0 <= value < 2**63


def _is_positive(value: object) -> bool:
    return is_count(value) and value != 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_versions(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(version, str) for version in value.values())


def _is_labels(value: object) -> bool:
    """Return whether a value is an object of labels, each with how many documents have it."""
    return isinstance(value, dict) and all(_is_positive(count) for count in value.values())


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_COUNT, _NUMBER, _TEXT, _TEXTS, _OBJECT = map(Entry, (is_count, _is_number, _is_text, _is_texts, _is_object))


def _is_decisions(value: object) -> bool:
    """Return whether a value is a list of decisions about a run's length, in the order of their steps."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return False
    fits = all(
        is_count(it.get("step"))
        and _is_positive(it.get("steps"))
        and _is_positive(it.get("evaluate_every"))
        and (it.get("threads") is None or (_is_positive(it["threads"]) and it["threads"] <= MOST_THREADS))
        and isinstance(it.get("anew", False), bool)
        and (it.get("fall") is None or (_is_positive(it["fall"]) and it["fall"] <= it["steps"]))
        for it in value
    )
    return fits and all(a["step"] < b["step"] for a, b in itertools.pairwise(value))


PLAN = {
    **dict.fromkeys(("steps", "evaluate_every"), Entry(_is_positive)),
    "decisions": Entry(_is_decisions, []),
    "part": Entry(_or_none(_is_positive), None),
    "whole": Entry(lambda value: isinstance(value, bool), False),
}
TRAINING = {
    **dict.fromkeys(("step", "characters", "characters_since_row", "row_step", "misses"), _COUNT),
    **dict.fromkeys(("seconds", "nats_since_row"), _NUMBER),
    "best_loss": Entry(_or_none(_is_number)),
    "best_step": Entry(_or_none(is_count)),
    "halved": Entry(lambda value: isinstance(value, bool)),
    "scored": Entry(_or_none(is_count), None),
    "abandoned": Entry(lambda value: isinstance(value, bool), False),
    "plan": _OBJECT,
    "machine": _OBJECT,
}
"""The entries of `training`: where the run stands, its length, and the machine that computed it."""
SOURCE = {
    "paths": _TEXTS,
    "sha256": _TEXT,
    "characters": _COUNT,
    "val_paths": Entry(_is_texts, []),
    "val_sha256": Entry(_or_none(_is_text), None),
}
ORIGIN = {
    **dict.fromkeys(("name", "sha256"), _TEXT),
    **dict.fromkeys(("source", "text"), _OBJECT),
    "step": _COUNT,
    "val_loss": Entry(_or_none(_is_number), None),
}
ENTRIES = {
    "config": _OBJECT,
    "tokenizer": _TEXT,
    "vocabulary": _TEXTS,
    "labels": Entry(_is_labels, {}),
    "source": _OBJECT,
    "step": _COUNT,
    "val_loss": Entry(_or_none(_is_number)),
    "training": Entry(_or_none(_is_object)),
    "versions": Entry(_is_versions, {}),
    "origin": Entry(_is_objects, []),
}
"""The entries of the metadata."""

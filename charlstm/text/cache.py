"""The folder of prepared corpora: found by content, written whole or not at all, checked when used, limited in size."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlstm.config import CACHE_LIMIT
from charlstm.errors import InputOutputError, os_reason

_SUMMARY = "corpus.json"
_UNFINISHED = ".unfinished-"
_BLOCK = 1 << 22
_ATTEMPTS = 20  # at storing a corpus that other processes store and remove
_STALE_SECONDS = 24 * 3600.0  # after which the leftovers of a killed process are removed


def default_root() -> Path:
    """Return the folder for caches on this system."""
    import platformdirs

    return platformdirs.user_cache_path("charlstm", appauthor=False)


@dataclass(frozen=True)
class Entry:
    """A prepared corpus."""

    folder: Path
    summary: dict[str, Any]
    """What was stored with it, as plain JSON values."""

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return _size(self.folder)

    @property
    def used(self) -> float:
        """When it was last used, in seconds since 1970; 0 if another process has removed it."""
        try:
            return (self.folder / _SUMMARY).stat().st_mtime
        except OSError:
            return 0.0


@dataclass(frozen=True)
class Cache:
    """A folder with a folder for each prepared corpus.

    If all of them together have more than `limit` bytes when a corpus is stored, the least recently used ones are
    removed, except those found or stored through this object, which may still be in use.
    """

    root: Path
    limit: int = CACHE_LIMIT
    _in_use: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def find(self, key: str) -> Entry | None:
        """Return the corpus of this key, or None if there is none; a damaged one is removed."""
        entry = _entry(self.root / key)
        if entry is None:
            return None
        self._in_use.add(key)
        with contextlib.suppress(OSError):  # perhaps it belongs to another user
            os.utime(entry.folder / _SUMMARY)
        for name, (size, checksum) in entry.summary["files"].items():
            file = entry.folder / name
            try:
                whole = file.stat().st_size == size and _checksum(file) == checksum
            except OSError:
                whole = False
            if not whole:
                shutil.rmtree(entry.folder, ignore_errors=True)
                return None
        return entry

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[Path]:
        """Yield a new folder for what is being prepared; it is removed at the end, unless it was stored.

        Raises:
            InputOutputError: if the cache cannot be written.
        """
        folder = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_stale()
            folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.root))
            yield folder
        except OSError as error:
            raise InputOutputError(
                f"{self.root}: cannot be written ({os_reason(error)}); free some space or choose another --cache folder"
            ) from error
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def store(self, folder: Path, key: str, summary: dict[str, Any]) -> Entry:
        """Make an unfinished folder the corpus of this key, and keep the cache within its limit."""
        files = {file.name: (file.stat().st_size, _checksum(file)) for file in folder.iterdir()}
        content = json.dumps(summary | {"files": files})
        (folder / _SUMMARY).write_text(content, encoding="utf-8")
        place = self.root / key
        self._in_use.add(key)
        for attempt in itertools.count():
            try:
                folder.rename(place)
                break
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY} or attempt == _ATTEMPTS:
                    raise
            if self.find(key) is not None:  # another process was faster and may be reading its own, which is as good
                break
        self._evict()
        return Entry(place, json.loads(content))

    def entries(self) -> Iterator[Entry]:
        """Yield the prepared corpora, in the order of their folders' names."""
        if self.root.is_dir():
            for folder in sorted(self.root.iterdir()):
                if not folder.name.startswith(_UNFINISHED) and (entry := _entry(folder)):
                    yield entry

    def clear(self) -> int:
        """Remove all prepared corpora and unfinished ones; return the number of bytes freed."""
        freed = 0
        for folder in [entry.folder for entry in self.entries()] + [*self.root.glob(f"{_UNFINISHED}*")]:
            freed += _size(folder)
            shutil.rmtree(folder)
        return freed

    def _evict(self) -> None:
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        sizes = [entry.size for entry in entries]
        excess = sum(sizes) - self.limit
        for entry, size in zip(entries, sizes, strict=True):
            if excess <= 0:
                return
            if entry.folder.name not in self._in_use and _remove(entry.folder):
                excess -= size

    def _remove_stale(self) -> None:
        for folder in self.root.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(folder)


def _entry(folder: Path) -> Entry | None:
    try:
        summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Entry(folder, summary) if isinstance(summary, dict) and "files" in summary else None


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files, some of which another process may be removing."""
    total = 0
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            total += file.stat().st_size
    return total


def _remove(folder: Path) -> bool:
    """Rename a folder and then remove it, so that no other process finds it with half of its files."""
    gone = folder.with_name(f"{_UNFINISHED}{folder.name}-{os.getpid()}")
    try:
        folder.rename(gone)
    except OSError:  # another process was faster, or has it open on a system that forbids this
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _checksum(file: Path) -> int:
    """Return the CRC-32 of a file, which detects damage in a fraction of the time of a cryptographic hash."""
    checksum = 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def writable(root: Path) -> bool:
    """Return whether a folder exists or can be created, and can be written to."""
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)

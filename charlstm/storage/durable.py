"""Bytes <-> one regular file: replaced completely or not at all, whatever happens in between."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from charlstm.errors import DataError, InputOutputError, os_reason

_UNFINISHED = ".tmp"
_BLOCK = 1 << 20
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def write(path: Path, data: bytes, *, keep: Path | None = None) -> None:
    """Replace the file at `path`: write a temporary file beside it, fsync, read back, rename, fsync the folder.

    Args:
        path: a regular file, or a path at which nothing exists yet.
        data: the new content.
        keep: where the old file is moved once the new one is known to be complete.

    Raises:
        InputOutputError: with the reason; the old file remains, at `path` or `keep`, and nothing else is left behind.
    """
    for place in (path, keep):
        _require_replaceable(place)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        try:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if not _holds(temporary, data):
                raise InputOutputError(f"{path}: the disk does not return what was written to it; use another disk")
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def append(path: Path, data: bytes) -> None:
    """Add bytes to the end of the file at `path`, all of them or none, and sync it.

    Raises:
        InputOutputError: with the reason; the file is unchanged.
    """
    _require_replaceable(path)
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise _unwritable(path, error) from error


def unfinished(folder: Path) -> Iterator[Path]:
    """Yield the temporary files that killed processes have left behind in a folder."""
    yield from folder.glob(f".*{_UNFINISHED}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, if the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading, and yield it with its size in bytes.

    Raises:
        DataError: if it is not a regular file: a link, a pipe or a device may lead anywhere.
        InputOutputError: if it is missing or cannot be read, also in the body of the `with` statement.
    """
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: {_kind(mode)}; name a .safetensors file or a run that `charlstm train` wrote")
        # The path may have been replaced since the check: do not follow a link, and do not wait for a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | _CAREFULLY), "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise InputOutputError(f"{path}: no such checkpoint; check the path") from None
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({os_reason(error)}); check its permissions") from error


def _require_replaceable(path: Path | None) -> None:
    """Raise `InputOutputError` if something other than a regular file is at a path."""
    try:
        mode = path.lstat().st_mode if path is not None else stat.S_IFREG
    except OSError:  # nothing there, or writing will report the problem
        return
    if not stat.S_ISREG(mode):
        raise InputOutputError(f"{path}: {_kind(mode)}, and will not be overwritten; move it away")


def _unwritable(path: Path, error: OSError) -> InputOutputError:
    return InputOutputError(
        f"{path}: cannot be written ({os_reason(error)}); free some space",
        remedies={
            "--checkpoints": "choose another --checkpoints folder",
            "--output": "name another file with --output",
        },
        otherwise="check the folder's permissions",
    )


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder without a checkpoint in it"
    return "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"


def _holds(path: Path, data: bytes) -> bool:
    expected = memoryview(data)
    with path.open("rb") as file:
        for begin in range(0, len(data), _BLOCK):
            if file.read(_BLOCK) != expected[begin : begin + _BLOCK]:
                return False
        return not file.read(1)

"""Paths -> the files they mean, and which of those repeat others or add no text."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlstm.errors import InputOutputError, os_reason
from charlstm.text.files import STDIN, File, is_regular, opened, unreadable

_KINDS = {
    "named": ("file named more than once", "files named more than once"),
    "link": ("link to a file already read", "links to files already read"),
    "content": ("file with the same content as another", "files with the same content as others"),
}


@dataclass(frozen=True)
class Skipped:
    """Something found in a folder that was not read."""

    path: str
    reason: str


@dataclass(frozen=True)
class Repeat:
    """How a file repeats one that comes before it."""

    path: str
    original: str
    """The file that comes first."""
    kind: str
    """`named`: the same file, named again; `link`: the same file by another path; `content`: another, equal file."""


@dataclass(frozen=True)
class Listed:
    """A file, and what is known about it before its text is read."""

    file: File
    sha256: str | None
    """Of its bytes; None for a pipe."""
    repeat: Repeat | None


@dataclass(frozen=True)
class Listing:
    """The files that paths mean."""

    every: tuple[Listed, ...]
    """All files, in the order in which they are read."""
    skipped: tuple[Skipped, ...]
    """Links in folders that lead to no file, or to a folder."""

    @property
    def repeats(self) -> tuple[Repeat, ...]:
        """The files that repeat an earlier one."""
        return tuple(each.repeat for each in self.every if each.repeat is not None)

    def chosen(self, *, once: bool) -> tuple[Listed, ...]:
        """Return the files to read: each content once, or as many times as there are files with it."""
        return tuple(each for each in self.every if each.repeat is None) if once else self.every


@dataclass(frozen=True)
class LeftOut:
    """The files that paths lead to and that add nothing to a text."""

    skipped: tuple[Skipped, ...] = ()
    """What was found in folders and is not text."""
    repeats: tuple[Repeat, ...] = ()
    """Files that repeat others."""
    once: bool = True
    """Whether those were left out; otherwise each of them was read as well."""

    def notes(self) -> list[str]:
        """Return what a user should know about it, one line each."""
        notes = [f"skipped {skipped.path}: {skipped.reason}" for skipped in self.skipped[:3]]
        if len(self.skipped) > 3:
            notes.append(f"skipped {len(self.skipped) - 3:,} more files")
        for kind, names in _KINDS.items():
            repeats = [repeat for repeat in self.repeats if repeat.kind == kind]
            if repeats:
                first = repeats[0]
                example = first.path if first.path == first.original else f"{first.path}, the same as {first.original}"
                such = "" if len(repeats) == 1 else "such as "
                reading = "not read again" if self.once else "read again each time"
                notes.append(f"{len(repeats):,} {names[len(repeats) > 1]}: {reading} ({such}{example})")
        return notes


def find(paths: Sequence[str]) -> Listing:
    """Find the files that paths mean, and which of them are the same; those of a folder in the order of their paths.

    Each file that can be read twice is hashed, which reads it once. Hidden files are left out. A link to a file counts
    as the file; links to folders are not followed.

    Raises:
        InputOutputError: if a folder or a file cannot be read.
    """
    skipped: list[Skipped] = []
    every: list[Listed] = []
    identities: dict[tuple[int, ...], Listed] = {}
    contents: dict[str, Listed] = {}
    for file in _expand(paths, skipped):
        identity, sha256, repeat = _identity(file), None, None
        if identity is not None and identity in identities:
            first = identities[identity]
            same = os.path.abspath(file.path) == os.path.abspath(first.file.path)  # noqa: PTH100 (links stay links)
            sha256, repeat = first.sha256, Repeat(file.path, first.file.path, "named" if same else "link")
        elif file.lasting:
            sha256 = _sha256(file)
            if sha256 in contents and file.size:  # an empty file adds nothing that could be read twice
                repeat = Repeat(file.path, contents[sha256].file.path, "content")
        listed = Listed(file, sha256, repeat)
        every.append(listed)
        if identity is not None:
            identities.setdefault(identity, listed)
        if sha256 is not None:
            contents.setdefault(sha256, listed)
    return Listing(tuple(every), tuple(skipped))


def _expand(paths: Sequence[str], skipped: list[Skipped]) -> Iterator[File]:
    for path in paths:
        if path == STDIN or not Path(path).is_dir():
            yield File(path, found=False)
            continue
        for folder, folders, names in os.walk(path, onerror=_raise_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in folders:
                if Path(folder, name).is_symlink():
                    place = os.path.join(folder, name)  # noqa: PTH118
                    skipped.append(Skipped(place, "a link to a folder; name that folder too if it belongs to the text"))
            for name in sorted(names):
                file = os.path.join(folder, name)  # noqa: PTH118 (Path would drop the user's leading ./)
                if name.startswith("."):
                    continue
                if is_regular(file):
                    yield File(file, found=True)
                elif Path(file).is_symlink():
                    skipped.append(Skipped(file, "a link that leads to no file"))


def _identity(file: File) -> tuple[int, ...] | None:
    """Return what two paths to one file have in common, or None if that is not known.

    Size and time are part of it: on some network file systems two files may share a number.
    """
    if not file.lasting:
        return None
    try:
        status = Path(file.path).stat()
    except OSError:
        return None  # whoever opens it reports the error
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) if status.st_ino else None


def _sha256(file: File) -> str:
    with opened(file.path) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(file, error) from error


def _raise_unreadable(error: OSError) -> None:
    raise InputOutputError(f"{error.filename}: {os_reason(error)}; check the path and its permissions") from error


def combined(hashes: Sequence[str]) -> str:
    """Return the SHA-256 by which files are known together: of one its own, of several that of their hashes."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

"""What commands that write files share: where bytes come from, where they go, and what is said on the way."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charlstm.errors import InputOutputError, UsageError, os_reason

SUFFIX = ".clz"
STDOUT = "-"
_HEAD = 1 << 12  # bytes in which a file says what it is


@dataclass(frozen=True)
class Kind:
    """What a file must be to be replaced by another one."""

    name: str
    example: str
    begins: bytes
    has: bytes = b""
    """What is near its beginning too."""

    def fits(self, head: bytes) -> bool:
        """Return whether a file that begins like this is of this kind, or empty."""
        return not head or (head.startswith(self.begins) and self.has in head)


PICTURE = Kind("picture", "picture.svg", b"<svg")
PAGE = Kind("page of charlstm", "page.html", b"<!doctype html>", b'<meta name="generator" content="charlstm ')


def require_replaceable(option: str, file: str | None, kind: Kind) -> None:
    """Raise an error if no file of this name can be written, or something of another kind would be lost."""
    if file is None:
        return
    path = Path(file)
    if not path.name or path.is_dir() or file == STDOUT:
        raise UsageError(f"{option} {file!r}: not the name of a file; give one, such as {kind.example}")
    if not path.parent.is_dir():
        raise InputOutputError(f"{option} {file}: {path.parent} is no folder; make it, or choose another file")
    if path.is_symlink() or (path.exists() and not (path.is_file() and kind.fits(_head(option, path)))):
        raise UsageError(
            f"{option} {file}: this file is there and is no {kind.name}; choose another name, or remove it"
        )


def _head(option: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise InputOutputError(f"{option} {path}: cannot be read ({os_reason(error)}); choose another file") from None


def target(source: str, output: str | None, by_default: str, *, force: bool, text: bool = False) -> str:
    """Return where to write.

    Args:
        source: what is read: it is never overwritten.
        output: what the user names.
        by_default: where to write otherwise.
        force: whether another file may be overwritten.
        text: whether a terminal can show the result.

    Raises:
        UsageError: if it is empty, is the source, or is a terminal.
        InputOutputError: if it exists.
    """
    name = by_default if output is None else output
    if not name:
        raise UsageError("--output '': name a file, or - for standard output")
    if name == STDOUT:
        if not text and sys.stdout is not None and sys.stdout.isatty():
            raise UsageError(
                "standard output is a terminal, and the result is not for reading; redirect it, or give --output"
            )
        return name
    path = Path(name)
    with contextlib.suppress(OSError):
        if source and source != STDOUT and path.samefile(source):
            raise UsageError(f"{name}: the result would replace what is read; name another --output")
    if path.is_dir():
        raise UsageError(f"{name}: a folder; name a file in it with --output")
    if not force and (path.exists() or path.is_symlink()):
        raise InputOutputError(f"{name}: already exists; give --force to overwrite it, or another --output")
    return name


def read(file: str, begins: bytes = b"") -> bytes:
    """Return what is in a file or comes from standard input; only its beginning if it does not begin as it should.

    Raises:
        InputOutputError: if it is missing or cannot be read.
    """
    from charlstm.text import files

    if file != files.STDIN and Path(file).is_dir():
        raise UsageError(f"{file}: a folder; name a file, or pack it first: tar -c {file} | ...")
    with files.opened(file) as stream:
        try:
            first = stream.read(len(begins))
            return bytes(first + stream.read()) if first == begins else bytes(first)
        except OSError as error:
            raise InputOutputError(f"{file}: cannot be read ({os_reason(error)}); check the file") from None


def write(name: str, data: bytes, *, text: bool = False) -> None:
    """Write a result, a file completely or not at all; a terminal gets it if it is `text`, made visible."""
    from charlstm.show.terminal import Output
    from charlstm.storage import durable

    if name != STDOUT:
        durable.write(Path(name), data)
        return
    output = Output()
    if output.terminal and text:
        output.write(data.decode("utf-8", "replace"))
        output.flush()
    else:
        output.bytes(data)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar if it takes over two seconds; yield the function to call with how many more bytes are done."""
    from charlstm.show import terminal

    done = 0
    with terminal.bar(what, delay=2) as report:

        def watch(more: int) -> None:
            nonlocal done
            done += more
            report(min(done / max(total, 1), 1.0))

        yield watch


def tell(message: str) -> None:
    """Say what came of it, on stderr."""
    from charlstm.show import terminal

    terminal.plain(message)

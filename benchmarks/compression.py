"""Bytes of a text: charlstm, static and learning, beside general compressors; and the speed of each way."""

import bz2
import gzip
import importlib.util
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from charlstm.compress import archive, container, models
from charlstm.compress.predict import Coding
from charlstm.measure import baselines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Way = Callable[[bytes], bytes]


def others(program: str | None) -> Iterator[tuple[str, Way]]:
    """Yield general compressors; `program` is a checkout's lstm-compress."""
    yield "gzip -9", lambda data: gzip.compress(data, 9)
    yield "bz2 -9", lambda data: bz2.compress(data, 9)
    yield "xz -9e", lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    yield "zstd -22", lambda data: zstd.compress(data, 22)
    if importlib.util.find_spec("brotli"):
        import brotli

        yield "brotli -11", brotli.compress
    if importlib.util.find_spec("pyppmd"):
        yield "PPMd order 5", lambda data: bytes(baselines.sizes(data)["PPM"])
    if program is not None:
        yield "lstm-compress", lambda data: called(program, data)


def called(program: str, data: bytes) -> bytes:
    """Return what lstm-compress writes."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(data)
        subprocess.run([program, "-c", before, after], check=True, stdout=subprocess.DEVNULL)
        return after.read_bytes()


def row(name: str, data: bytes, way: Way) -> bytes:
    """Run a way and print a line of the table."""
    began = time.perf_counter()
    found = way(data)
    seconds = time.perf_counter() - began
    characters = len(data.decode("utf-8", "surrogateescape"))
    bits = 8 * len(found) / characters
    print(f"| {name} | {len(found):,} | {bits:.4f} | {characters / seconds:,.0f} |", flush=True)
    return found


@click.command()
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="shakespeare", show_default=True, help="The model to code with.")
@click.option("--last", type=int, help="Use only so many bytes, the last of the text.")
@click.option("--lstm-compress", "program", help="The program lstm-compress of a checkout.")
def main(text: Path, model: str, last: int | None, program: str | None) -> None:
    """Compress TEXT in every way, and print a table."""
    data = text.read_bytes()[-(last or 0) :]
    if not data:
        raise click.UsageError("TEXT is empty")
    coding = models.opened(model)
    print(f"{len(data):,} bytes, model {coding.name}\n")
    print("| | bytes | bits per character | characters/s |\n|---|---|---|---|")
    for name, way in others(program):
        row(name, data, way)
    for name, learning in (("charlstm --no-learn", False), ("charlstm", True)):
        found = row(name, data, lambda data, on=learning: archive.compress(data, coding, learning=on).data)  # type: ignore[misc]
        held = container.parsed(found, name)
        began = time.perf_counter()
        if again(held, coding) != data:
            raise click.ClickException(f"{name}: what was read is not what was compressed")
        print(f"| {name}, read again | | | {len(data) / (time.perf_counter() - began):,.0f} |", flush=True)


def again(held: container.Container, coding: Coding) -> bytes:
    """Return the text of a container."""
    return archive.decompress(held, lambda _: coding, "benchmark")


if __name__ == "__main__":
    main()

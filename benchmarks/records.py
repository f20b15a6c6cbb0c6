"""Bytes of single lines that can be read without the others: charlstm, beside zstd with a dictionary of such lines.

`paragraphs` and `logs` make texts whose lines are records, and `code` measures.
"""

import json
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from charlstm.compress import archive, container, models

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DICTIONARY = 110_000  # bytes, as much as `zstd --train` makes
LEVEL = 19


def frames(lines: Sequence[bytes], dictionary: zstd.ZstdDict) -> int:
    """Return the bytes of all lines, each as a frame of its own, with as little beside the data as zstd allows."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.content_size_flag: 0,
        zstd.CompressionParameter.checksum_flag: 0,
        zstd.CompressionParameter.dict_id_flag: 0,
    }
    return sum(len(zstd.compress(line, options=options, zstd_dict=dictionary)) for line in lines)


def trained(lines: Sequence[bytes]) -> zstd.ZstdDict:
    """Return a dictionary made of such lines."""
    return zstd.train_dict(list(lines), DICTIONARY)


_EVENTS = {
    "request": ("GET", "POST", "PUT", "DELETE"),
    "login": ("password", "token", "refused"),
    "job": ("queued", "started", "finished", "failed"),
    "disk": ("ok", "low", "full"),
}
_PATHS = ("/", "/index", "/search", "/users/{}", "/orders/{}", "/orders/{}/items", "/static/app.js", "/health")
_LEVELS = ("debug", "info", "info", "info", "info", "warning", "error")


def log_lines(count: int, seed: int) -> list[str]:
    """Return lines as a server writes them, in JSON."""
    source, lines, now = random.Random(seed), [], 1_790_000_000.0
    for _ in range(count):
        now += source.expovariate(0.5)
        event = source.choice(list(_EVENTS))
        found: dict[str, object] = {
            "time": round(now, 3),
            "level": source.choice(_LEVELS),
            "host": f"web-{source.randrange(1, 9):02}",
            "event": event,
            "state": source.choice(_EVENTS[event]),
        }
        if event == "request":
            found["path"] = source.choice(_PATHS).format(source.randrange(1, 10_000))
            found["status"] = source.choice((200, 200, 200, 200, 201, 304, 404, 500))
        if event != "disk":
            found["user"] = f"u{source.randrange(100_000):05}"
        found["ms"] = round(source.lognormvariate(3, 1), 1)
        lines.append(json.dumps(found))
    return lines


def paragraph_lines(text: str, shortest: int = 40) -> list[str]:
    """Return the paragraphs of a text, each as a line."""
    lines = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [line for line in lines if len(line) >= shortest]


def put(lines: Sequence[str], training: Path, records: Path, held_out: int) -> None:
    """Write lines in a random order: `held_out` of them, and those to learn from."""
    lines = random.Random(0).sample(lines, len(lines))
    for path, part in ((training, lines[held_out:]), (records, lines[:held_out])):
        path.write_text("".join(f"{line}\n" for line in part), encoding="utf-8", newline="")


@click.group()
def main() -> None:
    """Single lines: make them, and code them."""


@main.command()
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("training", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("records", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--held-out", default=1_000, show_default=True, help="Lines that are not to be learnt from.")
def paragraphs(text: Path, training: Path, records: Path, held_out: int) -> None:
    """Write the paragraphs of TEXT, or its lines if there are no paragraphs, to TRAINING and RECORDS."""
    read = text.read_text(encoding="utf-8")
    lines = paragraph_lines(read)
    put(lines if len(lines) > held_out else read.splitlines(), training, records, held_out)


@main.command()
@click.option("--lines", "count", default=20_000, show_default=True, help="Lines in all.")
@click.argument("training", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("records", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--held-out", default=1_000, show_default=True, help="Lines that are not to be learnt from.")
def logs(count: int, training: Path, records: Path, held_out: int) -> None:
    """Write lines as of a server's log to TRAINING and RECORDS."""
    put(log_lines(count, seed=0), training, records, held_out)


@main.command()
@click.argument("training", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("records", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="The model to code with: trained on TRAINING.")
def code(training: Path, records: Path, model: str) -> None:
    """Code each line of RECORDS alone, and print a table."""
    data = records.read_bytes()
    lines = data.splitlines()
    if not lines:
        raise click.UsageError("RECORDS is empty")
    coding = models.opened(model)
    found = archive.compress_records(data, coding).data
    held = container.parsed(found, records.name)
    if held.kind != container.RECORDS:
        raise click.ClickException("the model makes these records longer than they are")
    if archive.decompress(held, lambda _: coding, records.name) != data:
        raise click.ClickException("what was read is not what was compressed")
    zstd_bytes = frames(lines, trained(training.read_bytes().splitlines()))
    beside = len(found) - held.records
    print(f"{len(lines):,} records of {len(data) / len(lines):.1f} bytes, model {coding.name}\n")
    print("| | bytes | per record | of zstd |\n|---|---|---|---|")
    for name, size in (
        ("as they are", len(data)),
        (f"zstd -{LEVEL}, dictionary of {DICTIONARY // 1000} KB, bare frames", zstd_bytes),
        ("charlstm --records, everything", len(found)),
        ("of it beside the records: header and index", beside),
    ):
        print(f"| {name} | {size:,} | {size / len(lines):.2f} | {size / zstd_bytes:.3f} |")


if __name__ == "__main__":
    main()

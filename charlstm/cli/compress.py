"""`charlstm compress`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import writing
from charlstm.cli.options import HELP, common
from charlstm.errors import CharLSTMError, UsageError
from charlstm.network import blas

if TYPE_CHECKING:
    from charlstm.compress.archive import Compressed
    from charlstm.compress.predict import Coding

_COMPARED = 1 << 22  # bytes up to which others are tried for comparison: longer ones would take their own time


@click.command("compress", context_settings=HELP, short_help="Make a text shorter with a model.")
@click.argument("file", required=False)
@click.option("--model", metavar="MODEL", help="A run, a checkpoint or a shared model.  [default: the newest run]")
@click.option("-o", "--output", metavar="FILE", help="Where to write; - for standard output.  [default: FILE.clz]")
@click.option("-f", "--force", is_flag=True, help="Overwrite a file.")
@click.option("--no-learn", is_flag=True, help="Do not learn from the text as it goes: somewhat faster, and longer.")
@click.option("--records", is_flag=True, help="Code each line alone, so that any one can be read without the others.")
@click.option(
    "--base64", "as_base64", is_flag=True, help="Write text: for each line of FILE one that can be read alone."
)
@click.option("--no-verify", is_flag=True, help="Do not read the result back before it is put in place.")
@click.option("--write-model", metavar="FILE", help="Write the model as two parties share it; FILE may be left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about the result.")
@common
def compress(
    file: str | None,
    model: str | None,
    output: str | None,
    force: bool,
    no_learn: bool,
    records: bool,
    as_base64: bool,
    no_verify: bool,
    write_model: str | None,
    as_json: bool,
) -> None:
    """Compress a text with a model that predicts it; every machine with the same model reads it again.

    FILE is kept; it may be - for standard input. The model has to be there when the text is read again: its name is in
    the result, and --write-model writes it in the form that is shared.
    """
    lines = records or as_base64
    if no_learn and lines:
        raise UsageError("--no-learn: with --records or --base64 nothing is learnt; leave the option out")
    if records and as_base64:
        raise UsageError("--records and --base64 exclude each other: give one of them")
    if file is None and (write_model is None or output is not None or no_learn or lines or no_verify or as_json):
        raise UsageError("FILE is missing: name a text, or - for standard input")
    target = None
    if file is not None:
        by_default = writing.STDOUT if file == writing.STDOUT or as_base64 else file + writing.SUFFIX
        target = writing.target(file, output, by_default, force=force, text=as_base64)
        if as_json and target == writing.STDOUT:
            raise UsageError("--json and the result would share standard output: name a file with --output")
    if write_model is not None:
        writing.target(model or "", write_model, "", force=force)

    blas.load_numpy()
    from charlstm.compress import models

    began = time.monotonic()
    data = None if file is None or target is None else writing.read(file)
    coding = models.opened(model)
    if write_model is not None:
        models.write(Path(write_model), coding)
        writing.tell(f"{write_model}: the model {coding.name!r} (id {coding.id.hex()}), {_size(coding)}")
    if file is None or target is None or data is None:
        return
    if as_base64:
        _write_lines(data, coding, target, verify=not no_verify)
        return
    found = _compressed(data, coding, file, learning=not no_learn, records=records, verify=not no_verify)
    writing.write(target, found.data)
    _report(data, found, coding, target, time.monotonic() - began, as_json=as_json)


def _compressed(
    data: bytes, coding: "Coding", name: str, *, learning: bool, records: bool, verify: bool
) -> "Compressed":
    """Return the container of a text, which was read back if that is wanted."""
    from charlstm.compress import archive, container

    with writing.progress("compressing", len(data) * (1 + verify)) as watch:
        if records:
            found = archive.compress_records(data, coding, watch)
        else:
            found = archive.compress(data, coding, learning=learning, watch=watch)
        if verify and archive.decompress(container.parsed(found.data, name), lambda _: coding, name, watch) != data:
            raise _unverified(name)
    return found


def _write_lines(data: bytes, coding: "Coding", target: str, *, verify: bool) -> None:
    """Write a line of base64 for each line of a text."""
    from charlstm.compress import archive

    with writing.progress("compressing", len(data) * (1 + verify)) as watch:
        lines = archive.lines_of(data, coding, watch)
        wanted = data if data.endswith(b"\n") or not data else data + b"\n"
        if verify and archive.text_of_lines(lines, coding, "the result", watch) != wanted:
            raise _unverified("the result")
    writing.write(target, "".join(f"{line}\n" for line in lines).encode("ascii"), text=True)


def _unverified(name: str) -> CharLSTMError:
    return CharLSTMError(f"{name}: what was compressed cannot be read back; nothing was written: report it as a bug")


def _size(coding: "Coding") -> str:
    return f"{coding.size / 1e6:.2f} MB"


def _report(data: bytes, found: "Compressed", coding: "Coding", target: str, seconds: float, *, as_json: bool) -> None:
    """Say what came of it, and what it costs."""
    from charlstm.compress.container import MODEL
    from charlstm.measure import baselines
    from charlstm.show.terminal import Output

    characters = len(data.decode("utf-8", "surrogateescape"))
    bits = 8 * len(found.data) / characters if characters else None
    others = baselines.sizes(data) if len(data) <= _COMPARED else {}
    writer = found.container.writer
    used = writer is not None and any(block.method == MODEL for block in found.container.blocks)
    if as_json:
        row: dict[str, Any] = {
            "output": target,
            "bytes": len(data),
            "characters": characters,
            "compressed": len(found.data),
            "bits_per_character": bits,
            "xz": others.get("xz"),
            "ppm": others.get("PPM"),
            "model": coding.name if used else None,
            "model_id": coding.id.hex() if used else None,
            "model_bytes": coding.size if used else None,
            "learning": writer.learning if writer is not None else None,
            "seconds": seconds,
        }
        Output().json(row)
        return
    told = [] if bits is None else [f"{bits:.3f} bits per character"]
    compared = ", ".join(f"{name} {size:,}" for name, size in others.items())
    figures = "; ".join(filter(None, (*told, compared)))
    needs = (
        f"Needs the model {coding.name!r} ({_size(coding)}) to be read again."
        if used
        else "No model made it shorter: none is needed to read it again."
    )
    writing.tell(f"{len(data):,} -> {len(found.data):,} bytes{f' ({figures})' if figures else ''}. {needs}")

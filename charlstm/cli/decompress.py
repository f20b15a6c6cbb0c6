"""`charlstm decompress`."""

import click

from charlstm.cli import writing
from charlstm.cli.options import HELP, common
from charlstm.errors import UsageError
from charlstm.network import blas


@click.command("decompress", context_settings=HELP, short_help="Read again what `compress` wrote.")
@click.argument("file")
@click.option("--model", metavar="MODEL", help="A run, a checkpoint or a shared model.  [default: by the name in FILE]")
@click.option("-o", "--output", metavar="FILE", help="Where to write; - for standard output.  [default: without .clz]")
@click.option("-f", "--force", is_flag=True, help="Overwrite a file.")
@click.option("--record", type=click.IntRange(min=1), metavar="N", help="Print the Nth line alone (--records).")
@click.option("--base64", "as_base64", is_flag=True, help="FILE has lines that `compress --base64` wrote.")
@common
def decompress(
    file: str, model: str | None, output: str | None, force: bool, record: int | None, as_base64: bool
) -> None:
    """Read again what `charlstm compress` wrote, with the model that it was written with.

    FILE is kept; it may be - for standard input. The result is checked before it is put in place.
    """
    if as_base64 and record is not None:
        raise UsageError("--record is for FILE.clz: a line of base64 can be cut out by any program; leave it out")
    printed = file == writing.STDOUT or as_base64 or record is not None
    by_default = file.removesuffix(writing.SUFFIX)
    if not printed and output is None and by_default in {file, ""}:
        raise UsageError(f"{file}: no name that ends in {writing.SUFFIX}; say where to write with --output")
    target = writing.target(file, output, writing.STDOUT if printed else by_default, force=force, text=True)
    if as_base64:
        blas.load_numpy()
        from charlstm.compress import archive, models

        lines = writing.read(file).decode("ascii", "replace").splitlines()
        coding = models.opened(model)
        with writing.progress("reading", sum(map(len, lines)) * 3) as watch:
            data = archive.text_of_lines(lines, coding, file, watch)
        writing.write(target, data, text=True)
        return
    writing.write(target, _read(file, model, record), text=True)


def _read(file: str, model: str | None, record: int | None) -> bytes:
    """Return what is in a container, or one of its records with its end."""
    blas.load_numpy()
    from charlstm.compress import archive, container, models

    held = container.parsed(writing.read(file, container.MAGIC), file)
    find = models.finder(model)
    if record is not None:
        return archive.records(held, find, file, record)[0] + b"\n"
    with writing.progress("reading", held.size) as watch:
        return archive.decompress(held, find, file, watch)

"""`charlstm cache`."""

import click

from charlstm.cli.options import HELP, cached, common, open_cache


@click.command(context_settings=HELP, short_help="List the prepared corpora, or remove them.")
@click.option("--clear", is_flag=True, help="Remove all of them; what is needed later is prepared again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per corpus.")
@cached
@common
def cache(root: str | None, clear: bool, as_json: bool) -> None:
    """List the corpora that were prepared for training and evaluation, or remove them.

    A text is read, encoded and split once, and kept in this folder. It is identified by its content, so a changed file
    is never mistaken for the old one. If a new corpus makes the folder larger than --cache-limit, the least recently
    used corpora are removed.
    """
    from charlstm.show import terminal as console

    place = open_cache(root)
    if clear:
        console.plain(f"{place.root}: {_megabytes(place.clear())} removed")
        return
    entries = list(place.entries())
    if as_json:
        for entry in entries:
            summary = entry.summary
            row = {name: summary[name] for name in ("paths", "sha256", "characters", "tokenizer")}
            console.Output().json(row | {"folder": str(entry.folder), "bytes": entry.size})
        return
    if not entries:
        console.plain(f"{place.root}: no corpus in it")
        return
    rows = [
        (
            _megabytes(entry.size),
            f"{' '.join(entry.summary['paths'])}, {entry.summary['characters']:,} characters",
        )
        for entry in entries
    ]
    total = f"{_megabytes(sum(entry.size for entry in entries))} of at most {_megabytes(place.limit)}"
    console.table([("folder", str(place.root)), *rows, ("total", total)], result=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

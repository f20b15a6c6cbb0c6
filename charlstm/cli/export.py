"""`charlstm export`."""

import click

from charlstm.cli import writing
from charlstm.cli.options import HELP, common
from charlstm.network import blas


@click.group("export", context_settings=HELP, short_help="Write a model in other forms.")
def export() -> None:
    """Write a model in a form that works without charlstm."""


@export.command("page", context_settings=HELP, short_help="Write a model as one HTML file.")
@click.argument("checkpoint", required=False)
@click.option("-o", "--output", metavar="FILE", help="Where to write; - for standard output.  [default: RUN.html]")
@click.option("-f", "--force", is_flag=True, help="Overwrite a file.")
@common
def page(checkpoint: str | None, output: str | None, force: bool) -> None:
    """Write a model as one HTML file, which writes in any browser and shows its gates as it does.

    CHECKPOINT is a file, or the folder or name of a run; by default, the newest. The page needs no network, no server
    and no charlstm. It computes in integers: the same seed writes what `charlstm sample --exact` writes. No part of the
    training text is in it; `charlstm inspect --html FILE` writes a page with a text.
    """
    blas.load_numpy()
    from charlstm import api
    from charlstm.cli import pages
    from charlstm.compress import models

    loaded = api.load(checkpoint).loaded
    target = writing.target(str(loaded.path), output, f"{models.name_of(loaded.path)}.html", force=force)
    pages.write(target, pages.made(loaded))

"""`charlstm probe`."""

from collections.abc import Sequence
from typing import Any

import click

from charlstm.cli.options import HELP, collect, common, settings
from charlstm.config import CELLS, DeviceConfig, ProbeConfig

_LAGS = (10, 30, 100, 300, 1000)


@click.command("probe", context_settings=HELP, short_help="Show how long each recurrence remembers.")
@click.option(
    "--cell", "cells", type=click.Choice(CELLS), multiple=True, help="Recurrence to try, once or more.  [default: all]"
)
@click.option(
    "--lag",
    "lags",
    type=click.IntRange(1, 100_000),
    metavar="N",
    multiple=True,
    help=f"Characters to remember across, once or more.  [default: {' '.join(map(str, _LAGS))}]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each cell and lag.")
@settings(ProbeConfig)
@common
def probe(cells: Sequence[str], lags: Sequence[int], as_json: bool, **values: Any) -> None:
    """Show how long each recurrence remembers.

    Small networks are trained on delayed recall: one of 8 symbols is shown, as many random characters follow as the lag
    says, then a cue asks for the symbol. The table has the share recalled of fresh sequences, chance, the steps and
    seconds of training, and the norm of the gradient that reaches the state after the symbol, before any training.
    """
    config = collect(ProbeConfig, values)

    from charlstm.measure import probe as probes
    from charlstm.network.device import choose
    from charlstm.show.reports import ProbeView

    choose(DeviceConfig(device="cpu"))
    with ProbeView(as_json=as_json) as view:
        for lag in lags or _LAGS:
            for cell in cells or CELLS:
                for record in probes.probe(cell, lag, config):
                    view.show(record)

"""`charlstm inspect`."""

from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import opening, writing
from charlstm.cli.options import HELP, cached, common, open_cache
from charlstm.cli.passages import Wanted
from charlstm.errors import UsageError
from charlstm.network import blas

if TYPE_CHECKING:
    from charlstm.cli.views import Asked
    from charlstm.storage.loaded import Loaded

_VIEWS = ("overview", "heat_map", "units", "ledger", "back", "cost", "html")
_TAKES = {
    "": {"layer", "unit", "show", "begin", "length", "svg", "text", "encoding"},
    "overview": {"layer", "begin", "length", "svg", "text", "encoding"},
    "heat_map": {"layer", "show", "begin", "length", "svg", "text", "encoding"},
    "units": {"follow", "length", "svg", "html", "text", "encoding"},
    "ledger": {"layer", "unit", "begin", "length", "at", "svg", "text", "encoding"},
    "back": {"begin", "length", "at", "svg", "text", "encoding"},
    "cost": set(),
    "html": {"follow", "length", "text", "encoding"},
}
"""Which options each view uses; any other one would be ignored."""


@click.command("inspect", context_settings=HELP, short_help="Look inside a model as it reads.")
@click.argument("checkpoint", required=False)
@click.argument("text", required=False)
@click.option("--text", "typed", metavar="STRING", default=None, help="Read this, as one document, instead of TEXT.")
@click.option("--layer", type=click.IntRange(1), metavar="L", help="Layer to show, from 1.  [default: 1]")
@click.option(
    "--unit",
    type=click.IntRange(0),
    metavar="U",
    help="Unit to show, from 0.  [default: the one with the longest memory]",
)
@click.option(
    "--show",
    metavar="NAMES",
    help="Signals, such as c,h,f: the first one colours the text, the others are rows below it.  [default: c, or h]",
)
@click.option(
    "--begin",
    type=click.IntRange(0),
    metavar="N",
    help="Characters that are read before the first one shown.  [default: 0]",
)
@click.option(
    "--length",
    type=click.IntRange(1),
    metavar="N",
    help="Characters to read from there.  [default: all of a TEXT; of the model's own, as much as the view needs]",
)
@click.option("--overview", is_flag=True, help="Show how the gates of every layer work, and how long states last.")
@click.option("--heat-map", is_flag=True, help="Show the busiest units of a layer, one below the other.")
@click.option("--units", is_flag=True, help="Search all units for what they follow, such as quotes or columns.")
@click.option(
    "--follow",
    metavar="NAME=REGEX",
    multiple=True,
    help="With --units or --html: also look for units that are active inside what the regular expression matches.",
)
@click.option("--ledger", is_flag=True, help="Show what each character put into the unit, as far as it is still there.")
@click.option("--back", is_flag=True, help="Show which characters the prediction of one of them depended on.")
@click.option(
    "--at",
    type=click.IntRange(0),
    metavar="N",
    help="With --ledger or --back: the character they are about, counted from 0 at the first one shown.  "
    "[default: the last one]",
)
@click.option("--cost", is_flag=True, help="Show what a character costs: multiplications, bytes, time and energy.")
@click.option("--svg", metavar="FILE", help="Also write the picture to this file.")
@click.option(
    "--html", metavar="FILE", help="Write a page with the model, the text and what --units finds in it to this file."
)
@click.option(
    "--encoding", default=None, help="Encoding of TEXT, if the model reads characters.  [default: the training text's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@cached
@common
def inspect(
    checkpoint: str | None,
    text: str | None,
    typed: str | None,
    encoding: str | None,
    as_json: bool,
    root: str | None,
    follow: tuple[str, ...],
    **values: Any,
) -> None:
    """See what single units of a model do as it reads, and what they have learnt.

    CHECKPOINT is a file, the folder or the name of a run; by default the newest. TEXT is a file, a folder, or - for
    standard input; by default the beginning of the held-out part of the text the model was trained on.

    The text is coloured by one unit, after each character was read: blue is -1, red is +1 (gates: white 0, green 1).
    Without colours, a row of digits shows the same. The bars below are the surprise of each character in bits.
    --overview, --heat-map, --units, --ledger, --back and --cost show something else instead, one at a time. --html
    writes a page for a browser instead, or besides with --units.
    """
    given = {name for name, value in values.items() if value is not None and value is not False}
    given |= {name for name, value in {"follow": follow, "encoding": encoding}.items() if value}
    given |= {"text"} if text is not None or typed is not None else set()
    view = _view(given, typed=typed is not None, as_json=as_json)
    if text is not None and typed is not None:
        raise UsageError("TEXT and --text exclude each other: give one of them")
    opening.require_text(text)
    following = _followed(follow)
    writing.require_replaceable("--svg", values["svg"], writing.PICTURE)
    writing.require_replaceable("--html", values["html"], writing.PAGE)

    blas.load_numpy()
    from charlstm import api
    from charlstm.cli import views

    loaded = api.load(checkpoint).loaded
    if view == "cost":
        views.cost(loaded, as_json=as_json)
        return
    asked = views.Asked(
        checkpoint=checkpoint,
        view=view,
        wanted=Wanted(text, typed, encoding, values["begin"] or 0, values["length"]),
        layer=values["layer"],
        unit=values["unit"],
        show=_names(values["show"]),
        at=values["at"],
        follow=following,
        svg=values["svg"],
        html=values["html"],
        as_json=as_json,
    )
    _require(loaded, asked)
    views.SHOWN[view](loaded, asked, open_cache(root))


def _view(given: set[str], *, typed: bool, as_json: bool) -> str:
    """Return the view that was asked for; raises `UsageError` for a second one, and for what would be ignored."""
    asked = [view for view in _VIEWS if view in given]
    if asked == ["units", "html"]:
        asked.remove("html")
    if len(asked) > 1:
        raise UsageError(f"{_option(asked[0])} and {_option(asked[1])} exclude each other: give one of them")
    view = asked[0] if asked else ""
    shown = _option(view) if view else "a coloured passage"
    for name in sorted(given - set(asked) - {view} - _TAKES[view]):
        named = "TEXT" if name == "text" and not typed else _option(name)
        users = [_option(each) for each in _VIEWS if name in _TAKES[each]]
        remedy = f"give it with {' or '.join(users)}, or leave it out" if name not in _TAKES[""] else "leave it out"
        raise UsageError(f"{named}: {shown} does not use it; {remedy}")
    for name in ("svg", "html"):
        if as_json and name in given:
            raise UsageError(f"{_option(name)} and --json exclude each other: give one of them")
    return view


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _names(show: str | None) -> tuple[str, ...]:
    """Return the signals of --show; whether the model has them is checked later."""
    names = tuple(part.strip() for part in (show or "").split(",")) if show is not None else ()
    if "" in names or len(set(names)) < len(names):
        raise UsageError(f"--show {show!r}: give names with commas between them, each once, such as c,h,f")
    return names


def _followed(follow: tuple[str, ...]) -> dict[str, str]:
    """Return the regular expressions of --follow by their names."""
    found: dict[str, str] = {}
    for each in follow:
        name, equals, pattern = each.partition("=")
        if not name.strip() or not equals or not pattern:
            raise UsageError(f"--follow {each!r}: write NAME=REGEX, such as 'year=[0-9]{{4}}'")
        if name in found:
            raise UsageError(f"--follow {each!r}: there is another {name!r}; give each a name of its own")
        found[name] = pattern
    return found


def _require(loaded: "Loaded", asked: "Asked") -> None:
    """Raise `UsageError` if the model has no such layer, unit or signal."""
    from charlstm.measure.inside import signals

    shape = loaded.config.model
    if asked.layer is not None and asked.layer > shape.num_layers:
        told = "the only layer is 1" if shape.num_layers == 1 else f"the layers are 1 to {shape.num_layers}"
        raise UsageError(f"--layer {asked.layer}: {told} in this model; choose one there is")
    if asked.unit is not None and asked.unit >= shape.hidden_size:
        raise UsageError(
            f"--unit {asked.unit}: a layer of this model has the units 0 to {shape.hidden_size - 1}; choose one"
        )
    there = signals.names(shape.cell)
    for name in asked.show:
        if name not in there:
            raise UsageError(
                f"--show {name}: a unit of this model ({shape.cell}) has {', '.join(there)}; choose of these"
            )
    if asked.view == "heat_map" and len(asked.show) > 1:
        raise UsageError("--show: a heat map shows one signal; give one name")

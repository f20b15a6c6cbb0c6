"""Makes the command line's options from the dataclasses in `config.py`."""

import atexit
import dataclasses
import functools
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from charlstm import config
from charlstm.config import CACHE_LIMIT, Settings, duration, field_type, flag
from charlstm.errors import CharLSTMError, InputOutputError, UsageError, os_reason

if TYPE_CHECKING:
    from charlstm.cache import Cache

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
DEBUG = "--debug"
_LIMIT = "charlstm.cache_limit"

Function = TypeVar("Function", bound=Callable[..., Any])
Group = TypeVar("Group", bound=Settings)


def time(value: str | float) -> float:
    """Return seconds; help shows this function's name for the value."""
    return float(value) if isinstance(value, (int, float)) else duration(value)


def size(value: str | int) -> int:
    """Return bytes; help shows this function's name for the value."""
    return value if isinstance(value, int) else config.size(value)


def settings(*groups: type[Settings]) -> Callable[[Function], Function]:
    """Add an option for every field of these settings."""

    def decorate(function: Function) -> Function:
        for group in reversed(groups):
            for field in reversed(dataclasses.fields(group)):
                kind, _ = field_type(group, field.name)
                limits = field.metadata["limits"]
                choices = click.Choice(limits.choices) if limits.choices else None
                function = click.option(
                    f"{flag(field.name)}/--no-{flag(field.name)[2:]}" if kind is bool else flag(field.name),
                    type=time if field.metadata["duration"] else choices or kind,
                    default=_spelled(field),
                    show_default=field.metadata["adapts"] or field.default is not None,
                    help=field.metadata["help"],
                )(function)
        return function

    return decorate


def _spelled(field: "dataclasses.Field[Any]") -> Any:
    """Return a default as a user would write it."""
    return f"{field.default:g}s" if field.metadata["duration"] and field.default is not None else field.default


def collect(group: type[Group], values: dict[str, Any]) -> Group:
    """Build settings from a command's parameters; raises `UsageError` where one is out of its limits."""
    return group(**{field.name: values[field.name] for field in dataclasses.fields(group)})


def cached(function: Function) -> Function:
    """Add the options that name the cache and its limit."""
    decorated = click.option(
        "--cache-limit",
        type=size,
        default=f"{CACHE_LIMIT // 10**9}GB",
        show_default=True,
        envvar="CHARLSTM_CACHE_LIMIT",
        expose_value=False,
        callback=_keep_limit,
        help="Size that prepared corpora may have together; those not used for the longest time are removed first.",
    )(function)
    return click.option(
        "--cache",
        "root",
        metavar="FOLDER",
        envvar="CHARLSTM_CACHE",
        help="Where prepared corpora are kept.  [default: the system's folder for caches]",
    )(decorated)


def _keep_limit(ctx: click.Context, param: click.Parameter, limit: int) -> None:
    """Put the limit where `open_cache` finds it."""
    ctx.meta[_LIMIT] = limit


def open_cache(root: str | None) -> "Cache":
    """Return the cache in this folder, or in the system's; if that cannot be written, one for this process alone."""
    from charlstm.cache import Cache, default_root, writable

    limit = click.get_current_context().meta[_LIMIT]
    if root is not None:
        return Cache(Path(root), limit)
    if writable(default_root()):
        return Cache(default_root(), limit)
    temporary = tempfile.TemporaryDirectory(prefix="charlstm-")
    atexit.register(temporary.cleanup)
    return Cache(Path(temporary.name), limit)


def common(function: Function) -> Function:
    """Add the options that every command has; errors name what can be done with this command's options."""

    @functools.wraps(function)
    def command(*arguments: Any, **values: Any) -> Any:
        try:
            return function(*arguments, **values)
        except CharLSTMError as error:
            parameters = click.get_current_context().command.params
            error.offer({option for each in parameters for option in (*each.opts, *each.secondary_opts)})
            raise

    decorated = click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE.toml",
        help="Take defaults from the file's table of this command's name.",
    )(cast("Function", command))
    return click.option(DEBUG, is_flag=True, expose_value=False, help="Show the traceback of an error.")(decorated)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the file's values the defaults of this command: below flags and variables."""
    if path is None:
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({os_reason(error)}); check the path") from None
    except ValueError as error:  # TOML's errors and those of UTF-8
        raise UsageError(f"{path}: no valid TOML ({error}); mend that line") from None
    commands = ctx.parent.command.commands if ctx.parent and isinstance(ctx.parent.command, click.Group) else {}
    for name, table in tables.items():
        if name not in commands or not isinstance(table, dict):
            raise UsageError(f"{path}: {name!r} is not one of the tables {', '.join(f'[{n}]' for n in commands)}")
        options = commands[name].params
        known = {option.name for option in options if option.expose_value or option.callback is _keep_limit}
        for key in table:
            if key.replace("-", "_") not in known:
                raise UsageError(f"{path}: [{name}] has no option {key!r}; see charlstm {name} --help")
    values = tables.get(ctx.info_name or "", {})
    ctx.default_map = {key.replace("-", "_"): value for key, value in values.items()}

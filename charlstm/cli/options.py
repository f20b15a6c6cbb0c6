"""Makes the command line's options from the dataclasses in `config.py`."""

import atexit
import dataclasses
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from charlstm.config import Settings, duration, field_type, flag
from charlstm.errors import InputOutputError, UsageError, os_reason

if TYPE_CHECKING:
    from charlstm.cache import Cache

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
DEBUG = "--debug"

Function = TypeVar("Function", bound=Callable[..., Any])
Group = TypeVar("Group", bound=Settings)


def time(value: str | float) -> float:
    """Return seconds; help shows this function's name for the value."""
    return float(value) if isinstance(value, (int, float)) else duration(value)


def settings(*groups: type[Settings]) -> Callable[[Function], Function]:
    """Add an option for every field of these settings."""

    def decorate(function: Function) -> Function:
        for group in reversed(groups):
            for field in reversed(dataclasses.fields(group)):
                kind, _ = field_type(group, field.name)
                limits = field.metadata["limits"]
                choices = click.Choice(limits.choices) if limits.choices else None
                function = click.option(
                    flag(field.name),
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
    """Add the option that names the cache."""
    return click.option(
        "--cache",
        "root",
        metavar="FOLDER",
        envvar="CHARLSTM_CACHE",
        help="Where prepared corpora are kept.  [default: the system's folder for caches]",
    )(function)


def open_cache(root: str | None) -> "Cache":
    """Return the cache in this folder, or in the system's; where that cannot be written, one for this process alone."""
    from charlstm.cache import Cache, default_root, writable

    if root is not None:
        return Cache(Path(root))
    if writable(default_root()):
        return Cache(default_root())
    temporary = tempfile.TemporaryDirectory(prefix="charlstm-")
    atexit.register(temporary.cleanup)
    return Cache(Path(temporary.name))


def common(function: Function) -> Function:
    """Add the options that every command has."""
    function = click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE.toml",
        help="Take defaults from the file's table of this command's name.",
    )(function)
    return click.option(DEBUG, is_flag=True, expose_value=False, help="Show the traceback of an error.")(function)


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
        known = {option.name for option in commands[name].params if option.expose_value}
        for key in table:
            if key.replace("-", "_") not in known:
                raise UsageError(f"{path}: [{name}] has no option {key!r}; see charlstm {name} --help")
    values = tables.get(ctx.info_name or "", {})
    ctx.default_map = {key.replace("-", "_"): value for key, value in values.items()}

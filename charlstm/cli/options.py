"""Makes the command line's options from the dataclasses in `config.py`."""

import atexit
import dataclasses
import functools
import json
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from charlstm.cli import memory, origins, tree
from charlstm.cli.kinds import SettingOption, defaults, key, refusal, size, time
from charlstm.config import CACHE_LIMIT, Settings, field_type, flag
from charlstm.errors import CharLSTMError, InputOutputError, OutOfMemoryError, UsageError, os_reason
from charlstm.network import threads

if TYPE_CHECKING:
    from charlstm.text.cache import Cache

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
DEBUG = "--debug"
_LIMIT = "charlstm.cache_limit"
_NOT_IN_A_FILE = {"config", "debug"}
_MOST_CONFIG = 1 << 20  # bytes of a file given with --config
_SHOWN = 60  # characters of a value in an error

Function = TypeVar("Function", bound=Callable[..., Any])
Group = TypeVar("Group", bound=Settings)


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
                    cls=SettingOption,
                    limits=limits,
                    type=time if field.metadata["duration"] else choices or kind,
                    default=_spelled(field),
                    show_default=field.metadata["adapts"] or field.default is not None,
                    help=field.metadata["help"],
                )(function)
        return function

    return decorate


def _spelled(field: "dataclasses.Field[Any]") -> Any:
    """Return a field's default as a user would write it."""
    return f"{field.default:g}s" if field.metadata["duration"] and field.default is not None else field.default


def collect(group: type[Group], values: dict[str, Any]) -> Group:
    """Build settings from a command's parameters; raises `UsageError` if one is out of its limits."""
    return group(**{field.name: values[field.name] for field in dataclasses.fields(group)})


def cached(function: Function) -> Function:
    """Add the options for the cache folder and its size limit."""
    decorated = click.option(
        "--cache-limit",
        type=size,
        default=f"{CACHE_LIMIT // 10**9}GB",
        show_default=True,
        envvar="CHARLSTM_CACHE_LIMIT",
        expose_value=False,
        callback=_keep_limit,
        help="Total size of the prepared corpora to keep; the least recently used are removed first.",
    )(function)
    return click.option(
        "--cache",
        "root",
        metavar="FOLDER",
        envvar="CHARLSTM_CACHE",
        help="Where prepared corpora are kept.  [default: the system's folder for caches]",
    )(decorated)


def _keep_limit(ctx: click.Context, param: click.Parameter, limit: int) -> None:
    """Store the limit for `open_cache`."""
    ctx.meta[_LIMIT] = limit


def open_cache(root: str | None) -> "Cache":
    """Return the cache in this folder, or in the system's; if that is not writable, one for this process alone."""
    from charlstm.text.cache import Cache, default_root, writable

    limit = click.get_current_context().meta[_LIMIT]
    if root is not None:
        return Cache(Path(root), limit)
    if writable(default_root()):
        return Cache(default_root(), limit)
    temporary = tempfile.TemporaryDirectory(prefix="charlstm-")
    atexit.register(temporary.cleanup)
    return Cache(Path(temporary.name), limit)


def common(function: Function) -> Function:
    """Add the options that every command has, and what every command does before it starts and when it fails."""
    decorated = click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE.toml",
        help="Take defaults from the table in the file that has this command's name.",
    )(_guarded(function))
    return click.option(DEBUG, is_flag=True, expose_value=False, help="Show the traceback of an error.")(decorated)


def _guarded(function: Function) -> Function:
    """Make a command's errors say which of its options can help, and where the options that they mention were set."""

    @functools.wraps(function)
    def command(*arguments: Any, **values: Any) -> Any:
        ctx = click.get_current_context()
        try:
            threads.require(values.get("threads"))
            memory.require(ctx.info_name or "")
            return function(*arguments, **values)
        except BaseException as problem:  # safetensors raises its own kind of error, also when memory runs out
            error = problem
            if not isinstance(error, CharLSTMError):
                if not memory.short(error):
                    raise
                error = OutOfMemoryError()
            error.offer({option for each in ctx.command.params for option in (*each.opts, *each.secondary_opts)})
            error.fact += origins.told(ctx, str(error))
            raise error from problem.__cause__ if error is problem else problem

    return cast("Function", command)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the file's values the defaults of this command; flags and variables take precedence.

    The whole file is checked, whichever command reads it.
    """
    if path is None:
        return
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    commands = {name.replace(" ", "."): leaf for name, leaf in tree.leaves(root).items()}
    for name, table in _by_command(_tables(path), root):
        if name not in commands or not isinstance(table, dict):
            raise UsageError(f"{path}: {name!r} is not one of the tables {', '.join(f'[{n}]' for n in commands)}")
        known = {key(parameter): parameter for parameter in commands[name].params}
        values: dict[str, Any] = {}
        for spelled, value in table.items():
            parameter = known.get(spelled.replace("-", "_"))
            if parameter is None:
                raise UsageError(f"{path}: [{name}] has no option {spelled!r}; see charlstm {name} --help")
            if key(parameter) in _NOT_IN_A_FILE:
                raise UsageError(
                    f"{path}: [{name}] {spelled!r} works on the command line only; take it out of the file"
                )
            if parameter.name in values:
                raise UsageError(f"{path}: [{name}] has {spelled!r} twice, with - and with _; take one out")
            if reason := refusal(parameter, value):
                raise UsageError(f"{path}: [{name}] {spelled} = {_toml(value)}: {reason}")
            values[parameter.name or ""] = defaults(parameter, value)
        if name.replace(".", " ") == tree.name_of(ctx):
            ctx.default_map = values
            ctx.meta[origins.FILE] = path


def _by_command(tables: dict[str, Any], root: click.Group) -> Iterator[tuple[str, Any]]:
    """Yield the tables of a file with the names of their commands: those in [export] belong to `export page`."""
    for name, table in tables.items():
        if isinstance(root.commands.get(name), click.Group) and isinstance(table, dict):
            yield from ((f"{name}.{inner}", values) for inner, values in table.items())
        else:
            yield name, table


def _tables(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds; raises `InputOutputError` or `UsageError`."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_CONFIG + 1)
        if len(content) > _MOST_CONFIG:
            raise UsageError(f"{path}: longer than 1 MB; name a file of options")
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({os_reason(error)}); check the path") from None
    except RecursionError:
        raise UsageError(f"{path}: not valid TOML (nested too deep); name a file of options") from None
    except ValueError as error:  # TOML's errors and those of UTF-8
        raise UsageError(f"{path}: not valid TOML ({error}); correct that line") from None


def _toml(value: Any) -> str:
    """Return a value roughly as written in the file, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

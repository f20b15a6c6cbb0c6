"""What an option accepts: on the command line, where values are text, and in a TOML file, where they have types."""

import math
from typing import Any

import click

from charlstm import config
from charlstm.config import Limits
from charlstm.errors import UsageError


def time(value: str | float) -> float:
    """Return seconds; `--help` shows this function's name as the type. Raises `click.BadParameter`."""
    try:
        return float(value) if isinstance(value, (int, float)) else config.duration(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


def size(value: str | int) -> int:
    """Return bytes; `--help` shows this function's name as the type. Raises `click.BadParameter`."""
    try:
        return value if isinstance(value, int) else config.size(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


_WRITTEN: dict[Any, tuple[type, str]] = {
    time: (float, 'must be a number of seconds, or text like "90s", "5m" or "1m30s"'),
    size: (int, 'must be a whole number of bytes, or text like "500MB" or "10GB"'),
}
"""For values with a unit: the type of a number without a unit, and what a TOML file may contain."""


class SettingOption(click.Option):
    """An option made from a field of `config.Settings`."""

    def __init__(self, *args: Any, limits: Limits, **options: Any) -> None:
        """Take the arguments of `click.Option`, and the field's limits."""
        super().__init__(*args, **options)
        self.limits = limits


def key(parameter: click.Parameter) -> str:
    """Return a parameter's name in files and variables: `val` for `--val`, whatever the function calls it."""
    return max(parameter.opts, key=len).lstrip("-").replace("-", "_")


def refusal(parameter: click.Parameter, value: object) -> str | None:
    """Return why a value from a TOML file is refused, or None if it is fine: nothing is rounded, parsed or guessed."""
    if not _repeats(parameter):
        return _refusal(parameter, value)
    values = value if isinstance(value, list) else [value]
    return next((reason for each in values if (reason := _refusal(parameter, each))), None)


def defaults(parameter: click.Parameter, value: Any) -> Any:
    """Return a value from a TOML file as click expects it: for a repeatable option, a single value becomes a list."""
    return [value] if _repeats(parameter) and not isinstance(value, list) else value


def _repeats(parameter: click.Parameter) -> bool:
    return parameter.multiple or parameter.nargs == -1


def _refusal(parameter: click.Parameter, value: object) -> str | None:
    kind = parameter.type
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return None if isinstance(value, bool) else "must be true or false"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    unit = _WRITTEN.get(getattr(kind, "func", None))
    if unit is not None:
        fits, words = isinstance(value, str) or (number if unit[0] is float else whole), unit[1]
    elif isinstance(kind, click.types.IntParamType):
        fits, words = whole, "must be a whole number"
    elif isinstance(kind, click.types.FloatParamType):
        fits, words = number, "must be a number"
    elif isinstance(kind, click.Choice):
        fits, words = isinstance(value, str), f"must be one of {', '.join(map(repr, kind.choices))}"
    else:
        fits, words = isinstance(value, str), "must be text in quotes"
    if not fits:
        return words
    if isinstance(value, str) and "\0" in value:
        return "must not contain a null character, as no flag or variable can"
    try:
        taken = kind.convert(value, parameter, None) if isinstance(value, str) else value
        if isinstance(parameter, SettingOption):
            return parameter.limits.refusal(taken)
        if isinstance(kind, click.IntRange):
            least = -math.inf if kind.min is None else kind.min
            return Limits(at_least=least, at_most=math.inf if kind.max is None else kind.max).refusal(value)
    except click.BadParameter:  # raised for choices and values with a unit
        return words
    return None

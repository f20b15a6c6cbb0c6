"""Where a value comes from if it is not from the command line: a variable, or a file given with --config.

An error that mentions an option says where its value was set, if the user did not type it.
"""

import os
import re

import click
from click.core import ParameterSource

from charlstm.cli import kinds
from charlstm.config import flag

_FLAG = re.compile(r"--[a-z][a-z-]*")
FILE = "charlstm.config"
"""The key in a context's `meta` under which the file given with --config is stored."""


def name_variables(name: str, command: click.Command) -> None:
    """Give each option of a command the variable with its name: CHARLSTM_TRAIN_VAL for --val of train.

    By default, click uses the name of the function's parameter, which users do not know.
    """
    for option in command.params:
        if isinstance(option, click.Option):
            own = f"CHARLSTM_{name.replace(' ', '_')}_{kinds.key(option)}".upper()
            others = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
            option.envvar = [own, *others]


def of(ctx: click.Context, option: click.Parameter) -> str | None:
    """Return the variable or file that an option's value comes from; None for the command line or a default."""
    source = ctx.get_parameter_source(option.name or "")
    if source is ParameterSource.ENVIRONMENT:
        names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        return next((name for name in names if os.environ.get(name)), None)
    return str(ctx.meta[FILE]) if source is ParameterSource.DEFAULT_MAP else None


def told(ctx: click.Context, message: str) -> str:
    """Return the origins of the options that an error message mentions, for appending to the message."""
    options = {flag(kinds.key(option)): option for option in ctx.command.params if isinstance(option, click.Option)}
    names = [name for name in dict.fromkeys(_FLAG.findall(message)) if name in options]
    found = {name: origin for name in names if (origin := of(ctx, options[name]))}
    return "".join(f" ({name} is set by {origin})" for name, origin in found.items())


def named(problem: click.ClickException, message: str) -> str:
    """Return click's message for a bad value, with its origin."""
    if isinstance(problem, click.BadParameter) and problem.ctx and problem.param:
        origin = of(problem.ctx, problem.param)
        return f"{message} ({flag(kinds.key(problem.param))} is set by {origin})" if origin else message
    return message

"""Commands within commands: everything that can be run, by what is typed for it."""

import click


def leaves(group: click.Group) -> dict[str, click.Command]:
    """Return the commands that do something, by their names, such as `train` and `export page`."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": leaf for inner, leaf in leaves(command).items()}
        else:
            found[name] = command
    return found


def name_of(ctx: click.Context) -> str:
    """Return the name by which `leaves` has the command of a context."""
    return ctx.command_path.removeprefix(ctx.find_root().command_path).strip()

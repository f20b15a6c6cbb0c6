"""Words -> a command line that can be pasted into a shell (POSIX: sh, bash, zsh)."""

import os
import shlex


def quoted(word: str) -> str:
    """Return `word` quoted so that a shell reads it as one word, with unprintable characters escaped in `$'...'`."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in "'\\":
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def command(name: str, /, *arguments: str, **options: str | bool | None) -> str:
    """Return a charlstm command line; arguments and options may contain any characters.

    Args:
        name: the command, such as `sample`.
        arguments: placed after `--` if one of them could be taken for an option.
        options: by name, with `_` for `-`; True makes a flag, and None or False leaves the option out.
    """
    words = ["charlstm", name]
    for option, value in options.items():
        if value is None or value is False:
            continue
        spelled = "--" + option.replace("_", "-")
        if value is True:
            words.append(spelled)
        elif value.startswith("-"):
            words.append(f"{spelled}={quoted(value)}")
        else:
            words += [spelled, quoted(value)]
    if any(argument.startswith("-") for argument in arguments):
        words.append("--")
    return " ".join([*words, *map(quoted, arguments)])

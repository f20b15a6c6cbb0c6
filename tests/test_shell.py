"""Printed commands, through a real shell's splitting and back through the command line's own parser."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.cli import cli
from charlstm.shell import command, quoted
from tests.conftest import Command

AWKWARD = ["-x", "--help", " sp ace ", "it's", "$HOME", "`id`", "a;b", "a&b", "~", "*", "#a", "!!", "\\", "", "\u00e9"]
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def parsed(line: str) -> dict[str, object]:
    """Return what the command in a line is given."""
    program, name, *arguments = shlex.split(line)
    assert program == "charlstm"
    with click.Context(cli) as parent:
        return cli.commands[name].make_context(name, arguments, parent=parent).params


@pytest.mark.parametrize("word", AWKWARD)
def test_a_command_gives_its_words_back(word: str) -> None:
    assert parsed(command("sample", word, prompt=word))["checkpoint"] == word
    assert parsed(command("sample", word, prompt=word))["prompt"] == word
    given = parsed(command("train", resume=True, name=word, checkpoints=word, force=False, val=None))
    assert (given["resume"], given["name"], str(given["runs_root"])) == (True, word, str(Path(word)))
    assert parsed(command("train", "a.txt", word))["paths"] == ("a.txt", word)


def test_plain_words_stay_plain() -> None:
    assert command("sample", "corpus") == "charlstm sample corpus"
    assert (
        command("train", resume=True, name="corpus", time="10m") == "charlstm train --resume --name corpus --time 10m"
    )
    assert command("sample", "-x") == "charlstm sample -- -x"


@given(words)
def test_printable_words_are_what_shlex_reads(word: str) -> None:
    assert quoted(word).isprintable()
    if word.isprintable():
        assert shlex.split(quoted(word)) == [word]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_reads_every_word() -> None:
    odd = [*AWKWARD, "a\nb", "\x1b[31m'\\n", "tab\t1", "caf\udce9", "\u202egnp.exe", "\x01f"]
    line = "printf '%s\\0' " + " ".join(map(quoted, odd))
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == odd


@pytest.mark.parametrize("name", ["-x", " sp ace ", "it's"])
def test_a_run_of_any_name_can_be_sampled(charlstm: Command, trained: Path, name: str) -> None:
    shutil.copytree(trained, Path("checkpoints") / name)
    done = charlstm(*shlex.split(command("sample", name, length="5", seed="1"))[1:])
    assert (done.code, len(done.out.removesuffix("\n"))) in {(0, 5), (0, 4)}, done.err

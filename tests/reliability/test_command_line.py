"""Whatever is typed: a documented exit code, and one line of error."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.cli import cli, run
from charlstm.cli.tree import leaves
from tests.reliability.conftest import times

pytestmark = pytest.mark.slow

CONTROLS = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e", "\u2066"}
OPTIONS = sorted(
    {
        (name, option.opts[0])
        for name, command in leaves(cli).items()
        for option in command.params
        # These may last, wait for someone, or delete something.
        if option.opts[0].startswith("--") and option.opts[0] not in {"--interactive", "--clear", "--debug"}
    }
)
NOTHING = {"probe": ["--seed=-1"], "cache": ["--cache-limit=nothing"]}
Refused = Callable[..., str]
values = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["0", "-1", "nan", "inf", "1e400", "9" * 400, "\x1b[2J", "-", "--", "/", "/dev/null", "5m", "\udcff"]
    ),
)


calmly = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=times(200, 5_000)
)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that comes to nothing, and return its line of error, which is like all of them."""
    monkeypatch.chdir(tmp_path)

    def command(name: str, *arguments: str) -> str:
        capsys.readouterr()
        # Whatever the value is, the file is not there, or the last option is wrong: nothing more is done than to look.
        code = run([*name.split(), *arguments, *NOTHING.get(name, ["nothing-of-this-name"])])
        _, err = capsys.readouterr()
        assert code in {2, 65, 74}, (code, err)
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        assert "this is a bug" not in err
        assert not set(err[:-1]) & CONTROLS, err
        return err

    return command


@calmly
@given(st.sampled_from(OPTIONS), values)
def test_any_value_of_any_option(refused: Refused, option: tuple[str, str], value: str) -> None:
    command, name = option
    refused(command, f"{name}={value}")


@calmly
@given(st.sampled_from(OPTIONS), values)
def test_any_value_of_any_variable(refused: Refused, option: tuple[str, str], value: str) -> None:
    command, name = option
    variable = f"CHARLSTM_{command}_{name[2:]}".upper().translate(str.maketrans("- ", "__"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(variable, value)
        refused(command)


def toml(value: object) -> str:
    """Write a value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(each)}' for key, each in value.items())}}}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.one_of(
    st.booleans(), st.integers(), st.floats(), words, st.sampled_from(["90s", "5m", "10GB", "cpu", "lstm"])
)
tomls = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=2))


@calmly
@given(st.sampled_from(OPTIONS), tomls)
def test_any_value_in_a_file(refused: Refused, option: tuple[str, str], value: object) -> None:
    command, name = option
    Path("c.toml").write_text(
        f"[{command.replace(' ', '.')}]\n{name[2:]} = {toml(value)}\n", encoding="utf-8", newline=""
    )
    err = refused(command, "--config=c.toml")
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(it, (list, dict)) for it in value)):
        assert err.startswith("error: c.toml: ")


@calmly
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))))
def test_any_file(refused: Refused, content: bytes) -> None:
    Path("c.toml").write_bytes(content)
    refused("sample", "--config=c.toml")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4))
def test_any_words_at_all(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    if words[0] in cli.commands or words[0].startswith("-"):
        return
    capsys.readouterr()
    assert run(words) == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1

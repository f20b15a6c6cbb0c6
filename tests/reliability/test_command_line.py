"""Whatever is typed: a documented exit code, and one line of error."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.cli import cli, run

pytestmark = pytest.mark.slow

CONTROLS = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e", "\u2066"}
OPTIONS = sorted(
    {
        (name, option.opts[0])
        for name, command in cli.commands.items()
        for option in command.params
        # These may last, wait for someone, or delete something.
        if option.opts[0].startswith("--") and option.opts[0] not in {"--interactive", "--clear", "--debug"}
    }
)
values = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["0", "-1", "nan", "inf", "1e400", "9" * 400, "\x1b[2J", "-", "--", "/", "/dev/null", "5m", "\udcff"]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(st.sampled_from(OPTIONS), values)
def test_any_value_of_any_option(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, str],
    value: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    command, name = option
    # Whatever the value is, the file is not there: no command does more than look at what was typed.
    positional = [] if command in {"cache", "probe"} else ["nothing-of-this-name"]
    if command in {"cache", "probe"}:
        name = f"--no-such-{name[2:]}"
    capsys.readouterr()
    code = run([command, *positional, f"{name}={value}"])
    _, err = capsys.readouterr()
    assert code in {2, 65, 74}, (code, err)
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "bug" not in err
    assert not set(err[:-1]) & CONTROLS, err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4))
def test_any_words_at_all(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    if words[0] in cli.commands or words[0].startswith("-"):
        return
    capsys.readouterr()
    assert run(words) == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1

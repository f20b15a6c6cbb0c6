"""Where values come from: flags, variables and files of options, each as strict as the others, and named in errors."""

import datetime
import json
from pathlib import Path

import click
import pytest

from charlstm.cli import cli
from charlstm.cli.kinds import key, refusal
from charlstm.cli.tree import leaves
from tests.conftest import Command


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    return err.removeprefix("error: ").rstrip("\n")


def parameters(command: str) -> dict[str, click.Parameter]:
    return {key(parameter): parameter for parameter in leaves(cli)[command].params}


WRONG = [
    ("[train]\nhidden_size = [1]", "[train] hidden_size = [1]: must be a whole number"),
    ("[train]\nhidden-size = 64.5", "[train] hidden-size = 64.5: must be a whole number"),
    ("[train]\nhidden-size = 64.0", "[train] hidden-size = 64.0: must be a whole number"),
    ("[train]\nhidden_size = true", "[train] hidden_size = true: must be a whole number"),
    ('[train]\nhidden-size = "64"', '[train] hidden-size = "64": must be a whole number'),
    ("[train]\nhidden-size = 0", "[train] hidden-size = 0: must be at least 1"),
    ("[train]\nhidden-size = {a = 1}", '[train] hidden-size = {"a": 1}: must be a whole number'),
    (f"[train]\nhidden-size = 1{'0' * 99}", f"[train] hidden-size = 1{'0' * 59}...: must be at most 65536"),
    ("[train]\nbatch-size = 9999999", "[train] batch-size = 9999999: must be at most 1048576"),
    ("[train]\ndropout = true", "[train] dropout = true: must be a number"),
    ("[train]\ndropout = nan", "[train] dropout = NaN: must be a finite number"),
    ("[train]\ndropout = 1", "[train] dropout = 1: must be below 1"),
    ("[train]\nthreads = 100000", "[train] threads = 100000: must be at most 1024"),
    ("[train]\nseed = 9223372036854775808", "seed = 9223372036854775808: must be below 9223372036854775808"),
    ('[train]\nforce = "yes"', '[train] force = "yes": must be true or false'),
    ("[train]\nforce = 1", "[train] force = 1: must be true or false"),
    ("[train]\nname = 5", "[train] name = 5: must be text in quotes"),
    ("[train]\nname = ['a']", '[train] name = ["a"]: must be text in quotes'),
    ("[train]\nval = [1]", "[train] val = [1]: must be text in quotes"),
    ("[train]\nval = [['a']]", '[train] val = [["a"]]: must be text in quotes'),
    ("[train]\ncheckpoints = 3", "[train] checkpoints = 3: must be text in quotes"),
    ("[train]\npaths = 3", "[train] paths = 3: must be text in quotes"),
    ('[train]\npaths = ["a\\u0000"]', "must not contain a null character"),
    ("[train]\ntime = true", "must be a number of seconds, or text like"),
    ("[train]\ntime = 1979-05-27", 'time = "1979-05-27": must be a number of seconds, or text like'),
    ('[train]\ntime = "soon"', 'time = "soon": must be a number of seconds, or text like'),
    ("[train]\ntime = 0", "[train] time = 0: must be above 0"),
    ('[train]\ntime = "0s"', '[train] time = "0s": must be above 0'),
    ('[train]\ndevice = "tpu"', "[train] device = \"tpu\": must be one of 'auto', 'cpu', 'cuda', 'mps'"),
    ("[train]\ndevice = 1", "[train] device = 1: must be one of 'auto'"),
    ('[eval]\nsplit = "some"', "split = \"some\": must be one of 'all', 'train', 'val'"),
    ("[eval]\nevery = 0", "[eval] every = 0: must be at least 1"),
    ("[eval]\nevery = 1025", "[eval] every = 1025: must be at most 1024"),
    ("[eval]\ncold = 1.5", "[eval] cold = 1.5: must be a whole number"),
    ('[probe]\ncell = ["lstm", "x"]', "[probe] cell = [\"lstm\", \"x\"]: must be one of 'lstm', 'peephole'"),
    ("[probe]\nlag = [10, 0]", "[probe] lag = [10, 0]: must be at least 1"),
    ("[probe]\nlag = true", "[probe] lag = true: must be a whole number"),
    ("[sample]\nlength = 5\n[train]\nseed = 'x'", '[train] seed = "x": must be a whole number'),
    ("[train]\nhidden-size = 8\nhidden_size = 9", "[train] has 'hidden_size' twice"),
    ("[train]\nas_json = true", "[train] has no option 'as_json'"),
    ("[train]\nhelp = true", "[train] has no option 'help'"),
    ("[train]\nconfig = 'x.toml'", "[train] 'config' works on the command line only"),
    ("[train]\ndebug = true", "[train] 'debug' works on the command line only"),
    ("[train.more]\nx = 1", "[train] has no option 'more'"),
    ("[trian]\nx = 1", "'trian' is not one of the tables [train], [sample], [eval]"),
    ("train = 1", "'train' is not one of the tables"),
    ("[export.page]\nforce = 1", "[export.page] force = 1: must be true or false"),
    ("[export]\nforce = true", "'export.force' is not one of the tables [train], [sample], [eval]"),
    ("[export.poster]\nforce = true", "'export.poster' is not one of the tables [train], [sample], [eval]"),
    ("export = 1", "'export' is not one of the tables"),
    ("a = " + "[" * 100_000, "not valid TOML"),
    ("\x00", "not valid TOML"),
    ("a = 1 # " + "x" * 2_000_000, "longer than 1 MB"),
]


@pytest.mark.parametrize(("toml", "words"), WRONG, ids=range(len(WRONG)))
def test_a_value_of_a_wrong_type_in_a_file(charlstm: Command, toml: str, words: str) -> None:
    Path("c.toml").write_text(toml)
    refused = charlstm("train", "nothing.txt", "--config=c.toml")
    assert refused.code == 2
    message = one_line(refused.err)
    assert message.startswith("c.toml: ")
    assert words in message


@pytest.mark.parametrize("command", sorted(leaves(cli)))
def test_no_option_takes_a_value_of_another_type(command: str) -> None:
    values = (True, 1, 1.5, "\x01", [[]], {}, datetime.time(12))
    kinds = ({bool}, {int}, {int, float}, {str}, set())  # nothing: no choice is \x01, and neither is a duration
    for name, parameter in parameters(command).items():
        taken = {type(value) for value in values if refusal(parameter, value) is None}
        assert taken in kinds, name
        listed = {type(value) for value in values if refusal(parameter, [value]) is None}
        assert listed == (taken if parameter.multiple or parameter.nargs == -1 else set()), name


def test_what_a_file_sets(charlstm: Command, trained: Path) -> None:
    def sampled(toml: str) -> dict[str, object]:
        Path("c.toml").write_text(toml, encoding="utf-8-sig")
        outcome = charlstm("sample", trained, "--config", "c.toml")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out.splitlines()[0])

    assert sampled("[sample]\r\njson = true\r\nlength = 7\r\nseed = 1")["characters"] == 7
    assert sampled('[sample]\njson = true\nstop = "e"\nseed = 1')["stopped"] == "stop"  # one alone
    assert sampled('[sample]\njson = true\nstop = ["q", "e"]\nseed = 1')["stopped"] == "stop"
    assert sampled("[sample]\njson = true\ntemperature = 1\nseed = 1\n[train]\ntime = 90")["seed"] == 1


NONSENSE = [
    ("CHARLSTM_TRAIN_HIDDEN_SIZE", "abc", 2),
    ("CHARLSTM_TRAIN_HIDDEN_SIZE", "0", 2),
    ("CHARLSTM_TRAIN_HIDDEN_SIZE", "64.5", 2),
    ("CHARLSTM_TRAIN_TIME", "soon", 2),
    ("CHARLSTM_TRAIN_DROPOUT", "nan", 2),
    ("CHARLSTM_TRAIN_FORCE", "maybe", 2),
    ("CHARLSTM_TRAIN_DEVICE", "tpu", 2),
    ("CHARLSTM_TRAIN_NAME", "a/b", 2),
    ("CHARLSTM_TRAIN_THREADS", "100000", 2),
    ("CHARLSTM_TRAIN_SEED", "-1", 2),
]


@pytest.mark.parametrize(("name", "value", "code"), NONSENSE)
def test_nonsense_in_a_variable_is_told_with_its_name(
    charlstm: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: int
) -> None:
    monkeypatch.setenv(name, value)
    refused = charlstm("train", "nothing.txt")
    assert refused.code == code
    option = "--" + name.removeprefix("CHARLSTM_TRAIN_").lower().replace("_", "-")
    message = one_line(refused.err)
    assert value in message
    assert f"({option} is set by {name})" in message
    assert name not in charlstm("train", "nothing.txt", f"{option}={value}").err  # the flag comes first


def test_a_file_is_named_where_its_value_fails_later(charlstm: Command) -> None:
    Path("c.toml").write_text('[train]\nname = "a/b"\n')
    refused = charlstm("train", "nothing.txt", "--config=c.toml")
    assert one_line(refused.err) == "--name 'a/b': give a plain name, without slashes (--name is set by c.toml)"


def test_every_option_has_the_variable_of_its_name(charlstm: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLSTM_SAMPLE_JSON", "1")
    monkeypatch.setenv("CHARLSTM_SAMPLE_NUM_SAMPLES", "2")
    monkeypatch.setenv("CHARLSTM_SAMPLE_STOP", "zzz")
    monkeypatch.setenv("CHARLSTM_SAMPLE_LENGTH", "3")
    rows = [json.loads(row) for row in charlstm("sample", "shakespeare").out.splitlines()]
    assert [row["characters"] for row in rows] == [3, 3]
    monkeypatch.setenv("CHARLSTM_TRAIN_CHECKPOINTS", "elsewhere")
    refused = charlstm("train", "nothing.txt", "--resume")
    assert "elsewhere/nothing: no run to resume" in one_line(refused.err)


def test_the_true_limit_of_a_number(charlstm: Command) -> None:
    refused = charlstm("sample", "--seed=9223372036854775808")
    assert one_line(refused.err) == "--seed 9223372036854775808: must be below 9223372036854775808"
    assert charlstm("sample", "nothing", "--seed=9223372036854775807").code == 74
    refused = charlstm("train", "nothing.txt", "--min-count=9223372036854775808")
    assert one_line(refused.err) == "--min-count 9223372036854775808: must be below 9223372036854775808"


def test_too_many_threads(charlstm: Command) -> None:
    refused = charlstm("train", "nothing.txt", "--threads=100000")
    assert (refused.code, one_line(refused.err)) == (2, "--threads 100000: must be at most 1024")

"""`charlstm inspect`: every view, what it refuses, and that no text steers a terminal."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charlstm as api
from charlstm.cli import run
from charlstm.show.characters import columns
from tests.conftest import SMALL, Command, Outcome
from tests.show.test_terminal import Terminal

VIEWS = ["", "--overview", "--heat-map", "--ledger", "--back"]
HOSTILE = "a\tb \x1b[31mred\x1b]0;title\x07 漢字 e\u0301 \u202eright\r\n\u0301end\x9b"


def row(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    assert found.pop("schema") == 1
    return found


def view(name: str) -> list[str]:
    return [name] if name else []


@pytest.fixture(scope="module")
def others(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with other cells and tokenizers, in one folder."""
    root = tmp_path_factory.mktemp("others")
    (root / "lines.txt").write_text(text[:6_000], encoding="utf-8", newline="")
    for name, options in {
        "gru": ["--cell=gru", "--num-layers=2"],
        "rnn": ["--cell=rnn"],
        "byte": ["--cell=coupled", "--tokenizer=byte"],
        "documents": ["--separator=\\n", "--ngrams=3"],
    }.items():
        arguments = [str(root / "lines.txt"), "--checkpoints", str(root), "--name", name, "--steps=3", *SMALL]
        assert run(["train", *arguments, *options]) == 0
    return root


def test_a_passage_of_the_held_out_text(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = charlstm("inspect", trained)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "Layer 1 of 1, 48 units, along 256 characters:"
    assert max(map(len, lines)) <= 60
    assert len("".join(line[5:] for line in lines if line.startswith("bits "))) == 600
    assert len("".join(line[5:] for line in lines if line.startswith("c "))) == 600
    (unit,) = re.findall(r"^Unit (\d+) of layer 1", done.out, re.MULTILINE)
    same = charlstm("inspect", trained, "--unit", unit, "--show=c")
    assert same.out.splitlines()[-10:] == lines[-10:]


def test_the_numbers_are_those_of_the_model(charlstm: Command, trained: Path, text: str) -> None:
    read, model = text[:700], api.load(trained)
    Path("other.txt").write_text(read, encoding="utf-8", newline="")
    found = row(charlstm("inspect", trained, "other.txt", "--unit=3", "--show=f,c,h", "--begin=300", "--json"))
    assert found["text"] == read[300:]
    assert (found["characters"], found["unknown"]) == (400, 0)
    assert found["surprise"] == pytest.approx(model.surprise(read)[300:], abs=1e-5)
    traced = list(model.trace(read))[300:]
    assert [(it["layer"], it["unit"], it["name"]) for it in found["signals"]] == [(1, 3, name) for name in "fch"]
    for signal, wanted in zip(
        found["signals"],
        (
            [at.layers[0].gates["f"][3] for at in traced],
            [at.layers[0].c[3] for at in traced],
            [at.layers[0].h[3] for at in traced],
        ),
        strict=True,
    ):
        assert np.array_equal(np.array(signal["values"], np.float32), np.array(wanted, np.float32))
    typed = row(charlstm("inspect", trained, "--text", read, "--unit=3", "--show=f,c,h", "--begin=300", "--json"))
    assert typed == found


def test_rows_of_gates(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = charlstm("inspect", trained, "--text", "The value is", "--unit=3", "--show=i,f,o,g,c")
    numbers = row(charlstm("inspect", trained, "--text", "The value is", "--unit=3", "--show=i,f,o,g,c", "--json"))
    for signal in numbers["signals"]:
        values = np.tanh(signal["values"]) if signal["name"] == "c" else np.array(signal["values"])
        share = (values + 1) / 2 if signal["name"] in "gc" else values
        digits = "".join(str(min(9, int(each * 10))) for each in share)
        assert f"\n{signal['name']}    {digits}\n" in done.out
    assert "g, tanh(c): 0 is -1, 9 is +1\ni, f, o: 0 is 0, 9 is 1\n" in done.out


def test_the_heat_map_has_the_units_that_vary_most(charlstm: Command, trained: Path) -> None:
    found = row(charlstm("inspect", trained, "--heat-map", "--show=h", "--json"))
    assert len(found["signals"]) == 16
    spread = [np.var(signal["values"]) for signal in found["signals"]]
    assert spread == sorted(spread, reverse=True)
    first = found["signals"][0]["unit"]
    done = charlstm("inspect", trained, "--heat-map", "--show=h")
    assert re.search(rf"^ *{first} \d{{20}}", done.out, re.MULTILINE)


def test_the_overview_has_every_layer(charlstm: Command, others: Path) -> None:
    arguments = ("inspect", others / "gru", others / "lines.txt", "--overview", "--length=1500", "--json")
    found = row(charlstm(*arguments))
    assert [layer["layer"] for layer in found["layers"]] == [1, 2]
    assert [gate["gate"] for gate in found["layers"][0]["saturation"]] == ["r", "z", "n"]
    assert [kept["characters"] for kept in found["layers"][0]["kept"]] == [1, 10, 100, 1000]
    one = row(charlstm(*arguments, "--layer=2"))
    assert one["layers"] == found["layers"][1:]
    assert "No gates" in charlstm("inspect", others / "rnn", "--overview", others / "lines.txt").out


@pytest.mark.parametrize("name", ["gru", "byte", "documents"])
def test_ledgers_add_up(charlstm: Command, others: Path, name: str) -> None:
    read = "word — and so on, é 漢 and more"
    found = row(charlstm("inspect", others / name, "--text", read, "--ledger", "--unit=5", "--begin=3", "--json"))
    assert found["signal"] == ("h" if name == "gru" else "c")
    assert len(found["shares"]) == len(found["text"]) == len(read) - 3
    assert found["carried"] + sum(found["shares"]) == pytest.approx(found["value"], abs=1e-5)
    unit = row(charlstm("inspect", others / name, "--text", read, "--unit=5", "--begin=3", "--json"))
    assert unit["signals"][0]["values"][-1] == pytest.approx(found["value"], abs=1e-6)


def test_the_ledger_ends_where_it_is_asked_to(charlstm: Command, trained: Path) -> None:
    found = row(charlstm("inspect", trained, "--ledger", "--unit=2", "--at=40", "--json"))
    assert (found["at"], len(found["shares"]), len(found["text"])) == (40, 41, 41)
    shown = charlstm("inspect", trained, "--ledger", "--unit=2", "--at=40").out
    assert f"  sum, which is c after {found['text'][-1]}" in shown.replace("␣", " ")


@pytest.mark.parametrize("name", ["gru", "byte", "documents", "rnn"])
def test_the_look_back_goes_by_characters(charlstm: Command, others: Path, name: str) -> None:
    read = "word — and so on, é 漢 and more"
    found = row(charlstm("inspect", others / name, "--text", read, "--back", "--begin=3", "--at=17", "--json"))
    assert found["at"] == 17
    assert found["first"] == -3
    assert len(found["sizes"]) == 20
    assert found["text"] == (read[:21] if name == "byte" else found["text"])
    assert charlstm("inspect", others / name, "--text", read, "--back").code == 0


def test_the_look_back_is_the_gradient(charlstm: Command, trained: Path) -> None:
    found = row(charlstm("inspect", trained, "--text", "The value of the object", "--back", "--json"))
    bits = api.load(trained).surprise("The value of the object")[-1]
    assert -found["log_probability"] / np.log(2) == pytest.approx(bits, abs=1e-4)
    assert found["sizes"][-1] > 0


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("width", ["20", "30", "60"])
def test_no_text_steers_a_terminal(
    charlstm: Command, trained: Path, others: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    for model in (trained, others / "byte"):
        done = charlstm("inspect", model, "--text", HOSTILE, *view(name))
        assert done.code == 0, done.err
        for said in (done.out, done.err):
            assert not set(said) & {"\x1b", "\x07", "\x9b", "\u202e", "\r", "\t"}


@pytest.mark.parametrize("name", VIEWS)
def test_no_text_steers_a_terminal_with_colours(
    charlstm: Command, others: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for variable, value in {"TERM": "xterm", "COLORTERM": "truecolor", "COLUMNS": "60"}.items():
        monkeypatch.setenv(variable, value)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert run(["inspect", str(others / "byte"), "--text", HOSTILE, *view(name)]) == 0
    assert "\x1b[38;2;" in terminal.getvalue() or name == "--overview"
    assert not set("".join(terminal.lines)) & {"\x1b", "\x07", "\x9b", "\u202e", "\r", "\t"}
    assert max(map(columns, terminal.lines)) <= 60


def test_unknown_characters_are_shown_as_such(charlstm: Command, trained: Path) -> None:
    done = charlstm("inspect", trained, "--text", "one 漢 and\u202e 漢")
    assert "one \N{REPLACEMENT CHARACTER} and\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}" in done.out
    (note,) = [line for line in done.err.splitlines() if line.startswith("note:")]
    assert "3 characters" in note
    assert "'漢' (U+6F22)" in note
    found = row(charlstm("inspect", trained, "--text", "one 漢", "--json"))
    assert (found["text"], found["unknown"]) == ("one 漢", 1)


def test_the_end_of_a_document_is_shown(charlstm: Command, others: Path) -> None:
    Path("two.txt").write_text("one\ntwo\n", encoding="utf-8", newline="")
    done = charlstm("inspect", others / "documents", "two.txt")
    assert "one<end>" in done.out
    found = row(charlstm("inspect", others / "documents", "two.txt", "--unit=1", "--json"))
    assert found["text"] == "one\ntwo\n"
    assert found["signals"][0]["values"][3] == 0  # the state begins anew
    ledger = row(charlstm("inspect", others / "documents", "two.txt", "--ledger", "--json"))
    assert ledger["at"] == 6  # the last character, not the end
    assert ledger["shares"][:4] == [0, 0, 0, 0]


@pytest.mark.slow
def test_a_search_of_the_units(charlstm: Command, trained: Path, text: str) -> None:
    Path("other.txt").write_text(text[50_000:72_000], encoding="utf-8", newline="")
    arguments = ("inspect", trained, "other.txt", "--units", "--follow", r"articles=\b(the|an?)\b")
    found = row(charlstm(*arguments, "--json"))
    assert (found["characters"], found["units"]) == (22_000, 48)
    labels = {each["label"] for each in found["rows"] + found["others"]} | set(found["absent"])
    assert "articles" in labels
    done = charlstm(*arguments)
    assert done.code == 0, done.err
    assert all(each["label"] in done.out for each in found["rows"] + found["others"])
    assert ("None found" in done.out) == (not found["rows"])


@pytest.mark.slow
def test_a_search_of_documents(charlstm: Command, others: Path, text: str) -> None:
    Path("lines.txt").write_text(text[50_000:72_000], encoding="utf-8", newline="")
    arguments = ("inspect", others / "documents", "lines.txt", "--units", "--follow", "spaces= +")
    found = row(charlstm(*arguments, "--json"))
    labels = {each["label"] for each in found["rows"] + found["others"]}
    assert {"spaces", "column"} <= labels


def test_too_little_of_what_is_to_be_followed(charlstm: Command, trained: Path, text: str) -> None:
    Path("other.txt").write_text(text[50_000:72_000] + "Xyzzy", encoding="utf-8", newline="")
    done = charlstm("inspect", trained, "other.txt", "--units", "--follow=magic=Xyzzy")
    assert (done.code, done.out) == (65, "")
    assert done.err.startswith("error: --follow magic: the text has too little of it")


def test_a_picture_in_a_file(charlstm: Command, trained: Path) -> None:
    for name in VIEWS:
        done = charlstm("inspect", trained, "--length=80", *view(name), "--svg=picture.svg")
        assert done.code == 0, done.err
        svg = Path("picture.svg").read_text(encoding="utf-8")
        assert svg.startswith("<svg")
        assert "charlstm" in svg
    Path("link.svg").symlink_to("picture.svg")
    refused = charlstm("inspect", trained, "--length=80", "--svg=link.svg")
    assert (refused.code, refused.out) == (2, "")
    assert charlstm("inspect", trained, "--length=80", "--svg=picture.svg").code == 0  # a picture may be replaced


def test_a_picture_replaces_nothing_but_a_picture(charlstm: Command, trained: Path) -> None:
    Path("mine.txt").write_text("a text of my own")
    checkpoint = next(trained.glob("**/best.safetensors"))
    before = checkpoint.read_bytes()
    for target in ("mine.txt", str(checkpoint)):
        done = charlstm("inspect", trained, "mine.txt", f"--svg={target}")
        assert (done.code, done.out) == (2, "")
        assert "is no picture" in done.err
    assert Path("mine.txt").read_text() == "a text of my own"
    assert checkpoint.read_bytes() == before


def test_what_ends_documents_is_no_part_of_a_gradient(charlstm: Command, others: Path) -> None:
    found = row(charlstm("inspect", others / "documents", "--text=the value", "--back", "--json"))
    assert 0 < max(found["sizes"]) < 10
    nothing = charlstm("inspect", others / "documents", "--text=the value", "--back", "--at=0")
    assert "Nothing comes before it." in nothing.out


def test_a_person_is_told_what_to_type_next(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert charlstm("inspect", trained, "--text=a 'b'").err == ""
    terminal = Terminal()
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", "200")
        patched.setattr("sys.stderr", terminal)
        assert run(["inspect", str(trained), "--text=a 'b'", "--unit=3"]) == 0
    found = [shlex.split(line)[2:] for line in terminal.lines if "charlstm inspect" in line]
    assert len(found) == 3
    assert ["--show", "i,f,g,o,c,h", "--text", "a 'b'", "--unit", "3", str(trained)] in [each[1:] for each in found]
    for arguments in found:
        assert charlstm(*arguments).code == (65 if "--units" in arguments else 0)  # the held-out text is too short


REFUSED = [
    (["--layer=2"], 2, "the only layer is 1"),
    (["--unit=48"], 2, "0 to 47"),
    (["--show=c,q"], 2, "i, f, g, o, c, h"),
    (["--show=c,c"], 2, "each once"),
    (["--heat-map", "--show=c,h"], 2, "one signal"),
    (["--overview", "--ledger"], 2, "exclude each other"),
    (["--units", "--unit=3"], 2, "--units does not use it"),
    (["--units", "--begin=3"], 2, "--units does not use it"),
    (["--begin=" + "9" * 400], 2, "characters"),
    (["--cost", "--text=a"], 2, "--cost does not use it"),
    (["--at=3"], 2, "--ledger or --back"),
    (["--ledger", "--at=600"], 2, "0 to 599"),
    (["--back", "--at=600"], 2, "0 to 599"),
    (["--follow=a=b"], 2, "give it with --units"),
    (["--units", "--follow=a"], 2, "NAME=REGEX"),
    (["--units", "--follow=a=b", "--follow=a=c"], 2, "another 'a'"),
    (["--units", "--follow=a=("], 2, "a"),
    (["--begin=999999"], 2, "characters"),
    (["--text="], 65, "empty"),
    ([""], 2, "TEXT ''"),
    (["no-such.txt"], 74, "no-such.txt"),
    (["other.txt", "--text=a"], 2, "exclude each other"),
    (["--text=abc", "--encoding=utf-8"], 2, "--encoding"),
    (["--json", "--svg=a.svg"], 2, "exclude each other"),
    (["--svg="], 2, "--svg"),
    (["--svg=."], 2, "--svg"),
    (["--svg=no-such-folder/a.svg"], 74, "no-such-folder"),
    (["empty.txt"], 65, "empty"),
    (["--text=short", "--units"], 65, ""),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED, ids=[" ".join(each[0])[:40] for each in REFUSED])
def test_what_is_refused(charlstm: Command, trained: Path, arguments: list[str], code: int, words: str) -> None:
    Path("empty.txt").write_text("")
    done = charlstm("inspect", trained, *arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err


def test_a_window_that_is_too_narrow(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    done = charlstm("inspect", trained)
    assert (done.code, done.out) == (2, "")
    assert "12 columns" in done.err


def test_the_ledger_needs_a_gate_that_keeps(charlstm: Command, others: Path) -> None:
    done = charlstm("inspect", others / "rnn", "--text=abc", "--ledger")
    assert done.code == 2
    assert "rnn" in done.err


@pytest.mark.slow
def test_nothing_loads_torch(trained: Path, text: str, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text[:22_000], encoding="utf-8", newline="")
    commands = [["inspect", str(trained), str(other), "--length=300", *view(name)] for name in VIEWS]
    commands.append(["inspect", str(trained), str(other), "--units"])
    code = f"import sys\nfrom charlstm.cli import run\nassert not any(map(run, {commands!r}))"
    subprocess.run(
        [sys.executable, "-c", code + "\nassert 'torch' not in sys.modules"], check=True, stdout=subprocess.DEVNULL
    )

"""`charlstm export page` and `charlstm inspect --html`: what is written, what is said, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import charlstm as api
from charlstm.cli import run, writing
from charlstm.errors import UsageError
from tests.conftest import SMALL, Command, at_a_terminal


def parts(path: str) -> dict[str, Any]:
    """Return what a page holds as JSON."""
    page = Path(path).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    return {
        name: json.loads(re.findall(f'<script type="application/json" id="{name}">([^<]*)</script>', page)[0])
        for name in ("manifest", "passage")
    }


def test_a_page(charlstm: Command, trained: Path) -> None:
    done = charlstm("export", "page", trained)
    assert (done.code, done.out) == (0, "")
    size = Path("reference.html").stat().st_size
    assert done.err == f"reference.html: {size / 1e6:.2f} MB; open it in a browser: it needs no network\n"
    assert parts("reference.html")["manifest"]["name"] == "reference"
    assert parts("reference.html")["passage"] is None
    before = Path("reference.html").read_bytes()
    again = charlstm("export", "page", trained)
    assert (again.code, Path("reference.html").read_bytes()) == (74, before)
    assert "give --force" in again.err
    assert charlstm("export", "page", trained, "--force").code == 0
    assert charlstm("export", "page", trained, "--output", "other.html").code == 0
    assert Path("other.html").read_bytes() == before == Path("reference.html").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["other.html", "reference.html"]


def test_a_page_in_a_pipe(capfdbinary: pytest.CaptureFixture[bytes], trained: Path) -> None:
    assert run(["export", "page", str(trained), "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"<!doctype html>")
    assert out.endswith(b"</html>\n")
    assert err == b""


def test_no_page_goes_to_a_terminal(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch), pytest.raises(UsageError, match="standard output is a terminal"):
        writing.target(str(trained), "-", "a.html", force=False)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing"], 74, "nothing"),
        (["--output="], 2, "--output"),
        (["-o", "."], 2, "a folder"),
        (["-o", "no/such/folder.html"], 74, "cannot be written"),
        (["-o", "{best}", "-f"], 2, "would replace what is read"),
        (["--json"], 2, "No such option"),
    ],
)
def test_what_is_refused(charlstm: Command, trained: Path, arguments: list[str], code: int, words: str) -> None:
    best = trained / "best.safetensors"
    before = best.read_bytes()
    first = [] if arguments == ["nothing"] else [trained]
    done = charlstm("export", "page", *first, *(each.format(best=best) for each in arguments))
    assert (done.code, done.out) == (code, ""), done.err
    assert words in done.err
    assert done.err.count("\n") == 1
    assert best.read_bytes() == before
    assert list(Path().iterdir()) == []


def test_variables_and_files_of_options(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.toml").write_text("[export.page]\noutput = 'a.html'\nforce = true\n")
    for _ in range(2):
        assert charlstm("export", "page", trained, "--config", "c.toml").code == 0
    monkeypatch.setenv("CHARLSTM_EXPORT_PAGE_OUTPUT", "b.html")
    assert charlstm("export", "page", trained).code == 0
    refused = charlstm("export", "page", trained)
    assert (refused.code, "(--output is set by CHARLSTM_EXPORT_PAGE_OUTPUT)" in refused.err) == (74, True)
    assert sorted(path.name for path in Path().iterdir()) == ["a.html", "b.html", "c.toml"]


def test_a_page_with_a_text(charlstm: Command, trained: Path) -> None:
    done = charlstm("inspect", trained, "--text", "The value of é\u2028</script> it", "--html=a.html")
    assert (done.code, done.out) == (0, "")
    searched, copied, written = done.err.splitlines()
    assert "units are not searched: the text has 27 characters" in searched
    assert copied.startswith("The page has 27 characters of text: ")
    assert written.startswith("a.html: ")
    assert parts("a.html")["passage"] == {"text": "The value of é\u2028</script> it", "findings": None}
    assert charlstm("inspect", trained, "--text", "Other", "--html=a.html").code == 0  # a page may be replaced
    assert parts("a.html")["passage"]["text"] == "Other"


def test_how_much_is_copied_is_said(charlstm: Command, trained: Path, text: str) -> None:
    Path("mine.txt").write_text(text[1_000:1_400], encoding="utf-8", newline="")
    done = charlstm("inspect", trained, "mine.txt", "--html=a.html")
    assert "400 characters of text: 100.0% of them are in passages of 20 or more" in done.err
    assert "(the longest: 400 characters)" in done.err
    elsewhere = trained.parent.parent / "reference.txt"
    moved = elsewhere.rename(elsewhere.with_name("moved.txt"))
    try:
        done = charlstm("inspect", trained, "mine.txt", "--html=a.html")
    finally:
        moved.rename(elsewhere)
    assert done.code == 0
    assert "note: not compared with the training text: " in done.err


@pytest.mark.slow
def test_findings_are_in_the_page(charlstm: Command, trained: Path, text: str) -> None:
    read = text[50_000:71_000]
    Path("long.txt").write_text(read, encoding="utf-8", newline="")
    tokenizer = api.load(trained).loaded.tokenizer
    read = tokenizer.decode(tokenizer.encode(read))
    shown = charlstm("inspect", trained, "long.txt", "--units", "--html=a.html", "--follow", "word=[a-z]+")
    assert shown.code == 0, shown.err
    assert "units searched along 21,000 characters" in " ".join(shown.out.split())
    assert "the page has only the first 5,000 characters" in shown.err
    passage = parts("a.html")["passage"]
    assert passage["text"] == read[:5_000]
    found = passage["findings"]
    assert (found["characters"], found["units"]) == (21_000, 48)
    assert any(row["label"] == "word" for row in found["rows"] + found["others"])
    for row in found["rows"]:
        begin, end = row["example"]
        assert row["text"] == read[begin : min(end, begin + 200)]
    alone = charlstm("inspect", trained, "long.txt", "--html=b.html", "--follow", "word=[a-z]+")
    assert (alone.code, alone.out) == (0, "")
    assert parts("b.html") == parts("a.html")


def test_a_page_begins_with_one_document(charlstm: Command, text: str, tmp_path: Path) -> None:
    Path("lines.txt").write_text(text[:6_000], encoding="utf-8", newline="")
    arguments = ["lines.txt", "--checkpoints=runs", "--separator=\\n", "--steps=3", *SMALL]
    assert run(["train", *arguments]) == 0
    Path("two.txt").write_text("The first one\nThe second one\n", encoding="utf-8", newline="")
    done = charlstm("inspect", "runs/lines", "two.txt", "--html=a.html")
    assert done.code == 0, done.err
    assert "the page has only the first 13 characters" in done.err
    assert parts("a.html")["passage"]["text"] == "The first one"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--html=mine.html"], 2, "is there and is no page of charlstm"),
        (["--html=link.html"], 2, "is there and is no page of charlstm"),
        (["--html=-"], 2, "not the name of a file"),
        (["--html=."], 2, "not the name of a file"),
        (["--html=no/a.html"], 74, "no is no folder"),
        (["--html=a.html", "--json"], 2, "--html and --json exclude each other"),
        (["--html=a.html", "--ledger"], 2, "--ledger and --html exclude each other"),
        (["--html=a.html", "--unit=3"], 2, "--unit: --html does not use it"),
        (["--html=a.html", "--svg=a.svg"], 2, "--svg: --html does not use it"),
    ],
)
def test_what_inspect_refuses(charlstm: Command, trained: Path, arguments: list[str], code: int, words: str) -> None:
    Path("mine.html").write_text("<!doctype html><p>My own page.")
    assert charlstm("export", "page", trained, "-o", "page.html").code == 0
    Path("link.html").symlink_to("page.html")
    done = charlstm("inspect", trained, "--text=The", *arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert words in done.err
    assert done.err.count("\n") == 1
    assert Path("mine.html").read_text() == "<!doctype html><p>My own page."


@pytest.mark.parametrize("command", [["export", "page", "-o", "a.html"], ["inspect", "--text=The", "--html=a.html"]])
def test_a_full_disk_leaves_nothing(
    charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    import os

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        done = charlstm(*command, trained)
    assert done.code == 74
    assert "no space left on device" in done.err
    assert list(Path().iterdir()) == []

"""`charlstm eval` when the training text is not there, and the options it refuses."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from charlstm.cli import run as call
from charlstm.measure import baselines
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import runs
from tests.conftest import SMALL, Command

README = (Path(__file__).parent.parent.parent / "data" / "README.md").read_text(encoding="utf-8")
MORE = ("--dynamic", "--baselines", "--by-character", "--novelty")


def notes(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("note: ")]


@pytest.fixture
def run(charlstm: Command, text: str) -> Command:
    """Call commands beside a run on `corpus.txt`, and a text of the same kind."""
    Path("corpus.txt").write_text(text[:20_000], encoding="utf-8", newline="")
    Path("other.txt").write_text(text[40_000:46_000], encoding="utf-8", newline="")
    assert charlstm("train", "corpus.txt", "--steps=4", *SMALL).code == 0
    return charlstm


def row(outcome: Any) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    found.pop("seconds", None)
    return found


@pytest.mark.slow
def test_without_the_training_text_the_rest_is_measured(run: Command) -> None:
    arguments = ("eval", "corpus", "other.txt", *MORE)
    whole = row(run(*arguments, "--json"))
    Path("corpus.txt").unlink()
    less = run(*arguments, "--json")
    assert len(notes(less.err)) == 1
    (note,) = notes(less.err)
    assert all(words in note for words in ("corpus.txt", "dynamic evaluation", "novelty", "baselines", "put it there"))
    found = row(less)
    assert list(found) == list(whole)
    assert (found["dynamic"], found["novelty"]) == (None, None)
    assert whole["dynamic"] is not None
    assert whole["novelty"] is not None
    assert len(found["baselines"]) == baselines.COUNT
    for one, other in zip(found.pop("baselines"), whole.pop("baselines"), strict=True):
        assert other["bits_per_character"] is not None
        assert one == other | ({"bits_per_character": None} if one["primed"] else {})
    assert found == whole | {"dynamic": None, "novelty": None}

    shown = run(*arguments)
    assert shown.code == 0
    assert notes(shown.err) == [note]
    assert not re.search("n-gram|training  ?[^ 1-9]|Not measured|dynamic|copied", shown.out)
    assert all(words in shown.out for words in ("uniform", "zstd", "PPM", "By kind of character"))

    plain = run("eval", "corpus", "other.txt", "--by-character")
    assert (plain.code, notes(plain.err)) == (0, [])  # nothing that was asked for is left out


def test_the_error_says_why_the_text_is_needed_and_where_it_was(run: Command) -> None:
    Path("corpus.txt").unlink()
    for arguments, why in (
        (["eval", "corpus"], "without a TEXT, eval scores its held-out part"),
        (["eval", "corpus", "--split=train"], "without a TEXT, eval scores it"),
        (["eval", "corpus", "--context"], "without a TEXT, eval scores its held-out part"),
        (["reach", "corpus"], "without a TEXT, reach scores its held-out part"),
        (["sample", "corpus", "--highlight-copies"], "looks for copies in it"),
    ):
        refused = run(*arguments)
        assert (refused.code, refused.out) == (74, "")
        assert refused.err.splitlines()[-1].startswith("error: corpus.txt: ")
        assert why in refused.err
        assert "data/" in refused.err
        another = f"charlstm {arguments[0]} CHECKPOINT TEXT"
        assert (another in refused.err) == (arguments[0] in {"eval", "reach"})


@pytest.mark.slow
def test_a_held_out_file_is_no_training_text(run: Command, text: str) -> None:
    Path("val.txt").write_text(text[50_000:51_000], encoding="utf-8")
    options = ("--val=val.txt", "--steps=4", *SMALL)
    assert run("train", "corpus.txt", "--name=apart", *options).code == 0
    assert run("train", "corpus.txt", "--name=compared", "--deduplicate", *options).code == 0
    assert row(run("eval", "apart", "--baselines", "--json"))["baselines"][1]["bits_per_character"] is not None
    Path("corpus.txt").unlink()
    assert row(run("eval", "apart", "--json"))["characters"] == 1000
    for arguments, why in (
        (("apart", "--baselines"), "needed for --baselines"),
        (("compared",), "what val.txt does not have in common with it"),
    ):
        refused = run("eval", *arguments)
        assert refused.code == 74
        assert refused.err.startswith("error: corpus.txt: ")
        assert why in refused.err
    Path("val.txt").unlink()
    assert run("eval", "apart").err.startswith("error: val.txt: ")


def test_a_text_from_a_pipe_cannot_be_found_again(
    charlstm: Command, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text[:6000].encode())))
    assert charlstm("train", "-", "--name=piped", "--steps=2", *SMALL).code == 0
    refused = charlstm("eval", "piped")
    assert refused.code == 74
    assert "standard input" in refused.err
    assert "put it" not in refused.err
    assert "charlstm eval CHECKPOINT TEXT" in refused.err


def test_the_pretrained_model_says_where_its_text_is_from(charlstm: Command, text: str) -> None:
    loaded = checkpoints.load(runs.find("shakespeare"))
    assert loaded.source.sha256 in README
    assert loaded.source.paths == ("data/tinyshakespeare.txt",)
    refused = charlstm("eval", "shakespeare")
    assert refused.code == 74
    assert refused.err.count("\n") == 1
    for words in ("data/tinyshakespeare.txt", "held-out", "Tiny Shakespeare", "input.txt", "char-rnn"):
        assert words in refused.err
        assert words in README or words == "held-out"
    Path("other.txt").write_text(text[:700], encoding="utf-8")
    scored = charlstm("eval", "shakespeare", "other.txt", "--novelty", "--json")
    assert row(scored)["novelty"] is None
    assert "Tiny Shakespeare" in notes(scored.err)[0]


@pytest.fixture(scope="module")
def trained_on_bytes(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bytes")
    (root / "bytes.txt").write_text(text[:6000], encoding="utf-8")
    options = [f"--checkpoints={root}", "--tokenizer=byte", "--steps=1", *SMALL]
    assert call(["train", str(root / "bytes.txt"), *options]) == 0
    return root / "bytes"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "other.txt"], "CHECKPOINT ''"),
        (["corpus", ""], "TEXT ''"),
        (["corpus", "", "--lines"], "TEXT ''"),
        (["corpus", "--every=4"], "--every 4: "),
        (["corpus", "other.txt", "--lines", "--every=16"], "--every 16: "),
        (["corpus", "--encoding=latin-1"], "--encoding latin-1: "),
        (["corpus", "--encoding=latin-1", "--split=train"], "--encoding latin-1: "),
        (["bytes", "other.txt", "--encoding=utf-16"], "--encoding utf-16: this model reads bytes"),
        (["bytes", "other.txt", "--encoding=utf-16", "--lines"], "--encoding utf-16: this model reads bytes"),
        (["bytes", "--encoding=utf-16"], "--encoding utf-16: this model reads bytes"),
    ],
)
def test_what_would_be_ignored_is_refused(
    charlstm: Command, trained: Path, trained_on_bytes: Path, arguments: list[str], said: str
) -> None:
    runs = {"corpus": trained, "bytes": trained_on_bytes}
    refused = charlstm("eval", *(runs.get(word, word) for word in arguments))
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert said in refused.err


def test_an_empty_checkpoint_is_refused_everywhere(charlstm: Command) -> None:
    for arguments in (["info"], ["sample"], ["eval"], ["reach"], ["score", "text.txt"]):
        refused = charlstm(arguments[0], "", *arguments[1:])
        assert (refused.code, refused.out) == (2, "")
        assert "CHECKPOINT ''" in refused.err


def test_an_encoding_is_that_of_the_text(run: Command) -> None:
    content = Path("other.txt").read_text(encoding="utf-8")
    Path("wide.txt").write_text(content, encoding="utf-16", newline="")
    wide = row(run("eval", "corpus", "wide.txt", "--encoding=utf-16", "--json"))
    assert wide == row(run("eval", "corpus", "other.txt", "--json"))

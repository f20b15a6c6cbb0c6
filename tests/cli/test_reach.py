"""`charlstm reach`, and the option of `eval` that it was."""

import json
from pathlib import Path

import pytest

from charlstm.measure import reach
from charlstm.measure.ngram import MAX_ORDER
from tests.cli.test_eval import notes, row, run
from tests.conftest import Command

__all__ = ["run"]  # a fixture


@pytest.mark.slow
def test_the_reach_of_a_model(charlstm: Command, trained: Path, text: str) -> None:
    Path("part.txt").write_text(text[:12_000], encoding="utf-8", newline="")
    text = "part.txt"
    done = charlstm("reach", trained, text)
    assert done.code == 0
    lines = done.out.splitlines()
    assert sum("±" in line for line in lines) == len(reach.CONTEXTS) + MAX_ORDER
    assert any(line.startswith("bracket") for line in lines)
    assert max(map(len, lines)) <= 60
    row = json.loads(charlstm("reach", trained, text, "--json").out)
    assert [it["context"] for it in row["rows"]] == list(reach.CONTEXTS)
    assert row["rows"][0]["loss"]["bits"] > row["rows"][-1]["loss"]["bits"]
    short = charlstm("reach", trained)  # 4,000 held-out characters
    assert short.code == 65
    assert "reach test" in short.err


@pytest.mark.slow
def test_without_the_training_text_there_are_no_ngrams(run: Command) -> None:
    arguments = ("reach", "corpus", "other.txt")
    whole = row(run(*arguments, "--json"))
    Path("corpus.txt").write_text("another text")  # is as good as none
    less = run(*arguments, "--json")
    (note,) = notes(less.err)
    assert "has changed" in note
    assert "the n-grams" in note
    found = row(less)
    assert whole["ngrams"] is not None
    assert whole["structure"]
    assert found == whole | {"ngrams": None, "structure": [band | {"ngram": None} for band in whole["structure"]]}
    shown = run(*arguments)
    assert shown.code == 0
    assert "1024" in shown.out
    assert "what it closes." in shown.out
    assert "gram" not in shown.out


@pytest.mark.slow
def test_the_option_of_eval_goes_on_working(charlstm: Command, trained: Path, text: str) -> None:
    Path("part.txt").write_text(text[:6000], encoding="utf-8", newline="")
    plain = charlstm("reach", trained, "part.txt", "--every=8", "--json")
    asked = charlstm("eval", trained, "part.txt", "--context", "--every=8", "--json")
    assert (asked.code, asked.out) == (0, plain.out)
    assert asked.err == plain.err + "note: --context is now a command of its own: charlstm reach --every 8\n"
    assert "--context" not in charlstm("eval", "--help").out

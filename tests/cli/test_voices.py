"""Voices from the command line: a small run on prose and code, which are told apart far above chance."""

import argparse
import inspect
import io
import json
import random
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from charlstm import api
from charlstm.cli import run
from charlstm.errors import UsageError
from charlstm.storage import checkpoint as checkpoints
from tests.conftest import SMALL, Command

HOSTILE = "pro\x1b[2Jse"


def records(text: str, size: int = 120) -> list[dict[str, Any]]:
    code = "".join(map(inspect.getsource, (argparse, textwrap)))[:40_000]
    rows = [
        {"text": source[at : at + size], "who": who}
        for who, source in ((HOSTILE, text[:40_000]), ("code", code))
        for at in range(0, 40_000, size)
    ]
    random.Random(0).shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def folder(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on labelled documents, and a file with others."""
    root = tmp_path_factory.mktemp("voices")
    rows = records(text)
    for name, part in (("train", rows[100:]), ("test", rows[:100])):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    options = [
        *SMALL,
        "--checkpoints",
        str(root),
        "--field=text",
        "--label-field=who",
        "--name=v",
        "--epochs=5",
        "--evaluations=1",
        "--batch-size=32",
        "--seq-length=48",
    ]
    assert run(["train", str(root / "train.jsonl"), *options]) == 0
    return root


def test_the_voices_are_told_apart(charlstm: Command, folder: Path) -> None:
    outcome = charlstm("score", folder / "v", folder / "test.jsonl", "--labels", "--json")
    assert outcome.code == 0, outcome.err
    *rows, total = map(json.loads, outcome.out.splitlines())
    assert [row["line"] for row in rows] == list(range(1, 101))
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == row["probabilities"][row["label"]] == max(row["probabilities"].values())
    right = sum(row["label"] == row["given"] for row in rows)
    assert (total["documents"], total["labelled"], total["accuracy"]) == (100, 100, right / 100)
    assert sum(total["confusion"][label].get(label, 0) for label in total["confusion"]) == right
    assert total["accuracy"] > 0.65
    model = api.load(folder / "v")
    text = json.loads((folder / "test.jsonl").read_text().splitlines()[0])["text"]
    assert model.voices(text) == pytest.approx(rows[0]["probabilities"], rel=1e-3)
    shown = charlstm("score", folder / "v", folder / "test.jsonl", "--labels")
    assert f"{right} of 100 named rightly: {right}.0%" in shown.out
    assert "\x1b" not in shown.out


def test_a_label_makes_its_own_text_likelier(charlstm: Command, folder: Path) -> None:
    outcome = charlstm("eval", folder / "v", "--json")
    voices = json.loads(outcome.out)["by_label"]
    assert [voice["label"] for voice in voices] == ["code", HOSTILE]
    row = json.loads(outcome.out)
    assert sum(voice["characters"] for voice in voices) == row["characters"]
    bits = row["characters"] * row["bits_per_character"]
    assert sum(voice["bits"] for voice in voices) == pytest.approx(bits, rel=1e-4)
    shown = charlstm("eval", folder / "v").out
    assert "By label:" in shown and "\x1b" not in shown


def test_samples_have_labels(charlstm: Command, folder: Path) -> None:
    many = charlstm("sample", folder / "v", "--seed=7", "--num-samples=12", "--length=40", "--json")
    rows = list(map(json.loads, many.out.splitlines()))
    assert {row["label"] for row in rows} == {"code", HOSTILE}
    model = api.load(folder / "v")
    for row in rows[:3]:
        alone = charlstm("sample", folder / "v", f"--seed={row['seed']}", "--length=40", "--json")
        assert json.loads(alone.out)["text"] == row["text"]
        assert model.generate(seed=row["seed"], length=40) == row["text"]
        assert model.generate(seed=row["seed"], length=40, label=row["label"]) == row["text"]
    named = charlstm("sample", folder / "v", "--label=code", "--length=30")
    assert re.search(r"seed \d+, label code$", named.err.strip())
    assert json.loads(charlstm("sample", folder / "v", "--label=code", "--length=9", "--json").out)["label"] == "code"
    drawn = charlstm("sample", folder / "v", "--num-samples=12", "--length=1")
    assert ", labels " in drawn.err and "\x1b" not in drawn.err


def test_labels_that_nobody_knows(charlstm: Command, folder: Path, trained: Path) -> None:
    outcome = charlstm("sample", folder / "v", "--label=q")
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert "label 'q': this model does not know it; choose one of 'code', " in outcome.err and "\x1b" not in outcome.err
    assert "this model has no labels" in charlstm("sample", trained, "--label=q").err
    assert "this model has no labels" in charlstm("score", trained, "x", "--labels").err
    model = api.load(folder / "v")
    with pytest.raises(UsageError, match="the state is that of a document already"):
        model.generate(state=model.read("a"), label="code")
    with pytest.raises(UsageError, match="no labels"):
        api.load(trained).voices("x")


def test_what_a_checkpoint_says_about_labels(charlstm: Command, folder: Path) -> None:
    labels = json.loads(charlstm("info", folder / "v", "--json").out)["labels"]
    assert list(labels) == ["code", HOSTILE] and min(labels.values()) > 200
    shown = charlstm("info", folder / "v").out
    assert f"2: code ({labels['code']})" in shown and "\x1b" not in shown
    checkpoint = checkpoints.load(folder / "v" / "best.safetensors")
    assert checkpoint.tokenizer.counts_by_label == labels == api.load(folder / "v").labels
    assert checkpoint.weights["labels.weight"].any()
    options = ["--field=text", "--label-field=who", "--steps=1", *SMALL]
    assert "2 labels" in charlstm("train", folder / "train.jsonl", *options).err


def test_a_conversation_keeps_its_label(charlstm: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\nx\n"))
    outcome = charlstm("sample", folder / "v", "--interactive", "--label=code", "--length=200", "--seed=1")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out) > 50


def test_lines_are_labelled_by_the_name_of_their_file(charlstm: Command, text: str, tmp_path: Path) -> None:
    for who, part in (("ann", text[:4000]), ("bob", text[4000:8000].upper())):
        (tmp_path / "books").mkdir(exist_ok=True)
        (tmp_path / "books" / f"{who}.txt").write_text(part)
    options = [*SMALL, r"--separator=\n", "--label-from=file", "--epochs=12", "--evaluations=1"]
    assert charlstm("train", "books", *options).code == 0
    *rows, total = map(json.loads, charlstm("score", "books", "books", "--labels", "--json").out.splitlines())
    assert total["labelled"] == len(rows) and total["accuracy"] > 0.8
    lines = sum(part.read_text().count("\n") + 1 for part in (tmp_path / "books").iterdir())
    assert len(rows) == lines
    (tmp_path / "cy.txt").write_text("one line\nand another\n")
    *rows, total = map(json.loads, charlstm("score", "books", "cy.txt", "--labels", "--json").out.splitlines())
    assert [row["given"] for row in rows] == ["cy", "cy"] and total["accuracy"] is None
    (tmp_path / "books" / "bob.txt").rename(tmp_path / "books" / "dan.txt")
    outcome = charlstm("train", "--resume", "--name=books", "--epochs=13")
    assert outcome.code == 65 and "other labels than those this run was started with" in outcome.err

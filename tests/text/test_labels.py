"""Labels: where they come from, and which texts have some."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from charlstm.config import RunConfig, TextConfig
from charlstm.errors import DataError, UsageError
from charlstm.text import corpus, labels
from charlstm.text.cache import Cache
from charlstm.text.corpus import Split
from charlstm.text.labels import NONE, Unlabelled
from charlstm.text.tokenizer import CharTokenizer, Tokenizer

FIELDS = TextConfig(field="text", label_field="who")
RECORDS = [{"text": f"{who} writes number {n}", "who": who} for n in range(40) for who in ("ann", "bob", "ann", "cy")]


def written(file: Path, records: list[dict[str, object]]) -> list[str]:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return [str(file)]


def read(split: Split, tokenizer: Tokenizer) -> list[tuple[str | None, str]]:
    """Return the label and the text of each document."""
    found = []
    for begin, end in pairwise(split.bounds):
        first, *ids, last = split.ids[begin:end].tolist()
        assert last == tokenizer.end_id
        assert first == tokenizer.start_id or first >= tokenizer.vocab_size
        label = None if first == tokenizer.start_id else tokenizer.labels[first - tokenizer.vocab_size]
        found.append((label, tokenizer.decode(ids)))
    return found


@pytest.mark.parametrize(
    ("path", "file", "folder"),
    [
        ("books/austen/emma.txt", "emma", "austen"),
        ("books/austen/emma.txt.gz", "emma", "austen"),
        ("austen/../dickens/a.b.jsonl.zst", "a.b", "dickens"),
        ("/x/README", "README", "x"),
        ("-", None, None),
    ],
)
def test_the_label_of_a_file(path: str, file: str | None, folder: str | None) -> None:
    assert (labels.of_file(path, "file"), labels.of_file(path, "folder")) == (file, folder)
    assert labels.of_file(path, None) is None


@pytest.mark.parametrize(
    ("value", "label"),
    [("x", "x"), ("", ""), (3, "3"), (True, "true"), ("\ud800", "\ufffd"), (None, None), (1.5, None), (["x"], None)],
)
def test_the_label_of_a_record(value: object, label: str | None) -> None:
    assert labels.of_record({"who": value}, "who") == label


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_each_document_keeps_its_label_through_the_split_and_the_cache(tmp_path: Path, kind: str) -> None:
    paths = written(tmp_path / "a.jsonl", RECORDS)
    config = TextConfig(tokenizer=kind, field="text", label_field="who")
    cache = Cache(tmp_path / "cache")
    for block in (16, 1 << 20):  # the second time from the cache
        loaded = corpus.load(paths, [], config, cache=cache, block=block)
        tokenizer = loaded.tokenizer
        assert tokenizer.labels == ("ann", "bob", "cy")
        assert tokenizer.vocab_size == len(tokenizer.vocabulary) and tokenizer.num_ids == tokenizer.vocab_size + 3
        parts = [read(split, tokenizer) for split in (loaded.train, loaded.val)]
        assert {*parts[0], *parts[1]} == {(record["who"], record["text"]) for record in RECORDS}
        names = [label for label, _ in parts[0]]
        assert tokenizer.label_counts == tuple(names.count(label) for label in tokenizer.labels)
        assert len(parts[1]) > 3


def test_without_labels_everything_is_as_it_was(tmp_path: Path) -> None:
    paths = written(tmp_path / "a.jsonl", RECORDS)
    plain = corpus.load(paths, [], TextConfig(field="text"), cache=Cache(tmp_path / "cache"))
    loaded = corpus.load(paths, [], FIELDS, cache=Cache(tmp_path / "cache"))
    assert plain.tokenizer.labels == () and plain.tokenizer.num_ids == plain.tokenizer.vocab_size
    assert plain.tokenizer.vocabulary == loaded.tokenizer.vocabulary
    for one, other in ((plain.train, loaded.train), (plain.val, loaded.val)):
        assert np.array_equal(one.ids, loaded.tokenizer.unlabelled(np.asarray(other.ids)))
        assert (one.characters, one.bytes) == (other.characters, other.bytes)
        assert one.bounds.tolist() == other.bounds.tolist()
    values = RunConfig.from_dict({"text": {}, "model": {}, "train": {}}).to_dict()
    assert not any(name.startswith("label") for name in values["text"])  # so that a file has no new entry


def test_files_and_folders_label_what_is_in_them(tmp_path: Path) -> None:
    for name in ("x/one.txt", "x/two.txt", "y/three.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join(f"{name} line {n}" for n in range(20)))
    for source, expected in (("file", {"one", "two", "three"}), ("folder", {"x", "y"})):
        config = TextConfig(separator=r"\n", label_from=source)
        loaded = corpus.load([str(tmp_path)], [], config, cache=Cache(tmp_path / ".cache"))
        assert set(loaded.tokenizer.labels) == expected
        for label, text in read(loaded.train, loaded.tokenizer) + read(loaded.val, loaded.tokenizer):
            assert label == (text.split("/")[0] if source == "folder" else text.split("/")[1].split(".")[0])


def test_the_cache_knows_the_names_of_files(tmp_path: Path) -> None:
    config, cache = TextConfig(separator=r"\n", label_from="file"), Cache(tmp_path / ".cache")
    for names in (("a", "b"), ("c", "d")):
        folder = tmp_path / "".join(names)
        folder.mkdir()
        for name, letter in zip(names, "xy", strict=True):
            (folder / name).write_text("\n".join(f"{letter} {n}" for n in range(20)))
        assert corpus.load([str(folder)], [], config, cache=cache).tokenizer.labels == names


def test_a_label_that_only_held_out_documents_have(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", RECORDS)
    val = written(tmp_path / "val.jsonl", [{"text": "an", "who": "dan"}, {"text": "boy", "who": "bob"}, {"text": "t"}])
    loaded = corpus.load(train, val, FIELDS, cache=Cache(tmp_path / "cache"))
    assert read(loaded.val, loaded.tokenizer) == [(None, "an"), ("bob", "boy"), (None, "t")]
    assert loaded.unlabelled == Unlabelled(2, 3, ("dan",))
    assert loaded.notes()[-1].startswith("2 of 3 documents have no label that the training text has (such as 'dan')")


def test_labels_that_the_split_left_to_the_held_out_part(tmp_path: Path) -> None:
    """Only one document of each; the 40 names are too few to be refused."""
    paths = written(tmp_path / "a.jsonl", [{"text": f"text {n:02}", "who": f"w{n}"} for n in range(40)])
    loaded = corpus.load(paths, [], FIELDS, cache=Cache(tmp_path / "cache"))
    assert loaded.unlabelled.documents == loaded.unlabelled.of == loaded.val.documents
    assert len(loaded.tokenizer.labels) == loaded.train.documents


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"text": "a b"}, *RECORDS], r"line 1 has no label in the field 'who' \(it has 'text'\); name another"),
        ([{"text": "a b", "who": [1]}, *RECORDS], "line 1 has no label"),
        ([{"text": f"n {n}", "who": "x"} for n in range(40)], "only the label 'x', and voices need two"),
        (
            [{"text": f"n {n}", "who": str(n % 150)} for n in range(200)],
            r"1[345]\d different labels for 18\d documents",
        ),
        ([{"text": f"n {n}", "who": str(n)} for n in range(1100)], "more than 1,000 different labels"),
    ],
)
def test_a_field_that_is_no_label_is_refused(tmp_path: Path, records: list[dict[str, object]], message: str) -> None:
    paths = written(tmp_path / "a.jsonl", records)
    with pytest.raises(DataError, match=message):
        corpus.load(paths, [], FIELDS, cache=Cache(tmp_path / "cache"))


def test_a_single_file_cannot_be_labelled_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text " * 20)
    for source, remedy in (("file", "name several files"), ("folder", "name several folders")):
        with pytest.raises(DataError, match=remedy):
            corpus.load([str(tmp_path / "a.txt")], [], TextConfig(label_from=source), cache=Cache(tmp_path / "cache"))


@pytest.mark.parametrize(
    "settings",
    [{"label_field": "x"}, {"label_field": "x", "label_from": "file", "field": "y"}, {"label_from": "line"}],
)
def test_settings_that_make_no_sense(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        TextConfig(**settings)


def test_long_documents_are_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name + " text" * 6000)
    loaded = corpus.load([str(tmp_path)], [], TextConfig(label_from="file"), cache=Cache(tmp_path / ".cache"))
    assert "--separator '\\n\\n'" in loaded.notes()[-1]
    assert loaded.val.ids[0] < loaded.tokenizer.start_id  # begins within a document: no label there


def test_a_tokenizer_with_labels() -> None:
    plain = CharTokenizer("\nab", framed=True)
    tokenizer = plain.labelled({"z": 1, "a\x1b[2J": 3})
    assert plain.labels == ()
    assert (tokenizer.labels, tokenizer.label_counts) == (("a\x1b[2J", "z"), (3, 1))
    assert (tokenizer.vocab_size, tokenizer.num_ids) == (plain.vocab_size, plain.vocab_size + 2)
    assert tokenizer.vocabulary == plain.vocabulary
    start, end = tokenizer.start_id, tokenizer.vocab_size - 1
    assert [tokenizer.opener(label) for label in (None, *tokenizer.labels)] == [start, end + 1, end + 2]
    assert tokenizer.opened("z") == [end, end + 2]
    assert tokenizer.codes[[start, end + 1, end + 2]].tolist() == [plain.codes[start]] * 3
    assert tokenizer.codes[: plain.vocab_size].tolist() == plain.codes.tolist()
    assert tokenizer.opens([0, start, end, end + 1, end + 2]).tolist() == [False, True, False, True, True]
    assert tokenizer.unlabelled(np.array([2, end + 2], np.uint8)).tolist() == [2, start]
    assert tokenizer.decode([end + 1, 2, 3, end]) == "\nab\n"
    with pytest.raises(UsageError, match=r"label 'q': this model does not know it; choose one of 'a\\x1b\[2J', 'z'"):
        tokenizer.opener("q")
    with pytest.raises(UsageError, match="this model has no labels"):
        plain.opener("q")
    with pytest.raises(DataError):
        CharTokenizer("ab").labelled({"x": 1})


def test_documents_without_a_number() -> None:
    numbers = np.array([0, 1, NONE, 1])
    assert Unlabelled.among(("x", "y"), numbers, ("x",), ["z"]) == Unlabelled(3, 4, ("y", "z"))
    assert Unlabelled.among(("x", "y"), numbers[:2], ("x", "y"), []) == Unlabelled(0, 2, ())

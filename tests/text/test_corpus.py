import gzip
import hashlib
import io
import json
import lzma
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from charlstm.config import RunConfig, TextConfig
from charlstm.errors import CharLSTMError, DataError, InputOutputError, UsageError
from charlstm.text import corpus
from charlstm.text.cache import Cache
from charlstm.text.files import zstd
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.conftest import empty

CHAR = TextConfig()
BYTE = TextConfig(tokenizer="byte")


def content(paths: list[object], config: TextConfig = CHAR) -> str:
    """Read a text and decode what the ids hold; documents that have frames end with a newline."""
    names = [str(path) for path in paths]
    kinds = {"char": CharTokenizer("".join(map(chr, range(0x250))) + "\N{EURO SIGN}"), "byte": ByteTokenizer()}
    tokenizer = kinds[config.tokenizer]
    return tokenizer.decode(corpus.load_text(names, config, tokenizer).split.ids)


def documents(loaded: corpus.Split, tokenizer: Tokenizer) -> list[str]:
    """Cut a part into its documents, frames off."""
    assert tokenizer.end_id is not None
    texts = []
    for begin, end in pairwise(loaded.bounds):
        ids = loaded.ids[begin:end].tolist()
        assert ids[0] == tokenizer.start_id and ids[-1] == tokenizer.end_id
        texts.append(tokenizer.decode(ids[1:-1]))
    return texts


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    data = "one\r\ntwo\rthree\n\N{EURO SIGN}".encode()
    (tmp_path / "a.txt").write_bytes(data)
    assert content([tmp_path / "a.txt"]) == "one\r\ntwo\rthree\n\N{EURO SIGN}"
    assert corpus.fingerprint([str(tmp_path / "a.txt")]) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    mark = "\N{BYTE ORDER MARK}" if encoding in {"utf-8", "utf-16-le"} else ""
    (tmp_path / "a.txt").write_bytes((mark + "caf\xe9").encode(encoding))
    assert content([tmp_path / "a.txt"], TextConfig(encoding=encoding)) == "caf\xe9"


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstd.compress])
def test_compressed_files_are_read_as_what_they_hold(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = ("caf\xe9 " * 300_000).encode()  # more than a block
    (tmp_path / "a.txt").write_bytes(compress(data))
    assert content([tmp_path / "a.txt"]) == data.decode()
    (tmp_path / "b.txt").write_bytes(compress(data)[:-20])
    with pytest.raises(DataError, match="damaged"):
        content([tmp_path / "b.txt"])


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"text": f"poem {number}\n", "id": number} for number in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    loaded = corpus.load([str(tmp_path / "a.jsonl")], [], TextConfig(field="text"))
    texts = documents(loaded.train, loaded.tokenizer) + documents(loaded.val, loaded.tokenizer)
    assert sorted(texts) == sorted(row["text"] for row in rows)
    assert corpus.load([str(tmp_path / "a.jsonl")], [], TextConfig(field="text", tokenizer="byte")).train.documents > 20
    for line, words in (
        ("{", "line 1 is not JSON"),
        ('{"a": 1}', r"line 1 has no text.*'text'.*'a'"),
        ("[]", "not an object"),
    ):
        (tmp_path / "b.jsonl").write_text(line)
        with pytest.raises(DataError, match=words):
            corpus.load([str(tmp_path / "b.jsonl")], [], TextConfig(field="text"))
    (tmp_path / "c.jsonl").write_text('{"text": "half \\ud800 pair \\ud83d\\ude00"}')
    loaded = corpus.load([str(tmp_path / "c.jsonl")], [], TextConfig(field="text"))
    assert "\ufffd" in loaded.tokenizer.vocabulary


def test_bytes_keep_their_mark(tmp_path: Path) -> None:
    data = "\N{BYTE ORDER MARK}caf\xe9".encode() + b"\xff\x00" * 5
    (tmp_path / "a").write_bytes(data)
    loaded = corpus.load([str(tmp_path / "a")], [], BYTE)
    assert loaded.train.ids.tobytes() + loaded.val.ids.tobytes() == data


def test_a_folder_is_read_in_order_without_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("second ")
    (tmp_path / "a.txt").write_text("first ")
    (tmp_path / "sub" / "c.txt").write_text("third")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "zeros").write_bytes(b"text " * 500_000 + bytes(10))  # half of it was taken already
    loaded = corpus.load([str(tmp_path)], [], TextConfig(val_fraction=0.4))
    together = [loaded.tokenizer.decode(part.ids) for part in (loaded.train, loaded.val)]
    assert together == ["\nfirst \n\nsecon", "\ufffd \n\nt\ufffdir\ufffd\n"]  # a frame is decoded as a newline
    assert (loaded.train.documents, loaded.val.documents) == (2, 2)
    assert sorted(Path(skipped.path).name for skipped in loaded.left_out.skipped) == ["picture.png", "zeros"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert content(["-"]) == "from a pipe"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("from a pipe",))
    writer.start()
    assert content([tmp_path / "pipe"]) == "from a pipe"
    writer.join()


@pytest.mark.slow
@given(
    st.lists(st.text("ab-\N{EURO SIGN}", max_size=9), min_size=1, max_size=40),
    st.sampled_from(["-", "--", "-a-", "\\n", "\N{EURO SIGN}"]),
    st.sampled_from(["char", "byte"]),
    st.integers(1, 7),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_documents_are_those_that_split_finds(
    tmp_path: Path, texts: list[str], separator: str, kind: str, block: int
) -> None:
    config = TextConfig(tokenizer=kind, separator=separator, val_fraction=0.2, deduplicate=False)
    whole = config.between.join(texts)
    (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
    expected = [text for text in whole.split(config.between) if text]
    try:
        loaded = corpus.load([str(tmp_path / "a.txt")], [], config, cache=empty(tmp_path), block=block)
    except DataError:
        return  # too little of it
    tokenizer = loaded.tokenizer
    characters = sum(map(len, expected))
    if len(expected) == 1:
        assert tokenizer.end_id is None
        if kind == "byte":
            assert loaded.train.ids.tobytes() + loaded.val.ids.tobytes() == expected[0].encode()
        assert loaded.source.characters == loaded.train.characters + loaded.val.characters
    elif len(expected) >= 20:
        parts = [documents(part, tokenizer) for part in (loaded.train, loaded.val)]
        known = [text for text in expected if text in parts[0] or text in parts[1]]
        assert loaded.val.unknown or sorted(parts[0] + parts[1]) == sorted(known) == sorted(expected)
        assert loaded.source.characters == characters + len(expected)
    else:
        decoded = b"".join(part.ids.astype("<u2").tobytes() for part in (loaded.train, loaded.val))
        frames = np.frombuffer(decoded, "<u2")
        assert (frames == tokenizer.end_id).sum() == len(expected) == (frames == tokenizer.start_id).sum()
        assert len(frames) == (len("".join(expected).encode()) if kind == "byte" else characters) + 2 * len(expected)


def test_held_out_documents_are_drawn_and_stay_the_same(tmp_path: Path) -> None:
    names = [f"name{number:03}" for number in range(200)]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    loaded = corpus.load([str(tmp_path / "names.txt")], [], TextConfig(separator=r"\n"))
    train, val = (documents(part, loaded.tokenizer) for part in (loaded.train, loaded.val))
    assert sorted(train + val) == names
    assert len(val) == 20
    assert val != names[-20:]
    assert train == sorted(train)
    assert loaded.val.characters == 20 * 8 == loaded.val.bytes  # with their ends
    again = corpus.load([str(tmp_path / "names.txt")], [], TextConfig(separator=r"\n"))
    assert documents(again.val, again.tokenizer) == val


def words(loaded: corpus.Split, tokenizer: Tokenizer) -> set[str]:
    return set(documents(loaded, tokenizer))


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=20, max_size=60), st.sampled_from(["char", "byte"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_held_out_documents_that_occur_in_training_are_left_out(tmp_path: Path, texts: list[str], kind: str) -> None:
    (tmp_path / "a.txt").write_text("\n".join(texts))
    loaded, cache = {}, empty(tmp_path)
    for deduplicate in (None, True, False):
        config = TextConfig(tokenizer=kind, separator=r"\n", val_fraction=0.2, deduplicate=deduplicate)
        try:
            loaded[deduplicate] = corpus.load([str(tmp_path / "a.txt")], [], config, cache=cache)
        except DataError as error:
            if "one distinct character" in str(error):
                return
            assert deduplicate
            assert "everything held out also occurs" in str(error)
            assert words(loaded[None].val, loaded[None].tokenizer) <= words(loaded[None].train, loaded[None].tokenizer)
    whole = loaded[False]
    train, tokenizer = words(whole.train, whole.tokenizer), whole.tokenizer
    held_out = documents(whole.val, tokenizer)
    new = [document for document in held_out if document not in train]
    for deduplicate, found in loaded.items():
        assert found.train.ids.tolist() == whole.train.ids.tolist()  # the model is the same
        assert (found.overlap.documents, found.overlap.of) == (len(held_out) - len(new), len(held_out))
        assert found.overlap.dropped == (deduplicate is not False and 0 < len(new) < len(held_out))
        kept = documents(found.val, found.tokenizer)
        assert kept == (new if found.overlap.dropped else held_out)
        assert found.val.characters == sum(map(len, kept)) + len(kept) == found.val.bytes
        assert bool(found.overlap.notes()) == (len(new) < len(held_out))


def test_files_that_repeat_others_are_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    text = "".join(f"line {number} of the text\n" for number in range(500))
    (folder / "a.txt").write_text(text)
    alone = corpus.load([str(folder)], [], CHAR)
    for number in range(98):
        (folder / f"link {number:02}.txt").symlink_to("a.txt")
    (folder / "copy.txt").write_text(text)
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n")
    (folder / "same.png").write_bytes(b"\x89PNG\r\n")
    cache = Cache(tmp_path / "cache")
    for _ in range(2):  # the second comes from the cache
        loaded = corpus.load([str(folder)], [], CHAR, cache=cache)
        assert loaded.source.characters == len(text) == alone.source.characters
        assert loaded.val.ids.tolist() == alone.val.ids.tolist()
        notes = loaded.notes()
        assert [note.split(":")[0] for note in notes] == [
            f"skipped {folder / 'picture.png'}",
            "98 links to files already read",
            "1 file with the same content as another",
        ]
        assert "copy.txt, the same as" in notes[2]
        assert not loaded.overlap.documents
    assert loaded.source.sha256 != alone.source.sha256  # the picture belongs to the folder, though it is not text
    (folder / "picture.png").unlink()
    (folder / "same.png").unlink()
    assert corpus.fingerprint([str(folder)]) == alone.source.sha256
    for once in (True, False):
        assert corpus.is_text([str(folder)], corpus.fingerprint([str(folder)], once=once))
    assert not corpus.is_text([str(folder)], "0" * 64)


def test_without_it_all_is_as_it_was(tmp_path: Path) -> None:
    """What a run without the setting, of an older version, has read, and by what it knows it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("one text ")
    (folder / "b.txt").symlink_to("a.txt")
    (folder / "c.txt").write_text("one text ")
    loaded = corpus.load([str(folder)], [], TextConfig(deduplicate=False))
    hashes = hashlib.sha256(b"one text ").hexdigest() * 3
    assert loaded.source.sha256 == hashlib.sha256(hashes.encode()).hexdigest()
    assert loaded.source.characters == 30
    assert [note.split(" (")[0] for note in loaded.notes()[:2]] == [
        "1 link to a file already read: read again each time",
        "1 file with the same content as another: read again each time",
    ]
    values = {"text": {"encoding": "latin-1"}, "model": {}, "train": {}}
    assert RunConfig.from_dict(values).text == TextConfig(encoding="latin-1", deduplicate=False)
    assert RunConfig.from_dict(values | {"text": {"deduplicate": None}}).text == CHAR


def test_a_pipe_that_repeats_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a few words " * 9)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a few words " * 9)))
    loaded = corpus.load([str(tmp_path / "a.txt"), "-"], [], CHAR)
    assert loaded.source.characters == 9 * 12
    assert loaded.source.sha256 == corpus.fingerprint([str(tmp_path / "a.txt")])
    assert loaded.notes() == [
        f"1 file with the same content as another: not read again (-, the same as {tmp_path}/a.txt)"
    ]


TRAIN = "".join(f"line {number} of the training text\n" for number in range(300))


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
@pytest.mark.parametrize(
    ("val", "occurs"),
    [
        (TRAIN, True),
        (TRAIN[1000:4000], True),
        (TRAIN[-70:], True),
        (TRAIN[-70:] + "!", False),
        (TRAIN[1000:4000].replace("line 90", "Line 90"), False),
        ("line 5", False),  # too short to tell
        ("another text, which the training text does not have, of more than a line", False),
    ],
)
def test_a_held_out_file_that_lies_in_the_training_text_is_told(
    tmp_path: Path, tokenizer: str, val: str, occurs: bool
) -> None:
    paths = []
    for name, text in (("train.txt", TRAIN), ("val.txt", val)):
        paths.append(str(tmp_path / name))
        Path(paths[-1]).write_text(text)
    loaded = corpus.load(paths[:1], paths[1:], TextConfig(tokenizer=tokenizer))
    assert bool(loaded.notes()) == occurs == bool(loaded.overlap.documents)
    assert len(loaded.val.ids) == len(val)  # the user has chosen it
    if occurs:
        with pytest.raises(DataError, match="everything held out also occurs in the training text"):
            corpus.load(paths[:1], paths[1:], TextConfig(tokenizer=tokenizer, deduplicate=True))


def test_a_held_out_file_of_many_documents_is_compared_one_by_one(tmp_path: Path) -> None:
    train, val = ([f"name{number}" for number in numbers] for numbers in (range(100), range(90, 130)))
    paths = []
    for name, names in (("train.txt", train), ("val.txt", val)):
        paths.append(str(tmp_path / name))
        Path(paths[-1]).write_text("\n".join(names))
    cache = Cache(tmp_path / "cache")

    def load(deduplicate: bool | None, training: str = paths[0]) -> corpus.Corpus:
        config = TextConfig(separator=r"\n", deduplicate=deduplicate)
        return corpus.load([training], paths[1:], config, cache=cache)

    plain = load(None)
    assert (plain.overlap.documents, plain.overlap.of, plain.overlap.dropped) == (10, 40, False)
    assert documents(plain.val, plain.tokenizer) == val
    assert documents(load(True).val, plain.tokenizer) == val[10:]
    assert documents(load(None).val, plain.tokenizer) == val  # each has its own place in the cache
    other = tmp_path / "other.txt"
    other.write_text("\n".join(train[:95]))
    assert load(True, str(other)).overlap.documents == 5
    assert load(True).overlap.documents == 10


def test_the_end_of_a_copy_with_a_change_is_told(tmp_path: Path) -> None:
    """A copy beside the original that differs in its first character."""
    (tmp_path / "a.txt").write_text(TRAIN)
    (tmp_path / "b.txt").write_text("L" + TRAIN[1:])
    loaded = corpus.load([str(tmp_path)], [], CHAR)
    assert loaded.notes() == [
        "the held-out text also occurs in the training text: the model is scored on what it has learnt from"
    ]


def test_the_cache_knows_a_text_by_its_content(tmp_path: Path) -> None:
    file, cache = tmp_path / "a.txt", Cache(tmp_path / "cache")
    reads: list[int] = []

    def load(config: TextConfig = CHAR) -> list[int]:
        loaded = corpus.load([str(file)], [], config, cache=cache, watch=lambda read, _: reads.append(read))
        return loaded.train.ids.tolist()

    file.write_text("abc" * 50)
    first = load()
    entries = list(cache.entries())
    assert len(entries) == 1
    assert not list(cache.root.glob(".*"))
    reads.clear()
    assert load() == first
    assert not reads  # it is not read again
    file.write_text("abd" * 50)
    load()
    load(TextConfig(tokenizer="byte"))
    assert len(list(cache.entries())) == 3
    ids = entries[0].folder / "0.ids"
    ids.write_bytes(ids.read_bytes()[:-1] + b"\7")
    file.write_text("abc" * 50)
    assert load() == first  # a damaged entry is made again
    assert cache.clear() > 0
    assert not list(cache.root.iterdir())


def test_many_at_once_share_a_cache_that_is_too_small(tmp_path: Path) -> None:
    """Each removes what the others have stored, and some prepare the same text."""
    texts = [f"text {number} " * 500 for number in range(3)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)

    def load(number: int) -> bool:
        cache = Cache(tmp_path / "cache", limit=0)
        loaded = corpus.load([str(tmp_path / f"{number}.txt")], [], CHAR, cache=cache)
        return loaded.tokenizer.decode(np.concatenate([loaded.train.ids, loaded.val.ids])) == texts[number]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(load, [0, 1, 0, 2, 1, 0] * 10))


def test_numbers_grow_with_the_alphabet(tmp_path: Path) -> None:
    text = "".join(map(chr, [*range(32, 200), *range(0x4E00, 0x4E00 + 300), *range(0x10000, 0x10000 + 70_000)]))
    (tmp_path / "a.txt").write_text(text * 2, encoding="utf-8")
    loaded = corpus.load([str(tmp_path / "a.txt")], [], TextConfig(val_fraction=0.5))
    assert loaded.tokenizer.decode(loaded.train.ids) == text == loaded.tokenizer.decode(loaded.val.ids)
    assert loaded.train.ids.dtype == np.uint32
    assert loaded.train.bytes == len(text.encode())


def test_the_end_is_held_out_and_the_vocabulary_is_the_training_parts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab" * 45 + "z" * 10)
    loaded = corpus.load([str(tmp_path / "a.txt")], [], CHAR)
    assert loaded.tokenizer.vocabulary == ["<unk>", "a", "b"]
    assert (loaded.train.characters, loaded.val.characters, loaded.val.unknown) == (90, 10, 10)


def test_a_held_out_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab" * 45)
    (tmp_path / "v.txt").write_text("ba\xe9")
    loaded = corpus.load([str(tmp_path / "a.txt")], [str(tmp_path / "v.txt")], CHAR)
    assert (loaded.train.characters, loaded.val.characters, loaded.val.bytes) == (90, 3, 4)
    assert loaded.source.val_sha256 == hashlib.sha256("ba\xe9".encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "config", "kind", "words"),
    [
        (b"", CHAR, DataError, "empty"),
        (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", CHAR, DataError, "one distinct character"),
        (b"good\xffbad", CHAR, DataError, r"byte 4 \(0xFF\)"),
        ("text".encode("utf-16"), CHAR, DataError, "--encoding utf-16"),
        (b"text", TextConfig(encoding="klingon"), UsageError, "klingon"),
        (b"text", TextConfig(encoding="hex"), UsageError, "hex"),
        (b"abc", CHAR, DataError, "hold some out"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, config: TextConfig, kind: type, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(kind, match=words) as caught:
        corpus.load([str(tmp_path / "a.txt")], [], config)
    assert isinstance(caught.value, CharLSTMError)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="no such file"):
        corpus.load([str(tmp_path / "nothing.txt")], [], CHAR)
    with pytest.raises(DataError, match="folder with text"):
        corpus.load([str(tmp_path)], [], CHAR)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputOutputError, match="another --cache"):
        corpus.load([str(tmp_path / "file")], [], CHAR, cache=Cache(tmp_path / "file" / "cache"))


def test_settings_of_documents() -> None:
    assert [TextConfig(separator=text).between for text in (r"\n", r"\t--", r"\\n", "a")] == ["\n", "\t--", "\\n", "a"]
    with pytest.raises(UsageError, match="exclude"):
        TextConfig(separator="a", field="b")
    with pytest.raises(UsageError, match="at least one"):
        TextConfig(separator="")


def test_a_framed_model_reads_one_text_as_one_document(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("a single text")
    tokenizer = CharTokenizer("abcdefghijklmnopqrstuvwxyz", framed=True)
    split = corpus.load_text([str(tmp_path / "b.txt")], TextConfig(), tokenizer).split
    assert isinstance(split, corpus.Split)
    assert split.ids[[0, -1]].tolist() == [tokenizer.start_id, tokenizer.end_id]
    assert (split.documents, split.characters) == (1, 14)


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("kind", ["char", "byte"])
@given(st.binary(min_size=1, max_size=30) | st.text("ab\xe9\N{SNOWMAN}", min_size=1).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_a_text_in_memory_is_encoded_as_a_files(tmp_path: Path, framed: bool, kind: str, data: bytes) -> None:
    tokenizer = ByteTokenizer(framed=framed) if kind == "byte" else CharTokenizer("ab\xe9\0", framed=framed)
    assume(not data.startswith((b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")))  # a file would be decompressed
    (tmp_path / "a").write_bytes(data)
    config, cache = TextConfig(tokenizer=kind, encoding="utf-8"), empty(tmp_path)
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = corpus.load_text([str(tmp_path / "a")], config, tokenizer, cache=cache).split
    except DataError:
        assert kind == "char"  # not UTF-8, or nothing but a byte order mark, which is taken off
        return
    given = corpus.encode(text.removeprefix("\N{BYTE ORDER MARK}") if kind == "char" else text, tokenizer)
    assert given.ids.tolist() == read.ids.tolist()
    assert given.ids.dtype == read.ids.dtype
    assert given.bounds.tolist() == read.bounds.tolist()
    assert (given.characters, given.bytes, given.unknown) == (read.characters, read.bytes, read.unknown)


def test_any_text_in_memory_can_be_encoded() -> None:
    """A program may hand over what no file holds: half of a pair of surrogates, or nothing."""
    split = corpus.encode("a\ud800\udcff", CharTokenizer("a"))
    assert (split.characters, split.bytes, split.unknown) == (3, 3, 2)
    with pytest.raises(DataError, match="lone surrogate"):
        corpus.encode("a\ud800", ByteTokenizer())
    assert corpus.encode("", CharTokenizer("a")).characters == 0
    assert corpus.encode("", CharTokenizer("a", framed=True)).characters == 1

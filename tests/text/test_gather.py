"""Files to provisional numbers: what counting characters one by one says."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError
from charlstm.text import listing as listings
from charlstm.text.documents import split
from charlstm.text.files import File
from charlstm.text.gather import Gathered, Numbers, gather
from charlstm.text.labels import MOST
from charlstm.text.listing import Listed


def read(paths: list[Path], place: Path, config: TextConfig | None = None, block: int = 1 << 20) -> Gathered:
    files = listings.find([str(path) for path in paths]).chosen(once=True)
    return gather(files, config or TextConfig(), place, block=block)


def decoded(numbers: Numbers) -> str:
    """Return the text of numbers, without using any of the tokenizers."""
    return "".join(chr(numbers.alphabet[number]) for _, block in numbers.blocks() for number in block)


@pytest.mark.slow
@given(
    st.lists(
        st.text("abc\xe9\N{SNOWMAN}\N{GRINNING FACE}", min_size=1, max_size=20), min_size=1, max_size=6, unique=True
    ),
    st.integers(1, 9),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_numbers_count_what_the_files_hold(tmp_path: Path, texts: list[str], block: int) -> None:
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(text, encoding="utf-8")
    found = read(paths, tmp_path / "numbers", block=block)
    numbers, whole = found.numbers, "".join(texts)
    assert decoded(numbers) == whole
    assert numbers.ends.tolist() == np.cumsum([len(text) for text in texts]).tolist()
    counts = {chr(code): count for code, count in zip(numbers.alphabet, numbers.counts.tolist(), strict=True)}
    assert counts == dict(Counter(whole))
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert found.sha256 == (hashes[0] if len(texts) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest())
    for number, part in enumerate(split(numbers.ends, 0.5)):
        piece = "".join(whole[begin:end] for begin, end in zip(part.begins, part.ends, strict=True))
        if piece:
            extracted = numbers.extract(part, tmp_path / f"part {number}")
            assert decoded(extracted) == piece
            assert extracted.counts.tolist() == numbers.counted(part).tolist()
            counts = dict(zip(map(chr, numbers.alphabet), extracted.counts.tolist(), strict=True))
            assert +Counter(counts) == Counter(piece)


def test_a_file_that_turns_out_to_be_no_text_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("aab")
    (folder / "b.txt").write_bytes("\xe9bc".encode() * 200 + b"\xff")
    (folder / "c.txt").write_text("cab")
    for block in (7, 1 << 20):
        found = read([folder], tmp_path / "numbers", block=block)
        assert decoded(found.numbers) == "aabcab"
        assert found.numbers.ends.tolist() == [3, 6]
        assert [position for position, _ in found.skipped] == [1]
        counts = dict(zip(map(chr, found.numbers.alphabet), found.numbers.counts.tolist(), strict=True))
        assert {character: count for character, count in counts.items() if count} == {"a": 3, "b": 2, "c": 1}
    with pytest.raises(DataError, match=r"byte 800 \(0xFF\)"):  # named by the user, it has to be text
        read([folder / "b.txt"], tmp_path / "numbers")


def test_numbers_widen_as_new_characters_come(tmp_path: Path) -> None:
    text = "".join(map(chr, [*range(0x4E00, 0x4E00 + 300), *range(0x10000, 0x10000 + 66_000)]))
    (tmp_path / "a.txt").write_text(text + text[::-1], encoding="utf-8")
    numbers = read([tmp_path / "a.txt"], tmp_path / "numbers", block=1000).numbers
    assert numbers.dtype == np.uint32
    assert decoded(numbers) == text + text[::-1]
    assert set(numbers.counts.tolist()) == {2}


def test_bytes_are_their_own_numbers(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 2)
    numbers = read([tmp_path / "a"], tmp_path / "numbers", TextConfig(tokenizer="byte")).numbers
    assert (tmp_path / "numbers").read_bytes() == bytes(range(256)) * 2
    assert numbers.alphabet.tolist() == list(range(256))
    assert numbers.counts.tolist() == [2] * 256


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("new")
    listed = Listed(File(str(tmp_path / "a.txt"), found=False), hashlib.sha256(b"old").hexdigest(), None)
    with pytest.raises(InputOutputError, match="changed while it was read"):
        gather([listed], TextConfig(), tmp_path / "numbers")


def test_the_reading_is_told_in_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name * 10)
    told: list[tuple[int, int]] = []
    files = listings.find([str(tmp_path / name) for name in "ab"]).every
    gather(files, TextConfig(), tmp_path / "numbers", watch=lambda read, total: told.append((read, total)), block=8)
    assert told == [(8, 20), (10, 20), (18, 20), (20, 20)]


def test_too_many_labels_are_an_error_in_the_files_of_a_folder_too(tmp_path: Path) -> None:
    for number in range(MOST + 3):
        (tmp_path / f"n{number:04}.txt").write_text(f"text {number}")
    with pytest.raises(DataError, match=rf"n{MOST}\.txt: more than 1,000 different labels.*; name a --label-field"):
        read([tmp_path], tmp_path / "gathered", TextConfig(label_from="file"))

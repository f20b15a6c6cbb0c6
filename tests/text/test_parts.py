"""Provisional numbers to ids: how often the text is read for it, and whose vocabulary they are of."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.config import TextConfig
from charlstm.errors import DataError
from charlstm.text import listing as listings
from charlstm.text import parts
from charlstm.text.gather import Numbers, gather
from charlstm.text.parts import Written
from charlstm.text.tokenizer import Ids


class Watched(Numbers):
    """Numbers that say how many of them are read, and from which file."""

    reads: ClassVar[Counter[str]] = Counter()

    def read(self, begin: int, end: int) -> Ids:
        self.reads[self.file.name] += min(end, self.length) - begin
        return super().read(begin, end)


def gathered(text: str, folder: Path, config: TextConfig, block: int = 1 << 20) -> Numbers:
    """Return the numbers of a text."""
    (folder / "a.txt").write_text(text, encoding="utf-8")
    numbers = gather(listings.find([str(folder / "a.txt")]).every, config, folder / "gathered", block=block).numbers
    Watched.reads.clear()
    return Watched(**vars(numbers))


def write(text: str, folder: Path, config: TextConfig, **settings: float) -> Written:
    return parts.write(gathered(text, folder, config), config, None, folder, **settings)


TEXT = "\n".join(f"line {number * 7919 % 10_007} of a text of many lines" for number in range(20_000))
AHEAD = 1.05  # beside each block, what a pattern that begins at its end goes on in


@pytest.mark.parametrize("deduplicate", [None, False])
def test_a_text_is_read_once_to_be_written_and_searched(tmp_path: Path, deduplicate: bool | None) -> None:
    """What is held out, the end, is copied first, and read from its own file."""
    config = TextConfig(deduplicate=deduplicate)
    written = parts.write(gathered(TEXT, tmp_path, config, 65_536), config, None, tmp_path, share=0.1)
    assert written.overlap.of == 1
    assert Watched.reads["gathered"] <= AHEAD * len(TEXT) + 0.1 * len(TEXT) + 65_536
    assert Watched.reads["held-out"] <= 3.1 * 0.1 * len(TEXT)  # taken in, compared, and written


def test_documents_from_everywhere_are_read_once_more_to_copy_them(tmp_path: Path) -> None:
    config = TextConfig(separator=r"\n")
    written = parts.write(gathered(TEXT, tmp_path, config, 65_536), config, None, tmp_path, share=0.1)
    assert written.overlap.of > 1000
    assert Watched.reads["gathered"] <= 2.01 * len(TEXT)
    assert Watched.reads["held-out"] <= 4 * 0.1 * len(TEXT)


def test_without_a_held_out_part_the_text_is_read_once(tmp_path: Path) -> None:
    parts.write(gathered(TEXT, tmp_path, TextConfig(), 65_536), TextConfig(), None, tmp_path)
    assert Watched.reads == {"gathered": len(TEXT)}


@given(st.text("abcde\xe9\N{SNOWMAN}", min_size=20, max_size=90), st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_the_vocabulary_is_what_the_training_part_has_often_enough(tmp_path: Path, text: str, least: int) -> None:
    train, val = text[: len(text) - len(text) // 10], text[len(text) - len(text) // 10 :]
    try:
        written = write(text, tmp_path, TextConfig(min_count=least), share=0.1)
    except DataError:
        assert len(set(train)) < 2
        return
    known = sorted(character for character, count in Counter(train).items() if count >= least)
    assert written.tokenizer.vocabulary == ["<unk>", *known]
    ranks = {character: rank for rank, character in enumerate(known, start=1)}
    for number, part in enumerate((train, val)):
        ids = np.fromfile(tmp_path / f"{number}.ids", np.uint8)
        assert ids.tolist() == [ranks.get(character, 0) for character in part]
        unknown = sum(character not in ranks for character in part)
        assert written.sizes[number] == {"characters": len(part), "bytes": len(part.encode()), "unknown": unknown}
        assert np.load(tmp_path / f"{number}.npy").tolist() == [0, len(part)]


def test_documents_left_out_of_the_held_out_part_are_not_counted(tmp_path: Path) -> None:
    config = TextConfig(separator=r"\n")
    texts = [f"name{number % 50}" for number in range(100)] + [f"other{number}" for number in range(100)]
    written = write("\n".join(texts), tmp_path, config, share=0.2)
    assert written.overlap.dropped
    assert 0 < written.overlap.documents < written.overlap.of
    ids, bounds = np.fromfile(tmp_path / "1.ids", np.uint8), np.load(tmp_path / "1.npy")
    kept = [written.tokenizer.decode(ids[begin + 1 : end - 1]) for begin, end in itertools.pairwise(bounds)]
    assert len(kept) == written.overlap.of - written.overlap.documents
    assert written.sizes[1]["characters"] == sum(map(len, kept)) + len(kept) == written.sizes[1]["bytes"]


def test_nothing_but_the_parts_is_left_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    numbers = gathered(TEXT, tmp_path, TextConfig())
    written = parts.write(numbers, TextConfig(), None, folder, share=0.1)
    assert sorted(path.name for path in folder.iterdir()) == ["0.ids", "0.npy", "1.ids", "1.npy"]
    summary = json.loads(json.dumps(written.summary()))
    assert summary["characters"] == len(TEXT)
    assert summary["vocabulary"] == written.tokenizer.vocabulary
    assert len(summary["parts"]) == 2

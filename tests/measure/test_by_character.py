"""Where a model fails, against what is worked out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig, TextConfig
from charlstm.measure import read, scoring
from charlstm.measure.by_character import Failures, Observer
from charlstm.measure.read import Reader
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.text import corpus
from charlstm.text.batches import IGNORE, Batch
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.conftest import Command, fitted

CPU = Device("cpu", "fp32")


def observed(split: Split, tokenizer: Tokenizer, windows: list[tuple[torch.Tensor, Batch]]) -> Failures:
    observer = Observer(split, tokenizer)
    for each in scoring.scored(windows, tokenizer):
        observer.add(each)
    return observer.found()


def window(probabilities: list[list[float]], targets: list[int], first: int = 0) -> tuple[torch.Tensor, Batch]:
    ids = np.array(targets)[:, None]
    positions = first + np.arange(len(ids))[:, None]
    batch = Batch(ids, ids, positions, np.zeros(1, bool), int((ids != IGNORE).sum()))
    return torch.tensor(probabilities).log()[:, None], batch


def test_by_hand() -> None:
    tokenizer = CharTokenizer("aB")  # ids: <unk> 0, a 1, B 2
    split = corpus.encode("aBBa", tokenizer)
    found = observed(
        split,
        tokenizer,
        [
            window([[0.05, 0.85, 0.10], [0.02, 0.83, 0.15]], [1, 2]),  # right, wrong: said 0.84 on average, came 1/2
            window([[0.3, 0.25, 0.45], [0.0001, 0.9998, 0.0001]], [2, 1], 2),
        ],
    )
    a, capital = -math.log2(0.85) - math.log2(0.9998), -math.log2(0.15) - math.log2(0.45)
    assert [(kind.name, kind.characters) for kind in found.kinds] == [("capitals", 2), ("small letters", 2)]
    assert [kind.bits for kind in found.kinds] == pytest.approx([capital, a], rel=1e-5)
    assert [kind.bits_per_character for kind in found.kinds] == pytest.approx([capital / 2, a / 2], rel=1e-5)
    assert [(one.least, one.count) for one in found.bins] == [(0.4, 1), (0.8, 2), (0.9, 1)]
    assert [one.confidence for one in found.bins] == pytest.approx([0.45, 0.84, 0.9998])
    assert [one.accuracy for one in found.bins] == [1, 0.5, 1]
    assert found.accuracy == 0.75
    assert found.calibration_error == pytest.approx((0.55 + 2 * 0.34 + 0.0002) / 4)
    worst = found.places[0]
    assert (worst.position, worst.before, worst.character, worst.after) == (1, "a", "B", "Ba")
    assert worst.expected == "a"
    assert [worst.bits, worst.probability] == pytest.approx([-math.log2(0.15), 0.83])


def test_places_that_are_alike_are_shown_as_one() -> None:
    tokenizer = CharTokenizer("abcdefgh")
    split = corpus.encode("abcdefgh" * 3, tokenizer)
    flat = [[1 / 9] * 9] * 24
    found = observed(split, tokenizer, [window(flat, split.ids.tolist())])
    times = {(place.before[-6:] + place.character): place.times for place in found.places}
    assert times["bcdefgh"] == 3
    assert times["a"] == 1  # the text's beginning is like nothing else
    assert sum(place.times for place in found.places) <= 24


@pytest.mark.parametrize("kind", ["char", "byte", "framed"])
def test_the_kinds_are_all_of_the_score(text: str, kind: str) -> None:
    part = text[:9000].replace("e", "\N{LATIN SMALL LETTER E WITH ACUTE}").replace("q", "\N{GRINNING FACE}")
    tokenizer: Tokenizer = ByteTokenizer() if kind == "byte" else fitted(part[:900], framed=kind == "framed")
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(hidden_size=16, embedding_size=8), tokenizer)
    split = corpus.encode(part, tokenizer)
    observer = Observer(split, tokenizer)
    windows = read.windows(Reader(model, tokenizer, CPU), split)
    total = scoring.measured(windows, split, tokenizer, observers=[observer]).score
    found = observer.found()
    assert sum(one.bits for one in found.kinds) * math.log(2) == pytest.approx(total.nats)
    assert sum(one.characters for one in found.kinds) == total.characters
    by_name = {one.name: one.characters for one in found.kinds}
    if kind != "char":
        assert by_name.get("ends", 0) == (kind == "framed")
    if kind == "byte":
        assert by_name["beyond ASCII"] == sum(ord(character) > 127 for character in part)
    else:
        assert by_name["unknown"] == total.unknown > 0
    assert by_name["digits"] == sum(
        character.isdigit() for character in part if character in set(part[:900]) or kind == "byte"
    )
    assert len(found.places) == 10
    assert [place.bits for place in found.places] == sorted((place.bits for place in found.places), reverse=True)


def test_a_place_is_shown_within_its_document(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("anna\nbob\n")
    tokenizer = CharTokenizer("abno", framed=True)
    split = corpus.load_text([str(tmp_path / "names.txt")], TextConfig(separator=r"\n"), tokenizer).split
    at = int(split.bounds[1]) + 2  # the o
    targets = [int(split.ids[at])]
    found = observed(split, tokenizer, [window([[1 / 7] * 7], targets, at)])
    place = found.places[0]
    assert (place.before.strip("\n"), place.character, place.after.strip("\n")) == ("b", "o", "b")


def test_bytes_that_are_no_character_are_counted_and_told_apart(charlstm: Command, tmp_path: Path) -> None:
    raw = bytes([0x80, 0x41, 0xBF]) * 700
    (tmp_path / "raw").write_bytes(raw)
    assert charlstm("train", "raw", "--tokenizer=byte", "--steps=3", "--hidden-size=8", "--batch-size=4").code == 0
    row = json.loads(charlstm("eval", "raw", "--by-character", "--json").out)
    assert sum(kind["bits"] for kind in row["by_character"]["kinds"]) * math.log(2) == pytest.approx(row["nats"])
    shown = {ord(place["character"]) for place in row["by_character"]["places"]}
    assert shown <= {0xDC80, 0x41, 0xDCBF}
    assert charlstm("eval", "raw", "--by-character").code == 0


def test_eval_shows_where_a_model_fails(charlstm: Command, trained: Path) -> None:
    shown = charlstm("eval", trained, "--by-character")
    assert shown.code == 0, shown.err
    for words in ("By kind of character", "The most surprising places", "Expected calibration error"):
        assert words in shown.out
    assert max(map(len, shown.out.partition("\n\n")[2].splitlines())) <= 60
    row = json.loads(charlstm("eval", trained, "--by-character", "--json").out)
    found = row["by_character"]
    assert sum(kind["bits"] for kind in found["kinds"]) * math.log(2) == pytest.approx(row["nats"])
    assert 0 < found["calibration_error"] < 1
    assert 0 < found["accuracy"] < 1

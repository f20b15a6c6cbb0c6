"""Which voice: against Bayes' rule by hand, and against single steps on numpy."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig, SampleConfig, TextConfig
from charlstm.measure import by_label as labels_report
from charlstm.measure import read, score, scoring
from charlstm.measure.abreast import Sizes
from charlstm.measure.read import Reader
from charlstm.measure.voices import Piece, Tally, Verdict, of_lines, of_records, verdicts
from charlstm.network.cells import CELLS
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.sample import drawn_label, opened, write
from charlstm.text import corpus, files
from charlstm.text.files import Block
from charlstm.text.tokenizer import Tokenizer, code_points
from tests.conftest import fitted

CPU = Device("cpu", "fp32")
TEXT = "first\n\na longer line, of more than twenty characters\n  x\nand the last"
COUNTS = {"ann": 3, "bob": 1, "cy": 6}
TOKENIZER = fitted(TEXT, framed=True).labelled(COUNTS)


def build(tokenizer: Tokenizer, **options: object) -> CharLSTM:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(**{"hidden_size": 24, "embedding_size": 8} | options), tokenizer).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
        assert model.labels is not None
        model.labels.weight.normal_()
    model.pin()
    return model


def stepper(model: CharLSTM, tokenizer: Tokenizer) -> Stepper:
    return Stepper(model.config, tokenizer, {name: weight.numpy() for name, weight in model.state_dict().items()})


def by_hand(model: CharLSTM, text: str, tokenizer: Tokenizer = TOKENIZER) -> list[float]:
    """Return P(label | text) from the product of the probabilities of each character."""
    joint = []
    for label, count in tokenizer.counts_by_label.items():
        ids = [*tokenizer.opened(label), *tokenizer.encode(text).tolist(), tokenizer.end_id]
        with torch.inference_mode():
            logits, _ = model.double()(torch.tensor(ids)[:, None], model.zero_state(1))
        likely = logits[1:-1, 0].softmax(-1)
        joint.append(count * math.prod(float(likely[at, id]) for at, id in enumerate(ids[2:])))
    model.float()
    return [each / sum(joint) for each in joint]


def blocks(text: str, size: int) -> Iterator[Block]:
    for begin in range(0, len(text), size):
        yield Block(code_points(text[begin : begin + size]), np.zeros(0, np.int64), 0)


def test_bayes_by_a_table() -> None:
    """Three of four documents are ann's; the text is twice as likely with bob: 3 x 1 to 1 x 2."""
    assert score.posterior(np.array([math.log(2), 0.0]), [3, 1]) == pytest.approx([0.6, 0.4])
    sure = score.posterior(np.array([5000.0, 5001.0, 9000.0]), [1, 1, 1])
    assert sure == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [1, 9, 1000])
@pytest.mark.parametrize("piece", [4, 1000])
def test_each_line_against_the_products_of_its_characters(cell: str, size: int, piece: int) -> None:
    model = build(TOKENIZER, cell=cell)
    documents = of_lines(blocks(TEXT, size), "bob")
    found = [each for group in verdicts(Reader(model, TOKENIZER, CPU), documents, Sizes(piece=piece)) for each in group]
    lines = TEXT.split("\n")
    assert [each.beginning for each in found] == lines
    engine = stepper(model, TOKENIZER)
    for verdict, line in zip(found, lines, strict=True):
        expected = by_hand(model, line)
        assert verdict.probabilities.tolist() == pytest.approx(expected, rel=2e-4)
        nats = score.by_label(engine, TOKENIZER.encode(line).tolist(), TOKENIZER)
        assert score.posterior(nats, TOKENIZER.label_counts).tolist() == pytest.approx(expected, rel=2e-4)
        assert (verdict.best, verdict.given) == (TOKENIZER.labels[int(np.argmax(expected))], "bob")


def test_more_labels_than_are_read_side_by_side() -> None:
    tokenizer = fitted(TEXT, framed=True).labelled({f"{n:03}": n + 1 for n in range(150)})
    model = build(tokenizer)
    documents = [[Piece(code_points(line), True) for line in (TEXT, "", "last")]]
    (found,) = verdicts(Reader(model, tokenizer, CPU), documents, Sizes(piece=16, together=64, window=64))
    for verdict, line in zip(found, (TEXT, "", "last"), strict=True):
        assert verdict.probabilities.tolist() == pytest.approx(by_hand(model, line, tokenizer), rel=5e-4)


def test_records_have_labels_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"text": "a", "who": "ann"}, {"text": ""}, {"text": "last", "who": "dan"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = TextConfig(field="text", label_field="who")
    for block in (1, 1000):
        read = files.blocks(files.File(str(file), False), config, files.Ignored(), block=block, unlabelled=True)
        pieces = [piece for group in of_records(read, "else") for piece in group]
        assert [(len(piece.codes), piece.ends, piece.label) for piece in pieces] == [
            (1, True, "ann"),
            (0, True, "else"),
            (4, True, "dan"),
        ]


def test_a_tally_by_hand() -> None:
    tally = Tally(("a", "b"))
    for given, first in (("a", 0.9), ("a", 0.2), ("b", 0.4), (None, 0.5), ("c", 0.7)):
        tally.add(Verdict(("a", "b"), np.array([first, 1 - first]), given, ""))
    assert (tally.documents, tally.labelled, tally.right) == (5, 3, 2)
    assert tally.confusion == {"a": {"a": 1, "b": 1}, "b": {"b": 1}}
    assert dict(tally.strangers) == {"c": 1}


def test_bits_by_label_add_up(tmp_path: Path) -> None:
    rows = [{"text": line, "who": who} for line in TEXT.split("\n") for who in ("ann", "bob", None, "dan")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = TextConfig(field="text", label_field="who")
    text = corpus.load_text([str(tmp_path / "a.jsonl")], config, TOKENIZER).split
    assert labels_report.is_labelled(text, TOKENIZER)
    model = build(TOKENIZER)
    reader = Reader(model, TOKENIZER, CPU)
    total = scoring.evaluate(reader, text)

    class Opened:
        tokenizer = TOKENIZER

    report = labels_report.ByLabelReport(type("Subject", (), {"text": text, "loaded": Opened})())  # type: ignore[arg-type]
    for window in scoring.scored(read.windows(reader, text), TOKENIZER):
        report.add(window)
    voices = report.measure(lambda _: None)
    assert [(voice.label, voice.documents) for voice in voices] == [("ann", 4), ("bob", 4), (None, 8)]
    assert sum(voice.bits for voice in voices) == pytest.approx(total.nats / math.log(2), rel=1e-5)
    engine = stepper(model, TOKENIZER)
    for voice in voices:
        nats = [
            score.nats(engine, [*TOKENIZER.encode(line).tolist(), TOKENIZER.end_id], TOKENIZER, voice.label).sum()
            for line in TEXT.split("\n")
            if line
        ]
        assert voice.bits == pytest.approx(sum(nats) / math.log(2) * voice.documents / len(nats), rel=1e-4)
        each = sum(len(line) + 1 for line in TEXT.split("\n") if line)
        assert voice.characters == each * voice.documents // len(nats)


def test_labels_are_drawn_by_frequency_and_by_the_seed() -> None:
    drawn = [drawn_label(TOKENIZER, seed) for seed in range(2000)]
    for label, count in COUNTS.items():
        assert drawn.count(label) / 2000 == pytest.approx(count / 10, abs=0.04)
    assert drawn[:50] == [drawn_label(TOKENIZER, seed) for seed in range(50)]
    assert drawn_label(fitted(TEXT, framed=True), 1) is None


def test_texts_side_by_side_have_the_labels_that_they_have_alone() -> None:
    engine = stepper(build(TOKENIZER), TOKENIZER)
    config = SampleConfig(length=20)

    def texts(seed: int, count: int) -> list[str]:
        found = [""] * count
        for piece in write(opened(engine, TOKENIZER, seed, count), TOKENIZER, config, seed):
            found[piece.stream] += piece.text
        return found

    assert texts(5, 6) == [texts(seed, 1)[0] for seed in range(5, 11)]

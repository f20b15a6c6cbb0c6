"""Signals against single steps, against torch's own kernels, and against what the Python door says."""

import math

import numpy as np
import pytest
import torch

from charlstm.api import Model
from charlstm.errors import DataError, UsageError
from charlstm.measure.inside import signals
from charlstm.measure.inside.signals import Reading, read, read_text
from charlstm.network.cells import CELLS
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer
from tests.measure.inside.models import KNOWN, ids_of, loaded, model, opened

CHARS = CharTokenizer(KNOWN)
FRAMED = CharTokenizer(KNOWN, framed=True)


def all_of(it: Loaded, text: str, **options: int) -> Reading:
    layers = range(1, it.config.model.num_layers + 1)
    return read_text(it, text, layers=layers, units=range(24), wanted=signals.names(it.config.model.cell), **options)


def test_names_are_the_gates_then_the_state() -> None:
    assert {cell: "".join(signals.names(cell)) for cell in CELLS} == {
        "lstm": "ifgoch",
        "peephole": "ifgoch",
        "coupled": "fgoch",
        "gru": "rznh",
        "rnn": "h",
    }


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_states_are_those_of_single_steps_and_of_torch(text: str, cell: str, num_layers: int) -> None:
    torch_model = model(CHARS, cell, num_layers)
    it = opened(torch_model, CHARS)
    part = text[:80]
    reading = all_of(it, part)
    state, torch_state = it.engine.zero_state(), torch_model.zero_state(1)
    for at, id in enumerate([CHARS.start_id, *CHARS.encode(part).tolist()], -1):
        _, state = it.engine.step(id, state)
        with torch.no_grad():
            _, torch_state = torch_model(torch.tensor([[id]]), torch_state)
        if at < 0:
            continue
        for layer in range(num_layers):
            for name, ours, theirs in zip("hc", state[layer], torch_state[layer], strict=False):
                found = reading.values[layer + 1, name][at]
                assert found.tobytes() == ours.tobytes()
                np.testing.assert_allclose(found, theirs[0, 0].numpy(), rtol=1e-5, atol=1e-5)


def test_gates_make_the_state_that_is_told(text: str) -> None:
    reading = all_of(loaded(CHARS, "lstm", 2), text[:100])
    for layer in (1, 2):
        i, f, g, o, c, h = (reading.values[layer, name] for name in "ifgoch")
        before = np.concatenate([[reading.before[layer - 1][1]], c[:-1]])
        np.testing.assert_allclose(c, f * before + i * g, atol=1e-6)
        np.testing.assert_allclose(h, o * np.tanh(c), atol=1e-6)


def test_surprise_and_characters_are_as_given_if_some_are_unknown(text: str) -> None:
    it, part = loaded(CHARS), text[:60] + "\N{SNOWMAN}\x1b[31m" + text[60:90]
    reading = all_of(it, part)
    np.testing.assert_array_equal(reading.surprise, Model(it).surprise(part))
    assert reading.text == part
    assert [letter for letter, known in zip(part, reading.known, strict=True) if not known] == [
        letter for letter in part if letter not in KNOWN
    ]
    assert reading.surprise[60] > math.log2(1_000_000)
    without = read(it.engine, CHARS, CHARS.encode(part), layers=[], units=[], wanted=[])
    assert without.characters[60] == "\N{REPLACEMENT CHARACTER}"


def test_a_character_of_several_bytes_has_one_value() -> None:
    tokenizer = ByteTokenizer()
    it = loaded(tokenizer)
    part = "na\u00efve \u6f22\U0001f600 \udcff\udce2x"  # two bytes that belong to no character
    reading = all_of(it, part)
    assert reading.text == part
    assert reading.known.all()
    np.testing.assert_allclose(reading.surprise, Model(it).surprise(part), rtol=1e-12)
    state, at = it.engine.zero_state(), 0
    _, state = it.engine.step(tokenizer.start_id, state)
    for at, character in enumerate(part):
        for id in tokenizer.encode(character).tolist():
            _, state = it.engine.step(id, state)
        assert reading.values[1, "c"][at].tobytes() == state[0][1].tobytes()


def test_bytes_cut_within_a_character_are_read() -> None:
    it = loaded(ByteTokenizer())
    ids = list("\u6f22x\u6f22".encode())[1:-1]
    reading = read(it.engine, it.tokenizer, ids, layers=[1], units=[0], wanted=["h"])
    assert reading.characters == ("\udcbc", "\udca2", "x", "\udce6", "\udcbc")


@pytest.mark.parametrize("tokenizer", [FRAMED, ByteTokenizer(framed=True)], ids=["char", "byte"])
@pytest.mark.parametrize("cell", CELLS)
def test_documents_do_not_see_one_another(cell: str, tokenizer: CharTokenizer | ByteTokenizer) -> None:
    it = loaded(tokenizer, cell, 2)
    documents = ["The first.", "a\u00e9b" if tokenizer.kind == "byte" else "The second one."]
    kept = {"layers": [1, 2], "units": range(24), "wanted": signals.names(cell)}
    reading = read(it.engine, tokenizer, ids_of(tokenizer, documents), **kept, text="".join(documents))
    assert reading.characters == (*documents[0], "<end>", *documents[1], "<end>")
    assert reading.text == "".join(f"{document}\n" for document in documents)
    alone = read(it.engine, tokenizer, ids_of(tokenizer, documents[1:]), **kept)
    after = len(documents[0]) + 1
    np.testing.assert_array_equal(reading.surprise[after:], alone.surprise)
    for key, values in alone.values.items():
        np.testing.assert_array_equal(reading.values[key][after:], values)
    # A stretch that lacks the frame of its beginning is read from the beginning of a document all the same.
    bare = read(it.engine, tokenizer, ids_of(tokenizer, documents)[1:], **kept)
    np.testing.assert_array_equal(bare.surprise, reading.surprise)


def test_the_end_of_a_document_is_scored_as_an_evaluation_does(text: str) -> None:
    it = loaded(FRAMED)
    reading = read(it.engine, FRAMED, ids_of(FRAMED, [text[:50]]), layers=[], units=[], wanted=[])
    ids = [*FRAMED.encode(text[:50]).tolist(), FRAMED.end_id]
    state, expected = it.engine.zero_state(), []
    for id in FRAMED.opening:
        output, state = it.engine.step(id, state)
    for id in ids:
        scores = torch.from_numpy(it.engine.logits(output)).double()
        expected.append(float(-scores.log_softmax(-1)[id]) / math.log(2))
        output, state = it.engine.step(id, state)
    for at, id in enumerate(ids):
        expected[at] += FRAMED.unknown_nats / math.log(2) * (id == 0)
    np.testing.assert_allclose(reading.surprise, expected, rtol=1e-9)


@pytest.mark.parametrize("tokenizer", [CHARS, ByteTokenizer()], ids=["char", "byte"])
def test_what_is_read_first_is_not_kept_but_remembered(text: str, tokenizer: CharTokenizer | ByteTokenizer) -> None:
    it, part = loaded(tokenizer), "\u00e9" + text[:70]
    whole, rest = all_of(it, part), all_of(it, part, begin=30)
    assert rest.text == part[30:]
    np.testing.assert_array_equal(rest.surprise, whole.surprise[30:])
    for key, values in rest.values.items():
        np.testing.assert_array_equal(values, whole.values[key][30:])
    assert rest.before[0][1].tobytes() == whole.values[1, "c"][29].tobytes()


def test_pieces_are_parts_of_the_whole(text: str) -> None:
    it, part = loaded(CHARS), text[:600]
    kept = {"layers": [1], "units": [5, 2], "wanted": ["c"]}
    pieces = list(signals.stream(it.engine, CHARS, CHARS.encode(part), **kept, text=part))
    assert [len(piece.characters) for piece in pieces] == [256, 256, 88]
    whole = read_text(it, part, **kept)
    assert whole.values.keys() == {(1, "c")}
    assert whole.values[1, "c"].shape == (600, 2)
    assert whole.signal(1, 2, "c").values.tobytes() == all_of(it, part).values[1, "c"][:, 2].tobytes()
    again = signals.joined(pieces)
    np.testing.assert_array_equal(again.surprise, whole.surprise)
    np.testing.assert_array_equal(again.values[1, "c"], whole.values[1, "c"])
    assert again.text == part


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [3]}, "layer 3: this model's layers are 1 to 2"),
        ({"layers": [0]}, "layer 0: this model's layers are 1 to 2"),
        ({"units": [24]}, "unit 24: a layer of this model has units 0 to 23"),
        ({"units": [-1]}, "unit -1"),
        ({"wanted": ["c"]}, "signal 'c': a unit of this model has r, z, n, h"),
        ({"begin": 3}, "begin 3: the text has characters 0 to 2"),
    ],
)
def test_what_there_is_not(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_text(loaded(CHARS, "gru", 2), "abc", **{"layers": [1], "units": [0], "wanted": ["h"]} | options)


def test_an_empty_text() -> None:
    with pytest.raises(DataError, match="the text is empty"):
        all_of(loaded(CHARS), "")

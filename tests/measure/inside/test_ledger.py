"""Ledgers against their sum, against the sum written out, and where a document ends."""

import numpy as np
import pytest

from charlstm.errors import UsageError
from charlstm.measure.inside.ledger import ledger, needed
from charlstm.measure.inside.signals import Reading, names, read, read_text
from charlstm.network.cells import CELLS
from charlstm.text.tokenizer import CharTokenizer
from tests.measure.inside.models import KNOWN, ids_of, loaded

CHARS = CharTokenizer(KNOWN)
KEEPING = [cell for cell in CELLS if cell != "rnn"]


def read_all(text: str, cell: str, begin: int = 0) -> Reading:
    it = loaded(CHARS, cell, 2)
    return read_text(it, text, layers=[1, 2], units=range(24), wanted=names(cell), begin=begin)


@pytest.mark.parametrize("cell", KEEPING)
def test_shares_are_the_sum_written_out(text: str, cell: str) -> None:
    reading, at = read_all(text[:90], cell, begin=20), 60
    signal = needed(cell)[1]
    for layer in (1, 2):
        for unit in range(24):
            found = ledger(reading, cell, layer, unit, at)
            gates = {name: reading.signal(layer, unit, name).values.astype(float) for name in names(cell)}
            written = {
                "gru": lambda t, gates=gates: (1 - gates["z"][t]) * gates["n"][t],
                "coupled": lambda t, gates=gates: (1 - gates["f"][t]) * gates["g"][t],
            }.get(cell, lambda t, gates=gates: gates["i"][t] * gates["g"][t])
            keep = gates["z" if cell == "gru" else "f"]
            before = reading.before[layer - 1][0 if cell == "gru" else 1][unit]
            np.testing.assert_allclose(
                found.shares, [written(t) * np.prod(keep[t + 1 : at + 1]) for t in range(at + 1)], atol=2e-6
            )
            assert found.carried == pytest.approx(before * np.prod(keep[: at + 1]), abs=1e-9)
            assert found.value == gates[signal][at]
            assert found.value == pytest.approx(found.carried + found.shares.sum(), abs=1e-9)
            assert (found.layer, found.unit, found.signal, found.at) == (layer, unit, signal, at)


@pytest.mark.slow
@pytest.mark.parametrize("cell", KEEPING)
def test_ten_thousand_characters_add_up(text: str, cell: str) -> None:
    it = loaded(CHARS, cell, with_ngrams=False)
    reading = read_text(it, text[:10_001], layers=[1], units=range(24), wanted=needed(cell), begin=1)
    for unit in range(24):
        found = ledger(reading, cell, 1, unit, 9_999)
        assert len(found.shares) == 10_000
        assert found.value == pytest.approx(found.carried + found.shares.sum(), abs=1e-5)


def test_a_ledger_at_the_first_character() -> None:
    reading = read_all("abc", "lstm", begin=1)
    found = ledger(reading, "lstm", 1, 3, 0)
    assert found.value == pytest.approx(found.carried + found.shares[0], abs=1e-12)
    assert found.carried == pytest.approx(float(reading.before[0][1][3] * reading.values[1, "f"][0, 3]))


@pytest.mark.parametrize(("cell", "after"), [("lstm", 0), ("peephole", 0), ("coupled", 1), ("gru", 1)])
def test_nothing_outlasts_a_document(cell: str, after: float) -> None:
    tokenizer = CharTokenizer(KNOWN, framed=True)
    it = loaded(tokenizer, cell)
    ids = ids_of(tokenizer, ["one", "another"])
    reading = read(it.engine, tokenizer, ids, layers=[1], units=range(24), wanted=names(cell))
    for unit in range(24):
        end = ledger(reading, cell, 1, unit, 3)
        assert (end.value, end.shares[3]) == (after, after)
        later = ledger(reading, cell, 1, unit, 8)
        assert not later.shares[:3].any()
        assert later.carried == 0
        assert later.shares[4:].any()


def test_what_has_no_ledger() -> None:
    reading = read_all("abc", "rnn")
    with pytest.raises(UsageError, match="a unit of the cell rnn computes its state anew"):
        ledger(reading, "rnn", 1, 0, 0)
    with pytest.raises(UsageError, match="at 3: the passage has characters 0 to 2"):
        ledger(read_all("abc", "lstm"), "lstm", 1, 0, 3)

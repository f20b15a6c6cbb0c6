"""The views of a network's inside, drawn from readings made by hand."""

import contextlib
import io
import math
import re

import numpy as np
import pytest

from charlstm.measure.inside.ledger import Ledger
from charlstm.measure.inside.lookback import Lookback
from charlstm.measure.inside.overview import Overview, Saturation, TimeScale
from charlstm.measure.inside.signals import Reading
from charlstm.show import inside, layers
from charlstm.show.canvas import Canvas
from charlstm.show.characters import columns
from charlstm.show.inside import Moment
from charlstm.show.terminal import Output
from charlstm.text.tokenizer import END

TEXT = "Good morrow,\n漢字 e\u0301\t\x1b[2J neighbour\u202e Baptista, how is it?"


def reading(text: str = TEXT, units: int = 4) -> Reading:
    source = np.random.default_rng(0)
    values = {(1, name): source.uniform(-1, 1, (len(text), units)).astype(np.float32) for name in "ch"}
    bits = np.arange(len(text)) % 9 + 0.5
    return Reading(tuple(text), np.array([each != "漢" for each in text]), bits, values, tuple(range(units)), [])


def drawing_on(stream: io.StringIO) -> Canvas:
    with contextlib.redirect_stdout(stream):
        return Canvas(Output())


class Paper(io.StringIO):
    """What is drawn on."""

    def lines(self, width: int) -> list[str]:
        """Return what was drawn: no wider than the canvas, and nothing in it steers a terminal."""
        assert not set(self.getvalue()) & {"\x1b", "\r", "\t", "\u202e"}
        found = self.getvalue().splitlines()
        assert [line for line in found if columns(line) > width] == []
        return found


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture(params=[20, 30, 60, 100])
def canvas(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, paper: Paper) -> Canvas:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return drawing_on(paper)


def moments(read: Reading, names: str) -> list[Moment]:
    return [
        Moment(character, bool(known), float(bits), tuple(float(read.values[1, name][at, 0]) for name in names))
        for at, (character, known, bits) in enumerate(zip(read.characters, read.known, read.surprise, strict=True))
    ]


def test_the_rows_of_a_passage_are_aligned(canvas: Canvas, paper: Paper) -> None:
    read = reading()
    inside.passage(canvas, moments(read, "ch"), ["c", "h"])
    found = paper.lines(canvas.width)
    digits = {name: "".join(line[5:] for line in found if line.startswith(f"{name} ")) for name in "ch"}
    for name in "ch":
        seen = [float(value) for value in read.values[1, name][:, 0]]
        seen = [math.tanh(value) if name == "c" else value for value in seen]
        drawn = [str(min(9, int((value + 1) * 5))) for value in seen]
        del drawn[TEXT.index("\u0301") - 1]  # what is shown is the value after the accent
        assert digits[name].replace(" ", "") == "".join(drawn)
    bars = "".join(line[5:] for line in found if line.startswith("bits ")).replace(" ", "")
    assert bars == "".join(inside.bar(read.surprise[at]) for at in range(len(TEXT)) if at != TEXT.index("\u0301") - 1)
    assert "\N{REPLACEMENT CHARACTER}字" in "".join(line[5:] for line in found if line.startswith("     "))


def test_bars_of_surprise() -> None:
    assert [inside.bar(bits) for bits in (0, 0.9, 1, 3.5, 7, 50)] == list("▁▁▂▄██")
    assert inside.bar(math.nan) == "?"


def test_a_passage_is_drawn_as_it_is_read(monkeypatch: pytest.MonkeyPatch, paper: Paper) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    seen = []

    def slow() -> "list[Moment]":
        for at, moment in enumerate(moments(reading("one\ntwo\nthree\n"), "c")):
            if at == 6:
                seen.append(paper.getvalue())
            yield moment

    inside.passage(drawing_on(paper), slow(), ["c"])  # type: ignore[arg-type]
    assert "one↵" in seen[0]


def test_the_heat_map_has_a_row_per_unit(canvas: Canvas, paper: Paper) -> None:
    read = reading()
    inside.heat_map(canvas, read, 1, "h", [2, 0])
    found = paper.lines(canvas.width)
    rows = {head: "".join(line[5:] for line in found if line.startswith(head)) for head in ("   2 ", "   0 ")}
    for head, row in rows.items():
        assert len(row.replace(" ", "")) == len(TEXT) - 1
        first = float(read.values[1, "h"][0, int(head)])
        assert row[0] == str(int((first + 1) * 5))


def test_the_busiest_units_vary_most() -> None:
    values = np.array([[0, 5, -0.1], [0, 6, 0.1], [0, 7, -0.1]], np.float32)
    assert inside.busiest(values, "h", 2) == [1, 2]
    assert inside.busiest(values, "c", 3) == [2, 1, 0]  # tanh(5) and tanh(7) hardly differ


def test_the_ledger_lists_the_largest_shares(canvas: Canvas, paper: Paper) -> None:
    read = reading()
    at = len(TEXT) - 1
    shares = np.linspace(-0.001, 0.001, at + 1)
    shares[3], shares[14] = 0.5, -0.75
    found = Ledger(1, 2, "c", at, 0.1 + float(shares.sum()), 0.1, shares)
    inside.ledger(canvas, read, found)
    shown = paper.lines(canvas.width)
    numbers = [line[:7] for line in shown if re.match(r"[+-]\d\.\d{4} ", line)]
    assert numbers[:2] == ["-0.7500", "+0.5000"]
    assert len(numbers) == 10 + 3
    _, carried, total = map(float, numbers[-3:])
    assert carried == 0.1
    assert sum(map(float, numbers[:-1])) == pytest.approx(total, abs=1e-3)
    assert total == pytest.approx(found.value, abs=1e-4)
    row = inside.ledger_row(read, found)
    assert row["carried"] + sum(row["shares"]) == pytest.approx(row["value"])
    assert len(row["text"]) == len(row["shares"])


def test_the_look_back_lists_the_largest_gradients(canvas: Canvas, paper: Paper) -> None:
    read = reading()
    gradients = np.full((20, 2), 0.001)
    gradients[7] = 3, 4
    found = Lookback(25, math.log(0.25), 5, gradients)
    inside.lookback(canvas, read.characters[5:26], read.known[5:26].tolist(), found)
    shown = paper.lines(canvas.width)
    first = next(line for line in shown if line.startswith("5.0000"))
    assert ("13 back" if canvas.width >= 40 else " -13 ") in first
    text = " ".join(shown)
    assert "25.0%" in text
    assert "2.00 bits" in text
    assert inside.lookback_row(read.characters[5:26], found) == {
        "at": 25,
        "first": 5,
        "sizes": pytest.approx([5.0 if at == 7 else 0.002**0.5 * 0.001**0.5 for at in range(20)]),
        "log_probability": math.log(0.25),
        "text": TEXT[5:26],
    }


def test_the_row_of_a_passage() -> None:
    read = reading("ab")
    row = inside.passage_row(read, 1, ["c"], [1])
    assert row["text"] == "ab"
    assert row["surprise"] == [0.5, 1.5]
    (signal,) = row["signals"]
    assert (signal["layer"], signal["unit"], signal["name"]) == (1, 1, "c")
    assert np.array_equal(np.array(signal["values"], np.float32), read.values[1, "c"][:, 1])
    assert inside.one_each(["a", END, "b"]) == "a\nb"


OVERVIEW = Overview(
    layer=1,
    saturation=(Saturation("f", 0.125, 0.5), Saturation("g", 0.25, 0.0)),
    histogram=((0.0, 3), (1.0, 0), (2.0, 1)),
    longest=(TimeScale(3, math.inf), TimeScale(0, 12.3)),
    kept=((1, 0.5), (10, 0.0004)),
)


def test_the_overview(canvas: Canvas, paper: Paper) -> None:
    layers.overview(canvas, OVERVIEW, 4, 100)
    shown = " ".join(" ".join(paper.lines(canvas.width)).split())
    assert "f 12.5% 50.0%" in shown
    assert "unit 3 (for ever)" in shown
    assert "10: under 0.1%" in shown
    layers.in_brief(canvas, OVERVIEW, 1, 4, 100)
    assert "f 12%/50%" in " ".join(paper.lines(canvas.width))
    (row,) = layers.overview_row([OVERVIEW])["layers"]
    assert row["longest"][0] == {"unit": 3, "characters": None}
    assert row["kept"][1] == {"characters": 10, "share": 0.0004}


def test_the_overview_of_a_cell_without_gates(canvas: Canvas, paper: Paper) -> None:
    nothing = Overview(1, (), (), (), ())
    layers.in_brief(canvas, nothing, 1, 4, 100)
    layers.overview(canvas, nothing, 4, 100)
    assert "No gates" in " ".join(paper.lines(canvas.width))

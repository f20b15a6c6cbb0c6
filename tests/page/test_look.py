"""The pure parts of the section Look: the ledger, matches, orders, colours, links; each held against Python."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.measure.inside.ledger import ledger
from charlstm.measure.inside.overview import overview
from charlstm.measure.inside.signals import Reading
from charlstm.network.cells import CELLS
from charlstm.show import colours
from charlstm.show.characters import printable
from tests.page.conftest import Node

SOURCE = np.random.default_rng(23)


def reading(cell: str, count: int = 40, units: int = 3) -> Reading:
    """A made-up reading whose states follow from its gates."""
    kind = CELLS[cell]
    keep = SOURCE.uniform(0, 1, (count, units)).astype(np.float32)
    keep[17] = 0  # the end of a document
    added = SOURCE.uniform(-1, 1, (count, units))
    before = SOURCE.uniform(-1, 1, units)
    state, states = before, []
    for step in range(count):
        state = keep[step] * state + added[step]
        states.append(state)
    signal, gate = "c" if kind.has_c else "h", str(kind.keep_gate)
    values = {(1, gate): keep, (1, signal): np.array(states, np.float32)}
    for other in kind.gates:
        values.setdefault((1, other), keep)
    layer = (np.zeros(units), before) if kind.has_c else (before,)
    return Reading(("a",) * count, np.ones(count, bool), np.zeros(count), values, tuple(range(units)), [layer])


@pytest.mark.parametrize("cell", ["lstm", "peephole", "coupled", "gru"])
@pytest.mark.parametrize("at", [0, 16, 17, 39])
def test_the_ledger_is_that_of_inspect(run_node: Node, cell: str, at: int) -> None:
    read = reading(cell)
    expected = ledger(read, cell, 1, 2, at)
    before = read.before[0][1 if CELLS[cell].has_c else 0][2]
    names = run_node(
        """
        import { keeps } from "./ledger.js";
        console.log(JSON.stringify(keeps(given[0])));
        """,
        cell,
    )
    assert names == {"gate": CELLS[cell].keep_gate, "state": expected.signal}
    found = run_node(
        """
        import { ledgerOf } from "./ledger.js";
        const { value, carried, shares } = ledgerOf(Float32Array.from(given[0]), Float32Array.from(given[1]), given[2]);
        console.log(JSON.stringify({ value, carried, shares: [...shares] }));
        """,
        read.values[1, names["state"]][: at + 1, 2].tolist(),
        read.values[1, names["gate"]][: at + 1, 2].tolist(),
        float(before),
    )
    np.testing.assert_allclose(found["shares"], expected.shares, rtol=1e-12, atol=1e-15)
    assert found["value"] == expected.value
    assert found["carried"] == pytest.approx(expected.carried, rel=1e-12)
    assert found["carried"] + sum(found["shares"]) == pytest.approx(expected.value)


def test_a_ledger_whose_beginning_is_not_known(run_node: Node) -> None:
    found = run_node(
        """
        import { keeps, largest, ledgerOf } from "./ledger.js";
        const { carried, shares } = ledgerOf([0.5, 0.75, 1], [0.5, 0.5, 0.5], NaN);
        console.log(JSON.stringify([carried, [...shares], largest(shares, 5), keeps("rnn")]));
        """
    )
    assert found == [0.125, [0, 0.25, 0.625], [2, 1], None]


def test_the_largest_shares_come_first(run_node: Node) -> None:
    shares = SOURCE.normal(size=200)
    found = run_node(
        """
        import { largest } from "./ledger.js";
        console.log(JSON.stringify(largest(Float64Array.from(given[0]), 8)));
        """,
        shares.tolist(),
    )
    assert found == np.argsort(-abs(shares))[:8].tolist()


def units_on(values: Any, first: int, end: int, threshold: float) -> dict[int, int]:
    """The units that are on in a stretch and not beside it, with their signs; values are (T, H)."""
    signs = np.where(values[first] < 0, -1, 1)
    inside = (signs * values[first:end] >= threshold).all(0)
    beside = [at for at in (first - 1, end) if 0 <= at < len(values)]
    outside = (signs * values[beside] < threshold).all(0)
    return {int(unit): int(signs[unit]) for unit in (inside & outside).nonzero()[0]}


@pytest.mark.parametrize(("first", "end"), [(10, 13), (0, 2), (57, 60), (20, 21), (0, 60)])
def test_units_that_are_on_in_a_stretch_only(run_node: Node, first: int, end: int) -> None:
    values = np.repeat(SOURCE.uniform(-1, 1, (20, 64)), 3, axis=0)
    beside = [values[at].tolist() for at in (first - 1, end) if 0 <= at < len(values)]
    found = run_node(
        """
        import { unitsOn } from "./matches.js";
        console.log(JSON.stringify(unitsOn(given[0], given[1], given[2])));
        """,
        values[first:end].tolist(),
        beside,
        0.5,
    )
    assert {one["unit"]: one["sign"] for one in found} == units_on(values, first, end, 0.5)
    assert [one["margin"] for one in found] == sorted((one["margin"] for one in found), reverse=True)


def test_other_places_where_the_same_units_are_on(run_node: Node) -> None:
    rows = np.zeros((3, 40))
    rows[:, 5:9] = 0.9  # the stretch itself
    rows[:, 20:24] = 0.9  # the same again
    rows[:2, 30:32] = 0.9  # two of three units, and shorter
    rows[0, 36] = 0.9  # one of three: too few
    rows[2] *= -1
    found = run_node(
        """
        import { placesLike } from "./matches.js";
        const units = [1, 1, -1].map((sign, unit) => ({ unit, sign, margin: 1 }));
        console.log(JSON.stringify(placesLike(given[0], units, 0.5, 5, 9, 10)));
        """,
        rows.tolist(),
    )
    assert [(one["from"], one["to"]) for one in found] == [(20, 24), (30, 32)]
    assert found[0]["score"] == 1
    assert found[1]["score"] == pytest.approx(2 / 3 / 2)


ORDERED = """
import { ordered, propertiesOf } from "./order.js";
const [by, rows, chosen, text] = given;
const steps = ordered(by, rows.length, (unit) => Float32Array.from(rows[unit]), chosen, propertiesOf([...text]));
let step = steps.next();
while (!step.done) step = steps.next();
console.log(JSON.stringify({ order: [...step.value.order], notes: step.value.notes }));
"""


def test_units_by_time_scale_as_the_overview_has_them(run_node: Node) -> None:
    read = reading("lstm", units=12)
    expected = overview(read, "lstm", 1)
    found = run_node(ORDERED, "time", read.values[1, "f"].T.tolist(), 0, "")
    assert found["order"][:10] == [one.unit for one in expected.longest]
    assert found["notes"][expected.longest[0].unit] == f"keeps for {expected.longest[0].characters:.1f} characters"


def test_units_by_likeness_to_one(run_node: Node) -> None:
    rows = SOURCE.normal(size=(20, 100))
    rows[3] = 0  # a unit that does nothing is like none
    expected = np.nan_to_num(np.array([np.corrcoef(row, rows[7])[0, 1] if row.any() else 0 for row in rows]))
    found = run_node(ORDERED, "like", rows.tolist(), 7, "")
    assert found["order"][0] == 7
    np.testing.assert_allclose(expected[found["order"]], sorted(expected, reverse=True), atol=1e-6)


def test_units_by_what_they_follow(run_node: Node) -> None:
    text = 'A man said: "I am 12."\nThen "no", he said.\n' * 3
    vowels = np.array([character in "AIaeiou" for character in text], float)
    spaces = np.array([character.isspace() for character in text], float)
    quotes = np.cumsum(np.array([character == '"' for character in text])) % 2
    found = run_node(ORDERED, "follows", [vowels.tolist(), quotes.tolist(), (1 - spaces).tolist()], 0, text)
    assert found["notes"] == [
        "r = 1.00 with vowels",
        "r = 1.00 with inside quotes",
        "r = -1.00 with spaces",
    ]
    assert found["order"] == [2, 0, 1]


def test_by_number(run_node: Node) -> None:
    assert run_node(ORDERED, "number", [[1], [3], [2]], 0, "")["order"] == [0, 1, 2]


@pytest.mark.parametrize("signal", ["c", "h", "f", "i", "o", "g", "n", "z", "r"])
def test_colours_are_those_of_the_terminal(run_node: Node, signal: str) -> None:
    values = np.linspace(-1.2, 1.2, 121)
    found = run_node(
        """
        import { coloursOf, scaleOf, stepOf } from "./colours.js";
        const colours = coloursOf(scaleOf(given[0]), "light");
        console.log(JSON.stringify(given[1].map((value) => colours[stepOf(given[0], value)])));
        """,
        signal,
        values.tolist(),
    )
    scale = colours.scale_of(signal)
    expected = np.array([scale.colour(value) for value in values])
    # Python rounds halves to even, JavaScript up.
    assert abs(np.array(found) - expected).max() <= 10
    assert (np.array(found) == expected).all(1).mean() > 0.85


def test_letters_are_legible_on_every_colour(run_node: Node) -> None:
    rules = run_node(
        """
        import { tileRules } from "./colours.js";
        console.log(JSON.stringify(tileRules()));
        """
    )
    pairs = []
    for rule in rules:
        papers = [(int(red), int(green), int(blue)) for red, green, blue in re.findall(r"rgb\((\d+) (\d+) (\d+)", rule)]
        inks = [(0, 0, 0) if part.startswith("000") else (255, 255, 255) for part in rule.split("#")[1:]]
        pairs += list(zip(papers, inks, strict=True))
    assert len(pairs) == 2 * 3 * 41
    assert min(colours.contrast(ink, paper) for paper, ink in pairs) >= 4.5


def test_links(run_node: Node) -> None:
    found = run_node(
        """
        import { linkTo, parsedLink } from "./state.js";
        const hashes = ["#unit=1:233&at=512", "#unit=2:0&signal=f", "#write", "", "#unit=0:1", "#unit=x&at=-1"];
        console.log(JSON.stringify([
          ...hashes.map(parsedLink),
          linkTo({ layer: 0, unit: 233, at: 512, signal: "c" }, true, "c"),
          linkTo({ layer: 1, unit: 0, at: 7, signal: "f" }, false, "c"),
        ]));
        """
    )
    assert found == [
        {"layer": 0, "unit": 233, "at": 512},
        {"layer": 1, "unit": 0, "signal": "f"},
        {},
        {},
        {},
        {},
        "#unit=1:233&at=512",
        "#unit=2:0&signal=f",
    ]


def test_nothing_hidden_stays_hidden(run_node: Node) -> None:
    text = "".join(map(chr, range(0x300))) + "\u202e\u2066\u200b\ufeff\u3164\U000e0001 \u200d\ufe0f\U0001f600"
    found = run_node(
        """
        import { printable } from "./characters.js";
        console.log(JSON.stringify(printable(given[0])));
        """,
        text,
    )
    assert found == printable(text)


def test_fields(run_node: Node) -> None:
    found = run_node(
        r"""
        import { numberIn, seedIn, unescaped } from "./write.js";
        console.log(JSON.stringify([
          unescaped("a\\n\\\\n\\t"), numberIn(""), numberIn(" 0.5 "), numberIn("1x"),
          String(seedIn("9223372036854775807")), seedIn("9223372036854775808"), seedIn("-1"), seedIn(""),
        ]));
        """
    )
    assert found == ["a\n\\n\t", None, 0.5, None, "9223372036854775807", None, None, None]


PASSAGE = """
import { Passage } from "./passage.js";
const log = [];
// A model whose state is the text that it has read.
const state = (read) => ({ read, copy() { return state(this.read); } });
const trace = {
  begin: 0, end: 0, kept: given[0],
  reset(at = 0) { this.begin = this.end = at; },
  cut(end) { this.end = Math.max(this.begin, Math.min(this.end, end)); },
  state() { return null; },
};
const model = {
  endId: null, unknownId: null,
  begin: () => state(""),
  decoder: () => ({ text: (id) => String.fromCharCode(id) }),
  encode: (text) => [...text].map((character) => character.charCodeAt(0)),
  read(at, id, into) {
    at.read += String.fromCharCode(id);
    if (!into) return;
    into.end += 1;
    into.begin = Math.max(into.begin, into.end - into.kept);
  },
};
const passage = new Passage(model, trace);
const whole = (steps) => { for (const _ of steps); };
const told = () => log.push([passage.begin, passage.end, passage.state.read.length, trace.begin, trace.end]);
const agrees = () => log.push(passage.state.read.endsWith(passage.text()) && passage.stateAt === passage.end);
"""


def test_a_passage_can_be_cut_and_go_on(run_node: Node) -> None:
    found = run_node(
        PASSAGE
        + """
        whole(passage.become("The quick brown fox jumps over the lazy dog.", null));
        told(); agrees();
        passage.cut(20); whole(passage.catchUp());
        told(); agrees();
        whole(passage.become("The quick brown cat", null));
        told(); agrees();
        passage.cut(5);
        const steps = passage.catchUp();
        steps.next();
        whole(passage.become("The queen", null)); // comes before the other has ended
        whole(steps);
        told(); agrees();
        console.log(JSON.stringify(log));
        """,
        100,
    )
    assert found == [
        [0, 44, 44, 0, 44],
        True,
        [0, 20, 20, 0, 20],
        True,
        [0, 19, 19, 0, 19],
        True,
        [0, 9, 9, 0, 9],
        True,
    ]


def test_a_passage_keeps_its_last_characters_only(run_node: Node) -> None:
    found = run_node(
        PASSAGE
        + """
        for (let at = 0; at < 50_000; at += 1) passage.read(97 + (at % 26));
        told(); agrees();
        passage.cut(30_005); whole(passage.catchUp()); // before what the trace holds
        told(); agrees();
        log.push(passage.saved.length < 1_000, passage.piece(30_004), passage.piece(2));
        console.log(JSON.stringify(log));
        """,
        3_000,
    )
    begin, end = 28_000, 50_000
    assert found[0] == [begin, end, 50_000, 47_000, end]
    assert found[2][:3] == [begin, 30_005, 30_005]
    assert 28_000 <= found[2][3] <= 30_005 - 1_400
    assert found[2][4] == 30_005
    assert found[1] is True
    assert found[3] is True
    assert found[4:] == [True, chr(97 + 30_004 % 26), ""]


def test_modules_stay_small() -> None:
    """A file has one reason to change."""
    from charlstm.show.page.join import FOLDER

    own = (
        "app door dom state passage sheet write strip heatmap here panels look ledger matches order colours characters"
    )
    for name in own.split():
        assert len(Path(FOLDER / f"{name}.js").read_text(encoding="utf-8").splitlines()) <= 400, name

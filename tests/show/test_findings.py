"""What single units follow: the table, and the rows of JSON, from a search made by hand."""

import dataclasses

import numpy as np
import pytest

from charlstm.measure.search.units import Clamped, Controls, Found, Search
from charlstm.show import findings
from tests.show.test_inside import Paper, drawing_on
from tests.test_docs import documented, keys

QUOTES = Found(
    layer=2,
    unit=37,
    signal="c",
    label="inside quotes",
    positives=0.125,
    auc=0.97,
    late=0.95,
    mcc=0.81,
    r2=None,
    low=0.96,
    high=0.98,
    p_value=0.005,
    controls=Controls(0.6, 0.75, 0.55),
    clamped=Clamped(1.5, 0.99, 0.0123),
    example=(10, 40),
    mean_inside=0.9,
    mean_outside=-0.2,
)
COLUMN = dataclasses.replace(
    QUOTES, unit=5, signal="h", label="column", positives=None, auc=None, late=None, mcc=None, r2=0.85, clamped=None
)
DIGITS = dataclasses.replace(
    QUOTES, label="digit", auc=0.3, low=0.2, high=0.4, p_value=0.2, controls=Controls(0.7, 0.9, 0.5)
)
FOUND = Search(50_000, 640, (QUOTES, COLUMN), (DIGITS,), ("indentation",))
NOTHING = Search(50_000, 640, (), (DIGITS,), ())


@pytest.fixture(params=["20", "30", "60", "100"])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", request.param)
    return int(request.param)


def shown(found: Search, width: int, examples: dict[Found, findings.Example]) -> str:
    paper = Paper()
    findings.findings(drawing_on(paper), found, examples)
    return " ".join(" ".join(paper.lines(width)).split())


def test_the_table(width: int) -> None:
    example = tuple("she said \x1b[2J\u201cno\u201d"), np.linspace(-3, 3, 17).astype(np.float32)
    said = shown(FOUND, width, {QUOTES: example})
    for words in (
        "AUC 0.970, 95 % interval 0.960 to 0.980",
        "true at 12.5% of the characters",
        "MCC: 0.810",
        "AUC 0.950 without the first 10 characters after an opener",
        "untrained 0.600, 6-gram 0.750, shifted 0.550",
        "+1.500 bits, more than for 99% of random units (used)",
        "R² 0.850",
        "digit: layer 2, unit 37, c, AUC 0.300 (low where it is true); an untrained network and a 6-gram may do as "
        "well (0.900); p = 0.20",
        "too little of: indentation",
    ):
        assert words in said
    assert said.index("inside quotes") < said.index("column") < said.index("digit")


def test_none_found_is_an_answer(width: int) -> None:
    said = shown(NOTHING, width, {})
    assert "None found" in said
    assert "digit: layer 2, unit 37" in said


def test_a_unit_that_is_not_used_is_said_to_be_encoded(width: int) -> None:
    idle = dataclasses.replace(QUOTES, clamped=Clamped(0.001, 0.6, 0.0))
    assert "encoded, but not shown to be used" in shown(Search(1, 1, (idle,), (), ()), width, {})


def test_why_a_finding_does_not_count() -> None:
    assert findings.why_not(DIGITS) == "an untrained network and a 6-gram may do as well (0.900); p = 0.20"
    weak = dataclasses.replace(DIGITS, auc=0.7, low=0.6, high=0.8, p_value=0.01)
    assert findings.why_not(weak) == "an untrained network and a 6-gram may do as well (0.900)"


def test_a_unit_that_sees_the_opener_alone() -> None:
    brief = dataclasses.replace(QUOTES, late=0.55)
    assert findings.why_not(brief) == "it sees the opener alone: AUC 0.550 later on"


def test_a_name_of_the_user_steers_no_terminal(width: int) -> None:
    named = dataclasses.replace(QUOTES, label="\x1b[2J\n")
    assert "␛[2J" in shown(Search(1, 1, (named,), (named,), ("\x1b",)), width, {})


def test_the_page_on_json_has_every_key_of_a_search() -> None:
    row = findings.findings_row(dataclasses.replace(FOUND, others=()))
    known = documented("charlstm inspect --units")
    assert keys({"rows": row["rows"][:1]}, set()) == {name for name in known if name.startswith("rows[]")}
    assert set(row) == {name for name in known if "[" not in name}
    assert row["rows"][1]["auc"] is None
    assert row["rows"][1]["clamped"] is None
    assert row["rows"][0]["example"] == [10, 40]
    assert findings.findings_row(NOTHING)["rows"] == []


def test_what_is_not_a_number_is_null_in_json() -> None:
    strange = dataclasses.replace(QUOTES, late=float("nan"), controls=Controls(0.5, float("nan"), 0.5))
    (row,) = findings.findings_row(Search(1, 1, (strange,), (), ()))["rows"]
    assert row["late"] is None
    assert row["controls"]["ngram"] is None

"""The lesson docs/inside.md: its figures and its picture, made again by the commands that it names."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "inside.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())
COMMANDS = re.findall(r"^ *(charlstm inspect .*)$", PAGE, re.MULTILINE)


def table(first: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with this one, without its two head lines."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", text.replace("R²", ""))]


def measured(lesson: Command, option: str) -> Any:
    """Return the JSON of the command on the page that has this option."""
    (command,) = [each for each in COMMANDS if option in each]
    outcome = lesson(*shlex.split(command)[1:], "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.fixture
def lesson(charlstm: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command where the lesson runs it."""
    monkeypatch.chdir(ROOT)
    return charlstm


@pytest.mark.skipif("CHARLSTM_TORTURE" not in os.environ, reason="searches 640 units for minutes: make torture")
def test_units(lesson: Command) -> None:
    found = measured(lesson, "--units")
    assert [row["unit"] for row in found["rows"]] == [287]
    rows = {row["unit"]: row for row in (*found["rows"], *found["others"])}
    for name, _, score, interval, untrained, ngram, shifted, _ in table("unit"):
        row = rows[int(name.split(",")[0])]
        assert numbers(score)[0] == pytest.approx(row["r2"] if row["auc"] is None else row["auc"], abs=0.006)
        assert numbers(interval) == pytest.approx([row["low"], row["high"]], abs=0.006)
        controls = row["controls"]
        assert [float(each) for each in (untrained, ngram, shifted)] == pytest.approx(
            [controls["untrained"], controls["ngram"], controls["shifted"]], abs=0.006
        )
    column, speaker = rows[287], rows[368]
    assert f"network before training explains {100 * column['controls']['untrained']:.0f} %" in PROSE
    assert f"the last six characters {100 * column['controls']['ngram']:.0f} %" in PROSE
    assert column["p_value"] == 0.005
    (costs,) = re.findall(r"costs ([\d.]+) bits more", PROSE)
    assert speaker["clamped"]["bits"] == pytest.approx(float(costs), abs=0.01)
    assert speaker["clamped"]["random"] >= 0.98


def test_saturation_and_time_scales(lesson: Command) -> None:
    (layer,) = measured(lesson, "--overview")["layers"]
    saturation = {row["gate"]: row for row in layer["saturation"]}
    for gate, shut, opened in table("gate"):
        row = saturation[gate]
        assert [*numbers(shut), *numbers(opened)] == pytest.approx([100 * row["shut"], 100 * row["open"]], abs=0.11)
    counts = {row["least"]: row["units"] for row in layer["histogram"]}
    (cells,) = table("time scale, characters")
    assert [int(cell) for cell in cells[1:]] == pytest.approx(
        [counts[least] for least in (0, 1, 2, 4, 8, 16, 32)], abs=1
    )
    kept = {row["characters"]: row["share"] for row in layer["kept"]}
    assert f"a cell state {100 * kept[1]:.0f} % is left after one character, and {100 * kept[10]:.1f} %" in PROSE
    scales = [row["characters"] for row in layer["longest"]]
    assert f"Three units reach {scales[2]:.0f} to {scales[0]:.0f} characters" in PROSE
    (of_287,) = [row["characters"] for row in layer["longest"] if row["unit"] == 287]
    assert f"its time scale is {of_287:.0f}." in PROSE


def test_the_ledger(lesson: Command) -> None:
    found = measured(lesson, "--ledger")
    shares = found["shares"]
    value, feed, letter, since, earlier = numbers(PROSE[PROSE.index("c is -0.23") :])[:1] + numbers(
        re.search(r"have put .*? is worth [\d.]+", PROSE)[0].replace("the 18 characters", "")  # type: ignore[index]
    )
    assert found["value"] == pytest.approx(value, abs=0.006)
    assert [shares[-20], shares[-19], sum(shares[-18:])] == pytest.approx([feed, letter, since], abs=0.006)
    assert sum(shares[:-20]) + found["carried"] == pytest.approx(earlier, abs=0.006)


def test_what_the_last_prediction_looked_at(lesson: Command) -> None:
    found = measured(lesson, "--back")
    sizes = found["sizes"]
    order = sorted(range(len(sizes)), key=lambda at: -sizes[at])
    assert [len(sizes) - at for at in order[:2]] == [2, 1]  # the h, then the e
    assert max(len(sizes) - at for at in order[:10]) == 11


def test_the_rows_of_digits(lesson: Command) -> None:
    (command,) = [each for each in COMMANDS if "--show" in each]
    shown = lesson(*shlex.split(command)[1:-2]).out
    example = PAGE[PAGE.index("     See where") :].split("```")[0]
    for line in example.splitlines():
        if not line.startswith(("c", "f", "i")):
            assert line in shown
            continue
        here = [each for each in shown.splitlines() if len(each) == len(line) and each[0] == line[0]]
        # Another processor may round a digit to its neighbour.
        assert any(sum(a != b for a, b in zip(each, line, strict=True)) <= 2 for each in here)


def test_the_picture(lesson: Command, tmp_path: Path) -> None:
    (command,) = [each for each in COMMANDS if "--svg" in each]
    *arguments, target = shlex.split(command)[1:]
    assert (ROOT / target).name in PAGE[PAGE.index("![") :]
    assert lesson(*arguments, str(tmp_path / "picture.svg")).code == 0
    kept, made = (
        re.sub(r"terminal-\d+", "", file.read_text(encoding="utf-8")).splitlines()  # a number that follows the content
        for file in (ROOT / target, tmp_path / "picture.svg")
    )
    assert len(kept) == len(made)
    # Another processor may round a colour to its neighbour.
    assert sum(a != b for a, b in zip(kept, made, strict=True)) <= 0.02 * len(kept)

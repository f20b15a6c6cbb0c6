"""The numbers that docs/memory.md works out, and what docs/evaluation.md must name."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from charlstm import cells
from charlstm.cli import cli

PAGE = (Path(__file__).parent.parent / "docs" / "memory.md").read_text(encoding="utf-8")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def table(first: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with this one, without its two head lines."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_worked_step() -> None:
    x, h, c = (float(re.search(rf"\b{name} = (-?[\d.]+\d)", PAGE)[1]) for name in "xhc")
    rows = table("gate")
    assert [row[0] for row in rows] == list(cells.CELLS["lstm"].gates)
    w, u, b = (np.array([float(row[column]) for row in rows]) for column in (1, 2, 3))
    h_after, c_after = cells.lstm(w * x + b, u * h, (np.array([h]), np.array([c])))
    assert [float(row[4]) for row in rows] == pytest.approx(w * x + u * h + b, abs=5e-5)
    shown = [float(row[5].split()[1]) for row in rows]
    pre = w * x + u * h + b
    i, f, g, o = sigmoid(pre[0]), sigmoid(pre[1]), math.tanh(pre[2]), sigmoid(pre[3])
    assert shown == pytest.approx([i, f, g, o], abs=5e-5)
    assert f"c = {f:.4f} * {c} + {i:.4f} * {g:.4f} = {c_after[0]:.4f}" in PAGE
    assert re.search(rf"h = {o:.4f} \* tanh\({c_after[0]:.4f}\) += {h_after[0]:.4f}", PAGE)
    assert f"0.8022^10 = {f**10:.4f}" in PAGE
    assert f"would keep {0.99**10:.4f}" in PAGE
    assert f"f = {sigmoid(1):.4f} at rest" in PAGE
    assert f"up to {math.log(999):.4f}, f = {sigmoid(math.log(999)):.4f}" in PAGE


def test_the_powers() -> None:
    for u, *powers in table("u"):
        assert powers == [f"{float(u) ** lag:.1e}" for lag in (10, 100, 1000)]
    assert f"a gradient of norm {1.1**100:.1e}" in PAGE
    assert f"multiplied by\n{1 / 1.1**100:.1e}" in PAGE


def test_the_page_on_evaluation_explains_every_option() -> None:
    page = (Path(__file__).parent.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    of_all_commands = {"--device", "--threads", "--cache", "--cache-limit", "--config", "--debug", "--encoding"}
    options = {option for parameter in cli.commands["eval"].params for option in parameter.opts if option[0] == "-"}
    assert [option for option in sorted(options - of_all_commands) if option not in page] == []

"""Overviews of layers whose gates are written by hand, and of a model's."""

import math

import numpy as np
import pytest

from charlstm.measure.inside.overview import Overview, needed, overview
from charlstm.measure.inside.signals import Reading, read_text
from charlstm.network.cells import CELLS
from charlstm.text.tokenizer import CharTokenizer
from tests.measure.inside.models import KNOWN, loaded


def reading(characters: list[str], **gates: np.ndarray) -> Reading:
    """Return a reading of layer 1 with these gates, (T, H) each."""
    values = {(1, name): array.astype(np.float32) for name, array in gates.items()}
    count = len(characters)
    units = tuple(range(next(iter(gates.values())).shape[1]))
    return Reading(tuple(characters), np.ones(count, bool), np.zeros(count), values, units, [])


def test_gates_that_are_shut_and_open() -> None:
    z = np.array([[0.05, 0.5], [0.95, 0.95], [0.099, 0.901], [0.11, 0.89]])
    n = np.array([[-0.9, -0.5], [0.85, 0.1], [-0.81, 0.05], [0.95, 0.9]])
    found = overview(reading(list("abcd"), r=np.zeros((4, 2)), z=z, n=n), "gru", 1)
    assert [(each.gate, each.shut, each.open) for each in found.saturation] == [
        ("r", 1.0, 0.0),
        ("z", 2 / 8, 3 / 8),
        ("n", 2 / 8, 3 / 8),
    ]


def of_forget_gates(keep: np.ndarray, characters: list[str] | None = None) -> Overview:
    other = np.zeros_like(keep)
    return overview(reading(characters or ["a"] * len(keep), f=keep, g=other, o=other), "coupled", 1)


def test_time_scales() -> None:
    means = [0.3, 0.5, math.exp(-1 / 3), math.exp(-1 / 300), math.exp(-1 / 3.5), 1.0, 0.0]
    found = of_forget_gates(np.tile(np.array(means), (5, 1)))
    assert [each.unit for each in found.longest] == [5, 3, 4, 2, 1, 0, 6]
    scales = [each.characters for each in found.longest]
    assert scales[0] == math.inf
    assert scales[1:] == pytest.approx([300, 3.5, 3, 1 / math.log(2), -1 / math.log(0.3), 0], rel=1e-4)
    assert found.histogram == (
        *((0.0, 2), (1.0, 1), (2.0, 2), (4.0, 0), (8.0, 0), (16.0, 0), (32.0, 0), (64.0, 0), (128.0, 0)),
        *((256.0, 1), (math.inf, 1)),
    )


def test_ten_are_the_longest() -> None:
    found = of_forget_gates(np.tile(np.linspace(0.1, 0.9, 40), (3, 1)))
    assert [each.unit for each in found.longest] == list(range(39, 29, -1))


def test_what_is_kept_is_the_mean_product() -> None:
    keep = np.random.default_rng(0).uniform(0.9, 1, size=(1030, 70)).astype(np.float32)
    found = dict(of_forget_gates(keep).kept)
    assert list(found) == [1, 10, 100, 1000]
    for length, share in found.items():
        windows = np.lib.stride_tricks.sliding_window_view(keep.astype(float), length, 0)
        assert share == pytest.approx(windows.prod(-1).mean(), rel=1e-9)
    assert [length for length, _ in of_forget_gates(keep[:99]).kept] == [1, 10]


def test_the_end_of_a_document_is_seen_in_what_is_kept_alone() -> None:
    keep = np.full((21, 3), 0.99)
    keep[10] = 0
    found = of_forget_gates(keep, [*"a" * 10, "<end>", *"b" * 10])
    assert found.saturation[0].shut == 0
    assert found.longest[0].characters == pytest.approx(-1 / math.log(0.99), rel=1e-4)
    assert dict(found.kept)[10] == pytest.approx(2 * 0.99**10 / 12, rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_has_one(text: str, cell: str) -> None:
    it = loaded(CharTokenizer(KNOWN), cell, 2)
    whole = read_text(it, text[:150], layers=[1, 2], units=range(24), wanted=needed(cell))
    found = overview(whole, cell, 2)
    assert found.layer == 2
    assert "".join(each.gate for each in found.saturation) == {"rnn": ""}.get(cell, CELLS[cell].gates)
    assert all(0 <= each.shut + each.open <= 1 for each in found.saturation)
    assert sum(count for _, count in found.histogram) == (0 if cell == "rnn" else 24)
    assert [length for length, _ in found.kept] == ([] if cell == "rnn" else [1, 10, 100])

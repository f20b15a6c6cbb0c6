"""The cost of a character, in 60 columns and as JSON."""

import dataclasses
import io
import json

import pytest

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.measure.inside.cost import Activity, Cost, matrices
from charlstm.network.cells import CELLS
from charlstm.show import cost as show
from charlstm.show.characters import columns


def example(*, torch: bool = True, estimated: bool = True, vocab_size: int = 66, **model: object) -> Cost:
    shape = {"hidden_size": 640, "embedding_size": 64} | model
    config = RunConfig(text=TextConfig(), model=ModelConfig(**shape), train=TrainConfig(steps=1, seq_length=128))
    parts = matrices(config, vocab_size, 32_768)
    activities = []
    for name in ("read", "write", "train"):
        operations = sum(getattr(each, name) for each in parts)
        fetched = sum(getattr(each, f"{name}_bytes") for each in parts)
        seconds = 3e-4 if torch or name != "train" else None
        activities.append(Activity(name, operations, fetched, seconds, 2e-4, 9e-5, estimated))
    letters = {"V": vocab_size, "E": 64, "H": config.model.hidden_size, "L": config.model.num_layers}
    return Cost(parts, tuple(activities), 2e10, 5e10, tuple(letters.items()), 32, 128)


def test_the_shipped_network(capsys: pytest.CaptureFixture[str]) -> None:
    show.cost(example())
    assert capsys.readouterr().out.splitlines()[:19] == [
        "The matrices, and their shares of all multiplications:",
        "V = 66, E = 64, H = 640, L = 1",
        "",
        "                                           write  train",
        "embedding          [V x E]   66 x 64           -      -",
        "1 input to gates   [4H x E]  2560 x 64         -   8.9%",
        "1 state to gates   [4H x H]  2560 x 640    97.5%  88.8%",
        "outputs to scores  [V x H]   66 x 640       2.5%   2.3%",
        "biases and scales            5186              -      -",
        "",
        "Per character              reading     writing    training",
        "multiplications             1.64 M      1.68 M      5.53 M",
        "weights fetched            6.57 MB     6.74 MB      430 kB",
        "time                        300 µs      300 µs      300 µs",
        "  to fetch, at best         329 µs      337 µs     21.5 µs",
        "  to multiply, at best     32.8 µs     33.6 µs      111 µs",
        "energy                    ~90.0 µJ    ~90.0 µJ    ~90.0 µJ",
        "",
        "In one thread, which at best fetches 20.0 GB and does",
    ]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2, 12])
@pytest.mark.parametrize("size", [8, 8192])
def test_sixty_columns(capsys: pytest.CaptureFixture[str], cell: str, layers: int, size: int) -> None:
    show.cost(example(cell=cell, num_layers=layers, hidden_size=size, ngrams=4, vocab_size=100_000))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(columns, lines)) <= 60
    assert any(line.startswith(f"{layers} state to") for line in lines)


def test_what_could_not_be_measured_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show.cost(example(torch=False))
    shown = capsys.readouterr().out
    assert "torch is not installed" in shown
    assert "Horowitz 2014" in shown
    show.cost(example(estimated=False))
    shown = capsys.readouterr().out
    assert "~" not in shown
    assert "the processor's own counter" in shown
    both = example()
    read, write, train = both.activities
    show.cost(dataclasses.replace(both, activities=(dataclasses.replace(read, estimated=False), write, train)))
    shown = capsys.readouterr().out
    assert "the processor's own counter" in shown
    assert "Horowitz 2014" in shown


def test_no_colours_on_a_terminal_either(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", terminal)
    show.cost(example())
    assert "\x1b" not in terminal.getvalue()


def test_json() -> None:
    found = example(torch=False)
    row = json.loads(json.dumps(show.cost_row(found), allow_nan=False))
    assert list(row) == [
        *("matrices", "operations", "bytes", "seconds", "least_seconds", "joules", "estimated", "bandwidth", "rate")
    ]
    assert row["operations"] == {"read": 1_638_400, "write": 1_680_640, "train": 5_533_440}
    assert row["seconds"] == {"read": 3e-4, "write": 3e-4, "train": None}
    assert row["estimated"] is True
    recurrent = next(each for each in row["matrices"] if each["tensor"] == "layers.0.weight_hh_l0")
    assert recurrent == {
        "name": "state to gates",
        "layer": 1,
        "tensor": "layers.0.weight_hh_l0",
        "symbols": "[4H x H]",
        "shape": [2560, 640],
        "read": 1_638_400,
        "write": 1_638_400,
        "train": 4_915_200,
        "bytes": 6_553_600,
        "fetched": recurrent["fetched"],
    }
    for name in ("read", "write", "train"):
        assert sum(each["fetched"][name] for each in row["matrices"]) == pytest.approx(row["bytes"][name])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.00 nB"),
        (999.4, "999 B"),
        (999.6, "1.00 kB"),
        (9.994, "9.99 B"),
        (9.996, "10.0 B"),
        (99.96, "100 B"),
        (1.5e-6, "1.50 µB"),
        (2e15, "2000 TB"),
    ],
)
def test_amounts(value: float, shown: str) -> None:
    assert show.amount(value, "B") == shown

"""What docs/cost.md says of shapes: every figure is computed again."""

import re
from pathlib import Path
from typing import Any

import pytest

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.measure.inside import energy
from charlstm.measure.inside.cost import ACTIVITIES, Activity, Cost, Matrix, matrices
from charlstm.network import weights
from charlstm.show import cost as show
from charlstm.storage.loaded import load

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())  # wherever its lines break


def parts_of(**shape: Any) -> tuple[Matrix, ...]:
    model = ModelConfig(**{"hidden_size": 640, "embedding_size": 64} | shape)
    train = TrainConfig(steps=1, batch_size=32, seq_length=128)
    return matrices(RunConfig(text=TextConfig(), model=model, train=train), 66)


def total(parts: tuple[Matrix, ...], name: str) -> float:
    return float(sum(getattr(each, name) for each in parts))


def shape_of(network: str) -> dict[str, Any]:
    """Return the settings of a row: its layers and units, and what stands behind them."""
    size, *others = network.split(", ")
    layers, units = map(int, size.split(" x "))
    shape: dict[str, Any] = {"num_layers": layers, "hidden_size": units}
    for other in others:
        if other in {"coupled or gru", "peephole", "rnn"}:
            shape["cell"] = other.split()[0]
        elif other != "the shipped one":
            shape["embedding_size" if other.startswith("embedding") else "ngrams"] = int(other.split()[-1])
    return shape


def test_the_table_of_networks() -> None:
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| \d.*$", PAGE, re.MULTILINE)
    ]
    assert len(rows) == 8
    for network, *figures in rows:
        shape = shape_of(network)
        parts = parts_of(**shape)
        model = ModelConfig(**{"embedding_size": 64} | shape)
        expected = [f"{weights.count(model, 66):,}"]
        expected += [f"{total(parts, name) / 1e6:.2f}" for name in ("write", "train", "write_bytes", "train_bytes")]
        assert figures == expected, network
    gru, coupled = (parts_of(cell=cell) for cell in ("gru", "coupled"))
    assert gru == coupled


def test_the_shipped_model_is_the_one_described(capsys: pytest.CaptureFixture[str]) -> None:
    """Its table is what the command prints; times and rates are those of one day."""
    loaded = load(str(ROOT / "checkpoints" / "shakespeare"))
    parts = matrices(loaded.config, loaded.tokenizer.vocab_size)
    assert parts == parts_of()
    activities = []
    for name in ACTIVITIES:
        operations, fetched = total(parts, name), total(parts, f"{name}_bytes")
        joules = energy.estimate(operations, fetched, cached=True)
        activities.append(Activity(name, operations, fetched, 1e-4, 1e-4, joules, estimated=True))
    letters = (("V", 66), ("E", 64), ("H", 640), ("L", 1))
    show.cost(Cost(parts, tuple(activities), 24.4e9, 56.34e9, letters, 32, 128))
    shown = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("time ")]
    (block,) = re.findall(r"```\n\$ charlstm inspect.*?\n(.*?)```", PAGE, re.DOTALL)
    printed = [line for line in block.splitlines() if not line.startswith("time ")]
    assert printed == shown[: len(printed)]


def test_the_prose() -> None:
    shipped = parts_of()
    u, w, out = 4 * 640 * 640, 4 * 640 * 64, 66 * 640
    assert f"4 * 640 * 640 = {u:,}" in PROSE
    assert f"3 * ({w:,} + {u:,} + {out:,}) = {total(shipped, 'train'):,.0f}" in PROSE
    assert f"recurrent: {2 / 32 + 11 / 4096:.4f} for B = 32, T = 128" in PROSE
    assert f"if not: {13 / 4096:.4f}" in PROSE
    times = total(shipped, "write_bytes") / total(shipped, "train_bytes")
    assert f"{times:.0f} times less than in writing" in PROSE
    assert f"{total(shipped, 'train') / total(shipped, 'train_bytes'):.0f} multiplications per byte" in PROSE
    two = parts_of(hidden_size=512, num_layers=2)
    assert f"3 * 4 * 512 * 512 = {total(two, 'read'):,.0f}" in PROSE
    assert total(two, "read") / total(parts_of(hidden_size=512), "read") == 3  # the second layer costs twice the first
    assert total(parts_of(hidden_size=887), "read") == pytest.approx(total(two, "read"), rel=1e-3)
    assert total(two, "train_bytes") < total(parts_of(hidden_size=887), "train_bytes")
    longer = parts_of(embedding_size=256)
    more, moved = (total(longer, name) / total(shipped, name) - 1 for name in ("train", "train_bytes"))
    assert f"{more:.0%} more multiplications and {moved:.0%} more bytes".replace("%", " %") in PROSE
    assert total(longer, "write_bytes") == total(shipped, "write_bytes")
    assert total(parts_of(ngrams=4), "read") / total(shipped, "read") == pytest.approx(1.1, abs=5e-3)
    quarter = total(parts_of(cell="coupled"), "read") / total(shipped, "read")
    assert quarter == 0.75


def test_the_energy() -> None:
    shipped = parts_of()
    operations, fetched = total(shipped, "write"), total(shipped, "write_bytes")
    arithmetic = energy.estimate(operations, 0, cached=True)
    assert f"{operations:,.0f} * 4.6 pJ = {arithmetic * 1e6:.1f} µJ" in PROSE
    assert f"{energy.estimate(0, fetched, cached=True) * 1e6:.1f} µJ for fetching {fetched / 1e6:.2f} MB" in PROSE
    assert f"from memory it would be {energy.estimate(0, fetched, cached=False) * 1e6:,.0f} µJ" in PROSE
    assert f"takes {15 / 2000 * 1e3:.1f} mJ" in PROSE

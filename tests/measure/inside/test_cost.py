"""What a character costs: by hand, by counting what the sampler multiplies, and by torch's own counter."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.measure.inside.cost import ACTIVITIES, Matrix, cost, matrices
from charlstm.network import ngrams, weights
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Stepper
from charlstm.storage.loaded import load
from tests.conftest import SMALL, Command

OLD = Path(__file__).parents[2] / "checkpoints" / "0.1.0"


def settings(batch_size: int = 32, seq_length: int = 64, accumulate: int = 1, **model: Any) -> RunConfig:
    train = TrainConfig(steps=1, batch_size=batch_size, seq_length=seq_length, accumulate=accumulate)
    return RunConfig(text=TextConfig(), model=ModelConfig(**model), train=train)


def sums(parts: tuple[Matrix, ...]) -> tuple[list[float], list[float]]:
    """Return the multiplications and the bytes of reading, writing and training."""
    return (
        [sum(getattr(each, name) for each in parts) for name in ACTIVITIES],
        [sum(getattr(each, f"{name}_bytes") for each in parts) for name in ACTIVITIES],
    )


def worked(side: str, values: dict[str, int]) -> int:
    """Return the value of "4H", "LH" or "(E + H)"."""
    total = 0
    for term in side.strip("()").split(" + "):
        letters = term.lstrip("0123456789")
        total += int(term[: len(term) - len(letters)] or 1) * math.prod(values[letter] for letter in letters)
    return total


def test_one_layer_of_512_by_hand() -> None:
    """V = 100, E = 64, 32 streams, windows of 64: a weight moves (2 + 11) / 2,048 times, U 2 / 32 + 11 / 2,048."""
    operations, fetched = sums(matrices(settings(hidden_size=512, embedding_size=64), 100))
    u, w, out = 2048 * 512, 2048 * 64, 100 * 512
    assert operations == [1_048_576, 1_099_776, 3_692_544] == [u, u + out, 3 * (u + w + out)]
    trained = u * 0.06787109375 + (w + out + 2 * 2048 + 100) * 13 / 2048 + 2 * 64 + 100 * 64 * 11 / 2048
    assert fetched == [4 * (u + 2 * 2048), 4 * (u + 2 * 2048 + out + 100), pytest.approx(4 * trained)]
    assert fetched[:2] == [4_210_688, 4_415_888]


def test_two_layers_of_384_by_hand() -> None:
    parts = matrices(settings(hidden_size=384, num_layers=2, embedding_size=48), 80)
    assert [(each.symbols, each.shape) for each in parts if len(each.shape) > 1] == [
        ("[V x E]", (80, 48)),
        ("[4H x E]", (1536, 48)),
        ("[4H x H]", (1536, 384)),
        ("[4H x (E + H)]", (1536, 432)),
        ("[4H x H]", (1536, 384)),
        ("[V x LH]", (80, 768)),
    ]
    operations, _ = sums(parts)
    assert operations == [1_769_472, 1_830_912, 5_935_104]
    assert [each.layer for each in parts] == [None, 1, 1, 1, 1, 2, 2, 2, 2, None, None]


def test_a_gru_with_ngrams_by_hand() -> None:
    """The sums of n-grams cannot be tabled, so the sampler multiplies them: E x 3H more."""
    shape = {"cell": "gru", "hidden_size": 100, "embedding_size": 20, "ngrams": 4, "ngram_dropout": 0.5}
    parts = matrices(settings(**shape), 50, 1000)
    operations, fetched = sums(parts)
    scaled = 3 * 20  # orders 2, 3 and 4
    assert operations == [6_000 + 30_000 + scaled, 6_000 + 30_000 + 5_000 + scaled, 3 * 41_000]
    assert fetched[0] == 4 * (6_000 + 300 + 30_000 + 300) + 3 * 20 + 3 * 4
    assert next(each for each in parts if each.tensor == ngrams.VALUES).bytes == 20_000
    exact = matrices(settings(**shape), 50, 1000, rounded=False)
    assert sums(exact)[0][0] == 36_000
    assert sums(exact)[1][0] == 4 * (6_000 + 300 + 30_000 + 300 + 3 * 20)


def test_streams_share_what_is_fetched() -> None:
    def trained(**train: int) -> float:
        parts = matrices(settings(hidden_size=512, **train), 100)
        return next(each.train_bytes for each in parts if each.tensor == weights.of_layer(0, weights.W_HH))

    u = 4 * 2048 * 512
    assert trained(batch_size=64, seq_length=64) == u * (2 / 64 + 11 / 4096)
    assert trained(batch_size=64, seq_length=64, accumulate=4) == u * (2 / 16 + 11 / 4096)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
def test_the_shapes_are_those_of_the_weights(cell: str, layers: int) -> None:
    config = settings(cell=cell, hidden_size=7, num_layers=layers, embedding_size=5, ngrams=3)
    parts = {each.tensor: each for each in matrices(config, 11, 64)}
    whole = weights.shapes(config.model, 11)
    own = {name: each.shape for name, each in parts.items() if not name.startswith("ngrams.")}
    assert own == {name: shape for name, shape in whole.items() if name != ngrams.DENSE}
    assert sum(int(np.prod(shape)) for shape in own.values()) == weights.count(config.model, 11)
    values = {"V": 11, "E": 5, "H": 7, "L": layers, "U": 64}
    for each in parts.values():
        assert tuple(worked(side, values) for side in each.symbols.strip("[]").split(" x ")) == each.shape


class Counting(np.ndarray):
    """Weights that count what they are multiplied with in matrix products."""

    multiplied = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(each) if isinstance(each, np.ndarray) else each for each in inputs]
        if ufunc is np.matmul and plain[0].ndim == 1:
            Counting.multiplied += plain[1].size
        return np.asarray(getattr(ufunc, method)(*plain, **options)).view(Counting)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("orders", [0, 3])
def test_the_sampler_multiplies_what_is_counted(cell: str, orders: int) -> None:
    config = settings(cell=cell, hidden_size=12, num_layers=2, embedding_size=5, ngrams=orders, ngram_rows=64)
    alphabet = Symbols(9)
    tensors = {
        name: each.numpy().view(Counting) for name, each in CharLSTM(config.model, alphabet).state_dict().items()
    }
    engine = Stepper(config.model, alphabet, tensors)
    parts = [each for each in matrices(config, 9, 64, rounded=False) if len(each.shape) > 1]
    state = engine.zero_state()
    Counting.multiplied = 0
    outputs, state = engine.step(3, state)
    assert Counting.multiplied == sum(each.read for each in parts)
    engine.logits(outputs)
    assert Counting.multiplied == sum(each.write for each in parts)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_torch_counts_the_same_in_training(cell: str, layers: int) -> None:
    """The kernels that it can count are not those of oneDNN; the state is a leaf, so that step 1 is like the others."""
    shape = {"cell": cell, "hidden_size": 16, "num_layers": layers, "embedding_size": 6}
    config = settings(batch_size=3, seq_length=5, dropout=0.0, recurrent_dropout=0.0, **shape)
    model = CharLSTM(config.model, Symbols(11)).train()
    ids = torch.arange(15).reshape(5, 3) % 11
    state = [tuple(part.clone().requires_grad_() for part in layer) for layer in model.zero_state(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counted:
            logits, _ = model(ids, state)
            forward = counted.get_total_flops()
            F.cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()
    parts = [each for each in matrices(config, 11) if len(each.shape) > 1]
    assert counted.get_total_flops() == 2 * 15 * sum(each.train for each in parts)
    assert forward == 2 * 15 * sum(each.train for each in parts) / 3


def check(found: Any, reported: list[float]) -> None:
    assert [each.name for each in found.activities] == list(ACTIVITIES)
    for each in found.activities:
        assert each.seconds > 0
        assert each.least_seconds == max(each.bytes / found.bandwidth, each.operations / found.rate)
        assert each.operations == sum(getattr(matrix, each.name) for matrix in found.matrices)
    assert reported == sorted(reported)
    assert reported[-1] == 1.0


def test_what_is_measured(trained: Path, tmp_path: Path) -> None:
    loaded = load(str(trained))
    before = {name: each.copy() for name, each in loaded.checkpoint.weights.items()}
    reported: list[float] = []
    threads = torch.get_num_threads()
    found = cost(loaded, reported.append, seconds=0.1, counters=tmp_path)
    check(found, reported)
    assert torch.get_num_threads() == threads
    assert all(each.estimated for each in found.activities)
    assert {matrix.tensor: matrix.shape for matrix in found.matrices} == {
        name: each.shape for name, each in loaded.checkpoint.weights.items() if name != ngrams.ROWS
    }
    assert all((before[name] == each).all() for name, each in loaded.checkpoint.weights.items())  # a copy was trained
    assert dict(found.letters)["H"] == 48
    assert (found.streams, found.window) == (8, 24)


def test_without_torch_training_is_not_timed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = cost(load(str(trained)), seconds=0.01, counters=tmp_path)
    *_, train = found.activities
    assert train.seconds is None
    assert train.estimated
    assert train.joules > 0


def test_an_estimate_depends_on_the_caches(trained: Path, tmp_path: Path) -> None:
    loaded = load(str(trained))
    (tmp_path / "index0").mkdir()
    joules = []
    for size in ("4K", "1G"):
        (tmp_path / "index0" / "size").write_text(size + "\n")
        found = cost(loaded, seconds=0.01, counters=tmp_path, caches=tmp_path)
        read = found.activities[0]
        joules.append(read.joules)
        assert found.cached == (size == "1G")
    assert joules[0] == pytest.approx(read.operations * 4.6e-12 + read.bytes * 1.95e-9 / 8)
    assert joules[1] == pytest.approx(read.operations * 4.6e-12 + read.bytes * 100e-12 / 8)


@pytest.mark.parametrize("name", ["peephole-char-documents", "coupled-byte-documents", "rnn-char"])
def test_other_cells_and_vocabularies(tmp_path: Path, name: str) -> None:
    loaded = load(str(OLD / name / "best.safetensors"))
    reported: list[float] = []
    check(cost(loaded, reported.append, seconds=0.01, counters=tmp_path), reported)


def test_ngrams_are_measured_in_eight_bits_and_exactly(charlstm: Command, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text[:8000], encoding="utf-8")
    assert charlstm("train", "a.txt", "--steps=1", "--ngrams=3", "--cell=gru", *SMALL).code == 0
    found = {}
    for file in ("best", "last"):
        reported: list[float] = []
        loaded = load(str(tmp_path / "checkpoints" / "a" / f"{file}.safetensors"))
        found[file] = cost(loaded, reported.append, seconds=0.01, counters=tmp_path)
        check(found[file], reported)
        (table,) = [each for each in found[file].matrices if each.tensor == ngrams.VALUES]
        values = loaded.checkpoint.weights[ngrams.VALUES]
        assert (table.shape, table.bytes) == (values.shape, values.nbytes)
    scaled = [each.operations for each in found["best"].activities]
    exact = [each.operations for each in found["last"].activities]
    assert scaled == [exact[0] + 2 * 16, exact[1] + 2 * 16, exact[2]]

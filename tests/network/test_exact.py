import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charlstm.config import ModelConfig
from charlstm.errors import DataError, UsageError
from charlstm.network import exact
from charlstm.network.cells import CELLS
from charlstm.network.exact import ExactEngine, Product, Quantised
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Hold, Stepper, outputs
from charlstm.network.weights import OUTPUT, W_HH, of_layer
from tests.network.integers import FRAMED, NGRAMS, SHAPES, UNFRAMED, Reference, digests, quantised, text, weights

ROOT = Path(__file__).parent.parent.parent


def name(shape: tuple[str, int, Symbols, dict[str, int]]) -> str:
    cell, layers, alphabet, options = shape
    return f"{cell}-{layers}-{'framed' if alphabet is FRAMED else 'unframed'}-{'ngrams' if options else 'plain'}"


@pytest.mark.parametrize("shape", SHAPES, ids=name)
def test_the_engine_computes_what_integers_say(shape: tuple[str, int, Symbols, dict[str, int]]) -> None:
    model = quantised(*shape)
    engine, reference = ExactEngine(model), Reference(model)
    state = engine.zero_state()
    for id in text(40):
        output, state = engine.step(id, state)
        scores = reference.read(id)
        assert engine.scores(output).tolist() == scores
        assert engine.frequencies(output).tolist() == reference.frequencies(scores)
        assert engine.logits(output).tolist() == [score / 1024 for score in scores]


@pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])
@pytest.mark.parametrize("cell", CELLS)
def test_many_streams_step_as_one_to_the_bit(cell: str, options: dict[str, int]) -> None:
    engine = ExactEngine(quantised(cell, 2, FRAMED, options))
    ids = np.random.default_rng(0).integers(20, size=(30, 11))
    together = engine.zero_state(11)
    alone = [engine.zero_state() for _ in range(11)]
    for row in ids:
        output, together = engine.step(row, together)
        frequencies = engine.frequencies(output)
        for stream in range(11):
            single, alone[stream] = engine.step(row[stream], alone[stream])
            np.testing.assert_array_equal(output[stream], single)
            np.testing.assert_array_equal(frequencies[stream], engine.frequencies(single))
            for layer, own in zip(together, alone[stream], strict=True):
                assert all(np.array_equal(a[stream], b) for a, b in zip(layer, own, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_after_an_end_nothing_is_left(cell: str) -> None:
    engine = ExactEngine(quantised(cell, 2, FRAMED, NGRAMS))
    state = engine.zero_state()
    fresh, _ = engine.step(FRAMED.end_id, state)
    for id in text(50):
        _, state = engine.step(id, state)
    output, after = engine.step(FRAMED.end_id, state)
    np.testing.assert_array_equal(output, fresh)
    _, other = engine.step(FRAMED.end_id, engine.zero_state())
    for ours, theirs in zip(after, other, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    expected = 0 if CELLS[cell].reset.get("o") else 127
    assert (output == expected).all()


@pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_close_to_the_network_in_floats(cell: str, options: dict[str, int]) -> None:
    """As close as 7 bits allow, in random networks that do not amplify what is rounded."""
    config = ModelConfig(cell=cell, num_layers=2, hidden_size=64, embedding_size=12, **options)
    model = weights(config, FRAMED, scale=0.4)
    engine, stepper = ExactEngine(Quantised.from_checkpoint(config, FRAMED, model)), Stepper(config, FRAMED, model)
    state, floats, differences = engine.zero_state(), stepper.zero_state(), []
    for id in text(200):
        output, state = engine.step(id, state)
        expected, floats = stepper.step(id, floats)
        differences.append(engine.logits(output) - stepper.logits(expected))
    spread = np.std(stepper.logits(expected))
    assert np.sqrt(np.mean(np.square(differences))) < 0.03 * spread


@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_has_the_bits_of_a_step(cell: str) -> None:
    engine = ExactEngine(quantised(cell, 2, FRAMED, NGRAMS))
    stepped = traced = engine.zero_state()
    for id in text(10):
        output, stepped = engine.step(id, stepped)
        layers, traced = engine.trace(id, traced)
        np.testing.assert_array_equal(np.rint(outputs(layers) * 127), output)
        assert [list(layer.gates) for layer in layers] == [list(CELLS[cell].gates)] * 2
        for ours, theirs in zip(traced, stepped, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for layer in layers:
        assert (layer.c is not None) == CELLS[cell].has_c
        if layer.c is not None:
            np.testing.assert_allclose(layer.h, layer.gates["o"] * np.tanh(layer.c), atol=0.006)


@pytest.mark.parametrize("cell", CELLS)
def test_a_unit_is_held(cell: str) -> None:
    engine = ExactEngine(quantised(cell, 2, UNFRAMED, {}))
    for signal, steps in (("h", 127), ("c", 2**14)) if CELLS[cell].has_c else (("h", 127),):
        layers, _ = engine.trace(3, engine.zero_state(), Hold(1, signal, 5, 0.25))
        value = layers[0].h[5] if signal == "h" else layers[0].c[5]
        assert abs(value - 0.25) <= 0.5 / steps
        untouched, _ = engine.trace(3, engine.zero_state())
        assert (np.delete(layers[0].h, 5) == np.delete(untouched[0].h, 5)).all()
        together, _ = engine.trace(np.array([3, 3]), engine.zero_state(2), Hold(1, signal, [5, 6], [0.25, 0.25]))
        np.testing.assert_array_equal(together[1].h[0], layers[1].h)
    with pytest.raises(UsageError, match="layer 3"):
        engine.trace(3, engine.zero_state(), Hold(3, "h", 0, 0.0))


@pytest.mark.parametrize(("size", "dtype"), [(1040, np.float32), (1041, np.float64), (3000, np.float64)])
def test_products_are_exact_whatever_is_multiplied(size: int, dtype: type) -> None:
    """1040 * 127 * 127 is just below 2^24; beyond it, not every integer is a float32."""
    source = np.random.default_rng(size)
    matrix = np.full((3, size), 127, np.int8)
    matrix[1] = source.integers(-127, 128, size)
    product = Product(matrix, np.array([1, 2**20, 2**14], np.int32), 127, 2**10)
    assert product.dtype == dtype
    for rows in (np.full((2, size), 127.0), source.integers(120, 128, (12, size)).astype(np.float32)):
        expected = rows.astype(np.int64) @ matrix.T.astype(np.int64) * np.array([1, 2**20, 2**14])
        assert (product(rows) * 2**22 == expected).all()
        np.testing.assert_array_equal(product(rows[0]), product(rows)[0])


def test_products_that_float64_could_not_hold_are_refused() -> None:
    matrix = np.full((1, 1000), 127, np.int8)
    assert Product(matrix, np.array([69_000_000]), 127, 1)(np.full(1000, 127.0)) * 2**32 == 127**2 * 69 * 10**9
    with pytest.raises(DataError, match="too large for exact arithmetic"):
        Product(matrix, np.array([70_000_000]), 127, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("weight", [of_layer(0, W_HH), OUTPUT])
def test_weights_that_are_no_numbers_or_too_large_are_refused(weight: str, value: float) -> None:
    config = ModelConfig(hidden_size=4, embedding_size=4)
    model = weights(config, UNFRAMED)
    model[weight][0, 0] = value
    with pytest.raises(DataError, match="not numbers" if value != 1e30 else "too large"):
        Quantised.from_checkpoint(config, UNFRAMED, model)


def test_the_total_is_there() -> None:
    assert exact.TOTAL == 2**22


FEATURES = np._core._multiarray_umath.__cpu_features__
DISPATCHED = [feature for feature in np._core._multiarray_umath.__cpu_dispatch__ if FEATURES[feature]]


@pytest.fixture(scope="module")
def here() -> list[str]:
    return list(digests())


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="these kernels are those of x86-64")
@pytest.mark.parametrize("features", ["all", "none"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernel", ["Haswell", "SkylakeX", "Zen", "Sandybridge", "Nehalem", "Prescott"])
def test_every_kernel_gives_the_same_bits(here: list[str], kernel: str, threads: int, features: str) -> None:
    if kernel == "SkylakeX" and not FEATURES["AVX512_SKX"]:
        pytest.skip("this processor has no AVX-512")
    variables = {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(threads)}
    if features == "none":
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(DISPATCHED)
    done = subprocess.run(
        [sys.executable, "-m", "tests.network.integers"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == here

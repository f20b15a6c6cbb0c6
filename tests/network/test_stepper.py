import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.errors import UsageError
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Hold, Stepper, outputs
from tests.conftest import fitted
from tests.network.conftest import NGRAMS, build, fill


def numpy_weights(model: CharLSTM) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_stepper_is_the_model_on_real_text(
    text: str, cell: str, num_layers: int, library: str, options: dict[str, int]
) -> None:
    torch.manual_seed(1)
    sample = text[: 150 if options else 400]
    tokenizer = fitted(sample)
    config = ModelConfig(cell=cell, hidden_size=128, num_layers=num_layers, **options)
    model = CharLSTM(config, tokenizer).eval()
    fill(model)
    model.output.weight.data *= 20  # sharp distributions, as a trained model has
    ids = torch.from_numpy(tokenizer.encode(sample).astype(np.int64))
    with torch.inference_mode():
        logits, _ = model(ids[:, None], model.zero_state(1))
    expected = logits[:, 0].softmax(-1).numpy()
    assert expected.max() > 0.5
    stepper = Stepper(config, tokenizer, numpy_weights(model) if library == "numpy" else model.state_dict())
    state = stepper.zero_state()
    for id, distribution in zip(ids.tolist(), expected, strict=True):
        output, state = stepper.step(id, state)
        scores = torch.as_tensor(stepper.logits(output))
        np.testing.assert_allclose(scores.softmax(-1).numpy(), distribution, atol=5e-5)


@pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])
@pytest.mark.parametrize("cell", CELLS)
def test_many_streams_step_as_one(cell: str, options: dict[str, int]) -> None:
    model = build(cell=cell, num_layers=2, **options)
    stepper = Stepper(model.config, Symbols(20), numpy_weights(model))
    ids = np.random.default_rng(0).integers(20, size=(10, 3))
    together = stepper.zero_state(3)
    alone = [stepper.zero_state() for _ in range(3)]
    for row in ids:
        outputs, together = stepper.step(row, together)
        for stream in range(3):
            output, alone[stream] = stepper.step(row[stream], alone[stream])
            np.testing.assert_allclose(stepper.logits(outputs)[stream], stepper.logits(output), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_has_the_bits_of_a_step(cell: str) -> None:
    model = build(cell=cell, num_layers=2, **NGRAMS)
    stepper = Stepper(model.config, Symbols(20), numpy_weights(model))
    stepped = traced = stepper.zero_state()
    for id in np.random.default_rng(0).integers(20, size=10).tolist():
        output, stepped = stepper.step(id, stepped)
        layers, traced = stepper.trace(id, traced)
        assert np.concatenate([layer.h for layer in layers]).tobytes() == output.tobytes()
        for ours, theirs in zip(traced, stepped, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("rounded", [False, True])
def test_the_rows_in_use_step_as_the_whole_table_does(rounded: bool) -> None:
    model = build(**NGRAMS)
    assert model.ngrams is not None
    model.ngrams.weight.data[::3] = 0
    whole = numpy_weights(model)
    table = whole.pop(ngrams.DENSE)
    used = np.flatnonzero(table.any(1))
    kept = ngrams.rounded(table, used, np.ones(len(used), np.float32)) if rounded else ngrams.packed(table, used)
    engines = [
        Stepper(model.config, Symbols(20), whole | kept),
        Stepper(model.config, Symbols(20), whole | {ngrams.DENSE: ngrams.dense(kept, 256)}),
    ]
    states = [engine.zero_state() for engine in engines]
    for id in np.random.default_rng(0).integers(20, size=30).tolist():
        (ours, states[0]), (theirs, states[1]) = (
            engine.step(id, state) for engine, state in zip(engines, states, strict=True)
        )
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_streams_are_traced_with_the_bits_of_a_step(cell: str, library: str) -> None:
    model = build(cell=cell, num_layers=2, **NGRAMS)
    stepper = Stepper(model.config, Symbols(20), numpy_weights(model) if library == "numpy" else model.state_dict())
    stepped = traced = stepper.zero_state(3)
    for row in np.random.default_rng(0).integers(20, size=(10, 3)):
        output, stepped = stepper.step(row, stepped)
        layers, traced = stepper.trace(row, traced)
        assert all(value.shape == (3, 32) for layer in layers for value in layer.gates.values())
        assert np.array_equal(outputs(layers), output)
        for ours, theirs in zip(traced, stepped, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def plain(array: object) -> np.ndarray:
    """Return a copy of a numpy or torch array as numpy's."""
    return torch.as_tensor(array).clone().numpy()


def held_in_float64(stepper_of: CharLSTM, ids: list[int], hold: Hold | None, unit: int, value: float) -> np.ndarray:
    """Return the scores after some ids, from the equations, in float64, with one unit held at every step."""
    weights = {name: weight.astype(np.float64) for name, weight in numpy_weights(stepper_of).items()}
    cell = CELLS[stepper_of.config.cell]
    states = [(np.zeros(32),) * (2 if cell.has_c else 1) for _ in range(2)]
    for id in ids:
        x = embedded = weights["embedding.weight"][id]
        for number in range(2):
            w_ih, w_hh, b_ih, b_hh, *w_ch = (
                weights[f"layers.{number}.{name}"]
                for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ch_l0")
                if f"layers.{number}.{name}" in weights
            )
            before = states[number]
            gates = cell.activate(w_ih @ x + b_ih, w_hh @ before[0] + b_hh, before, *w_ch)
            h, *c = cell.update(gates, before)
            if hold is not None and number == hold.layer - 1:
                if hold.signal == "c":
                    c[0][unit] = value
                    h[unit] = gates[-1][unit] * np.tanh(value)
                else:
                    h[unit] = value
            states[number] = (h, *c)
            x = np.concatenate([embedded, h])
    return weights["output.weight"] @ np.concatenate([state[0] for state in states]) + weights["output.bias"]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("signal", ["c", "h"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_held_unit_is_held_and_all_else_follows(cell: str, signal: str, library: str) -> None:
    if signal == "c" and not CELLS[cell].has_c:
        pytest.skip("this cell has no c")
    model = build(cell=cell, num_layers=2)
    stepper = Stepper(model.config, Symbols(20), numpy_weights(model) if library == "numpy" else model.state_dict())
    ids = np.random.default_rng(0).integers(20, size=12).tolist()
    unheld = held_in_float64(model, ids, None, 0, 0.0)
    for layer in (1, 2):
        hold = Hold(layer, signal, np.array([3, 30, 3]), np.array([0.9, -0.7, -0.2]))
        state = stepper.zero_state(3)
        for id in ids:
            kept = [tuple(plain(part) for part in parts) for parts in state]
            before = state
            layers, state = stepper.trace(np.full(3, id), before, hold)
            for ours, theirs in zip(before, kept, strict=True):
                assert all(np.array_equal(plain(a), b) for a, b in zip(ours, theirs, strict=True))
        traced = layers[layer - 1].c if signal == "c" else layers[layer - 1].h
        np.testing.assert_allclose(plain(traced)[[0, 1, 2], hold.units], hold.values, atol=1e-7)
        scores = plain(stepper.logits(outputs(layers)))
        for stream, (unit, value) in enumerate(zip(hold.units, hold.values, strict=True)):
            expected = held_in_float64(model, ids, hold, unit, value)
            assert np.abs(expected - unheld).max() > 1e-3
            np.testing.assert_allclose(scores[stream], expected, atol=1e-5)
            alone = stepper.zero_state()
            for id in ids:
                layers_alone, alone = stepper.trace(id, alone, Hold(layer, signal, unit, value))
            np.testing.assert_allclose(plain(layers_alone[1].h), plain(layers[1].h[stream]), atol=1e-6)


@pytest.mark.parametrize(("layer", "signal", "message"), [(3, "h", "layer 3"), (0, "h", "layer 0"), (1, "c", "'c'")])
def test_what_cannot_be_held(layer: int, signal: str, message: str) -> None:
    model = build(cell="gru", num_layers=2)
    stepper = Stepper(model.config, Symbols(20), numpy_weights(model))
    with pytest.raises(UsageError, match=message):
        stepper.trace(1, stepper.zero_state(), Hold(layer, signal, 0, 0.0))

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Stepper
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
    sample = text[: 300 if options else 1000]
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

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Stepper
from tests.conftest import fitted
from tests.network.conftest import build


def numpy_weights(model: CharLSTM) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_stepper_is_the_model_on_real_text(text: str, cell: str, num_layers: int, library: str) -> None:
    torch.manual_seed(1)
    sample = text[:1000]
    tokenizer = fitted(sample)
    config = ModelConfig(cell=cell, hidden_size=128, num_layers=num_layers)
    model = CharLSTM(config, tokenizer).eval()
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


@pytest.mark.parametrize("cell", CELLS)
def test_many_streams_step_as_one(cell: str) -> None:
    model = build(cell=cell, num_layers=2)
    stepper = Stepper(model.config, Symbols(20), numpy_weights(model))
    ids = np.random.default_rng(0).integers(20, size=(10, 3))
    together = stepper.zero_state(3)
    alone = [stepper.zero_state() for _ in range(3)]
    for row in ids:
        outputs, together = stepper.step(row, together)
        for stream in range(3):
            output, alone[stream] = stepper.step(row[stream], alone[stream])
            np.testing.assert_allclose(stepper.logits(outputs)[stream], stepper.logits(output), atol=1e-5)

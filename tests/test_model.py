import numpy as np
import pytest
import torch

from charlstm.cells import CELLS
from charlstm.checkpoint import weight_shapes
from charlstm.config import ModelConfig
from charlstm.model import CharLSTM
from charlstm.stepper import Stepper
from charlstm.tokenizer import CharTokenizer


def build(seed: int = 0, **options: object) -> CharLSTM:
    torch.manual_seed(seed)
    return CharLSTM(ModelConfig(**{"hidden_size": 32, "embedding_size": 12} | options), 20, unknown_id=0).eval()


def numpy_weights(model: CharLSTM) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


def test_initial_weights() -> None:
    model = build(num_layers=2)
    for number, layer in enumerate(model.layers):
        w_ih, w_hh, b_ih, b_hh = layer.parameters()
        for gate in range(4):
            block = w_hh[gate * 32 : (gate + 1) * 32]
            torch.testing.assert_close(block @ block.T, torch.eye(32))
        bound = (6 / (32 + (12 if number == 0 else 44))) ** 0.5  # Glorot & Bengio (2010), equation 16
        assert 0.9 * bound < w_ih.abs().max() <= bound
        total = b_ih + b_hh
        assert total[32:64].eq(1).all()
        assert total[:32].eq(0).all()
        assert total[64:].eq(0).all()
    assert model.embedding.weight[0].eq(0).all()
    assert not model.embedding.weight[1].eq(0).any()


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_names_and_shapes_are_those_a_checkpoint_expects(cell: str, num_layers: int) -> None:
    model = build(cell=cell, num_layers=num_layers)
    assert {name: tuple(w.shape) for name, w in model.state_dict().items()} == weight_shapes(model.config, 20)


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_carries_on(cell: str) -> None:
    model = build(cell=cell, num_layers=2)
    ids = torch.randint(20, (30, 4))
    whole, end = model(ids, model.zero_state(4))
    first, state = model(ids[:13], model.zero_state(4))
    second, state = model(ids[13:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, end)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_stepper_is_the_model_on_real_text(text: str, cell: str, num_layers: int, library: str) -> None:
    torch.manual_seed(1)
    sample = text[:1000]
    tokenizer = CharTokenizer.fit(sample)
    config = ModelConfig(cell=cell, hidden_size=128, num_layers=num_layers)
    model = CharLSTM(config, tokenizer.vocab_size).eval()
    model.output.weight.data *= 20  # sharp distributions, as a trained model has
    ids = torch.from_numpy(tokenizer.encode(sample).astype(np.int64))
    with torch.inference_mode():
        logits, _ = model(ids[:, None], model.zero_state(1))
    expected = logits[:, 0].softmax(-1).numpy()
    assert expected.max() > 0.5
    stepper = Stepper(cell, numpy_weights(model) if library == "numpy" else model.state_dict())
    state = stepper.zero_state()
    for id, distribution in zip(ids.tolist(), expected, strict=True):
        output, state = stepper.step(id, state)
        scores = torch.as_tensor(stepper.logits(output))
        np.testing.assert_allclose(scores.softmax(-1).numpy(), distribution, atol=5e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_many_streams_step_as_one(cell: str) -> None:
    stepper = Stepper(cell, numpy_weights(build(cell=cell, num_layers=2)))
    ids = np.random.default_rng(0).integers(20, size=(10, 3))
    together = stepper.zero_state(3)
    alone = [stepper.zero_state() for _ in range(3)]
    for row in ids:
        outputs, together = stepper.step(row, together)
        for stream in range(3):
            output, alone[stream] = stepper.step(row[stream], alone[stream])
            np.testing.assert_allclose(stepper.logits(outputs)[stream], stepper.logits(output), atol=1e-5)


def test_dropout_is_locked_scaled_and_only_in_training() -> None:
    model = build(dropout=0.4)
    seen = []
    model.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ids = torch.randint(1, 20, (50, 8))  # the unknown's vector is zero: so would be its output
    with torch.no_grad():
        model(ids, model.zero_state(8))
        model.train()
        model(ids, model.zero_state(8))
    plain, dropped = seen
    kept = dropped[0] != 0
    assert 0.5 < kept.float().mean() < 0.7
    torch.testing.assert_close(dropped, plain * kept / 0.6)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_dropout_cuts_units_off_from_the_recurrence_only_in_training(cell: str) -> None:
    model = build(cell=cell, recurrent_dropout=0.4, dropout=0.0)
    ids = torch.randint(1, 20, (30, 4))
    layer = model.layers[0]
    weight = layer.weight_hh_l0.detach().clone()
    plain, _ = model(ids, model.zero_state(4))
    model.train()
    torch.manual_seed(5)
    dropped, _ = model(ids, model.zero_state(4))
    torch.manual_seed(5)
    mask = torch.empty(32).bernoulli_(0.6) / 0.6
    assert 0 < mask.eq(0).sum() < 32
    assert torch.equal(layer.weight_hh_l0, weight)
    layer.weight_hh_l0.data = weight * mask  # the kernel with the columns of those units at zero
    expected, _ = model.eval()(ids, model.zero_state(4))
    torch.testing.assert_close(dropped, expected)
    assert not torch.allclose(dropped, plain)

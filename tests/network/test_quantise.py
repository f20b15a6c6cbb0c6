import dataclasses
import hashlib

import numpy as np
import pytest

from charlstm.config import ModelConfig
from charlstm.errors import DataError
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.network.exact import ExactEngine
from charlstm.network.ngrams import Symbols
from charlstm.network.quantise import Quantised
from charlstm.network.weights import EMBEDDING, OUTPUT, OUTPUT_BIAS, W_HH, W_IH, of_layer
from tests.conftest import fitted
from tests.network.integers import FRAMED, NGRAMS, UNFRAMED, quantised, text, weights


def config(**options: object) -> ModelConfig:
    return ModelConfig(**{"hidden_size": 24, "embedding_size": 12} | options)


def test_weights_are_rounded_by_rows() -> None:
    shape = config()
    model = weights(shape, UNFRAMED)
    model[OUTPUT][3] = 0
    model[OUTPUT][4] *= 100
    found = Quantised.from_checkpoint(shape, UNFRAMED, model).tensors()
    for name in (OUTPUT, of_layer(0, W_HH)):
        assert found[name].dtype == np.int8
        step = np.abs(model[name]).max(1) / 127
        steps = found[name + ".scale"] * (127 / 2**32)
        np.testing.assert_allclose(steps, step, atol=127 / 2**33)
        np.testing.assert_allclose(found[name] * steps[:, None], model[name], atol=0.5001 * step.max())
        assert (np.abs(found[name]).max(1) == np.where(step > 0, 127, 0)).all()
    np.testing.assert_allclose(found[OUTPUT_BIAS] / 2**14, model[OUTPUT_BIAS], atol=2**-15)
    np.testing.assert_allclose(found[EMBEDDING] / 2**12, model[EMBEDDING], atol=2**-13)


def test_the_feature_of_the_end_of_a_document_does_not_coarsen_the_others() -> None:
    shape = config()
    model = weights(shape, FRAMED)
    found = Quantised.from_checkpoint(shape, FRAMED, model).tensors()
    steps = found[of_layer(0, "weight_x") + ".scale"] * (2**12 / 2**32)
    kept = found[of_layer(0, "weight_x")] * steps[:, None]
    np.testing.assert_allclose(kept[:, :-1], model[of_layer(0, W_IH)][:, :-1], atol=0.02)
    assert (kept[:, -1] == 0).all()
    assert set(np.abs(found[of_layer(0, "far")])) == {0, 2**22}


@pytest.mark.parametrize("alphabet", [UNFRAMED, FRAMED], ids=["unframed", "framed"])
@pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])
@pytest.mark.parametrize("cell", CELLS)
def test_tensors_come_back(cell: str, options: dict[str, int], alphabet: Symbols) -> None:
    model = quantised(cell, 2, alphabet, options)
    tensors = model.tensors()
    assert {tensor.dtype.name for tensor in tensors.values()} <= {"int8", "int16", "int32"}
    again = Quantised.of_tensors(model.config, alphabet, tensors)
    assert again.model_id == model.model_id
    ours, theirs = ExactEngine(model), ExactEngine(again)
    state = ours.zero_state()
    for id in text(5):
        output, after = ours.step(id, state)
        np.testing.assert_array_equal(output, theirs.step(id, state)[0])
        state = after
    for name in tensors:
        with pytest.raises(DataError):
            Quantised.of_tensors(model.config, alphabet, {key: tensors[key] for key in tensors if key != name})
        for wrong in (tensors[name].astype(np.int64), tensors[name][..., None], tensors[name][:-1]):
            if name.startswith("ngrams.") and wrong.dtype != np.int64 and wrong.ndim == tensors[name].ndim:
                continue  # these say how many rows there are
            with pytest.raises(DataError):
                Quantised.of_tensors(model.config, alphabet, tensors | {name: wrong})
    with pytest.raises(DataError):
        Quantised.of_tensors(model.config, alphabet, tensors | {"more": np.zeros(1, np.int8)})


def test_the_id_of_a_model_depends_on_all_that_decides_its_probabilities() -> None:
    model = quantised("lstm", 1, FRAMED, NGRAMS)
    ids = {model.model_id}
    for name, tensor in model.weights.items():
        changed = tensor.copy()
        changed.flat[-1] += 1
        ids.add(dataclasses.replace(model, weights=model.weights | {name: changed}).model_id)
    ids.add(dataclasses.replace(model, alphabet=Symbols(20, unknown_id=0)).model_id)
    ids.add(dataclasses.replace(model, alphabet=Symbols(20, end_id=19)).model_id)
    ids.add(dataclasses.replace(model, config=dataclasses.replace(model.config, cell="peephole")).model_id)
    ids.add(dataclasses.replace(model, config=dataclasses.replace(model.config, ngrams=5)).model_id)
    assert len(ids) == len(model.weights) + 5
    trained = dataclasses.replace(model.config, dropout=0.5)  # which decides none of them
    assert dataclasses.replace(model, config=trained).model_id == model.model_id


def test_known_answers() -> None:
    """If these change, what was compressed before cannot be read any more: then ARITHMETIC must change too."""
    shape = config(num_layers=2, **NGRAMS)
    model = weights(shape, FRAMED)
    for weight in model.values():  # in place of random numbers, which may be others in another numpy
        weight.flat = ((np.arange(weight.size) * 7919) % 1009 - 504) / 1009
    found = Quantised.from_checkpoint(shape, FRAMED, model)
    assert found.model_id == "e728576237af2c14197ae08820daebd9df751a750c53e34f0d77581350a40374"
    engine = ExactEngine(found)
    state = engine.zero_state()
    digest = hashlib.sha256()
    for number in range(200):
        output, state = engine.step(number * number % 20, state)
        digest.update(engine.frequencies(output).astype("<u4").tobytes())
    assert digest.hexdigest() == "05c1f36b6512ffb62bdf789122c67198c66dd14dd55153efff712241fac6b969"


def test_rows_of_ngrams_are_kept_as_they_are_in_the_file() -> None:
    shape = config(**NGRAMS)
    model = weights(shape, UNFRAMED)
    table = model.pop(ngrams.DENSE)
    table[::3] = 0
    used = np.flatnonzero(np.abs(table).max(1))
    packed, rounded = ngrams.packed(table, used), ngrams.rounded(table, used, np.ones(len(used), np.float32))
    of_table, of_rows, of_file = (
        Quantised.from_checkpoint(shape, UNFRAMED, model | each).tensors()
        for each in ({ngrams.DENSE: table}, packed, rounded)
    )
    for name in (ngrams.ROWS, ngrams.VALUES, ngrams.SCALES):
        np.testing.assert_array_equal(of_table[name], of_rows[name])
    np.testing.assert_array_equal(of_file[ngrams.ROWS], rounded[ngrams.ROWS])
    np.testing.assert_array_equal(of_file[ngrams.VALUES], rounded[ngrams.VALUES])
    np.testing.assert_allclose(of_file[ngrams.SCALES] / 2**24, rounded[ngrams.SCALES], atol=2**-25)


def test_labels_are_read_as_the_start_and_their_own() -> None:
    tokenizer = fitted("abc\n", framed=True).labelled({"x": 2, "y": 1})
    shape = config()
    model = weights(shape, Symbols(tokenizer.vocab_size, end_id=tokenizer.end_id, start_id=tokenizer.start_id))
    model["labels.weight"] = np.zeros((2, 12), np.float32)
    model["labels.weight"][1] = 0.5
    engine = ExactEngine(Quantised.from_checkpoint(shape, tokenizer, model))
    start, first, second = (
        engine.step(id, engine.zero_state())[0] for id in (tokenizer.start_id, *map(tokenizer.opener, "xy"))
    )
    np.testing.assert_array_equal(start, first)
    assert (start != second).any()
    frequencies = engine.frequencies(second)
    assert frequencies.shape == (tokenizer.vocab_size,)
    assert [id for id in range(tokenizer.vocab_size) if not frequencies[id]] == [tokenizer.start_id]

"""`charlstm.inspect`: what a program sees of a model's inside."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import charlstm
from charlstm.errors import DataError, UsageError
from charlstm.measure.inside import signals
from charlstm.measure.inside.overview import Overview, TimeScale
from tests.conftest import SMALL, Command

TEXT = "The value of an expression is computed, and then it is assigned."


@pytest.fixture(scope="module")
def model(trained: Path) -> charlstm.Model:
    return charlstm.load(trained)


def test_it_is_loaded_when_it_is_used() -> None:
    code = """
import sys
import charlstm
assert not {"numpy", "charlstm.inspect"} & set(sys.modules)
assert charlstm.inspect.read and charlstm.inspect.Found
assert "numpy" in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_public_explains_itself() -> None:
    for name in charlstm.inspect.__all__:
        public = getattr(charlstm.inspect, name)
        assert public.__doc__, name
        if isinstance(public, type):
            assert dataclasses.is_dataclass(public)


def test_a_reading_is_what_the_model_traces(model: charlstm.Model) -> None:
    reading = charlstm.inspect.read(model, TEXT)
    assert reading.text == TEXT
    assert np.allclose(reading.surprise, model.surprise(TEXT), atol=1e-5)
    for at, traced in enumerate(model.trace(TEXT)):
        assert np.array_equal(reading.values[1, "f"][at], traced.layers[0].gates["f"])
        assert np.array_equal(reading.values[1, "h"][at], traced.layers[0].h)
    few = charlstm.inspect.read(model, TEXT, layers=[1], units=[7], names=["c"], begin=10)
    assert np.array_equal(few.signal(1, 7, "c").values, reading.values[1, "c"][10:, 7])
    assert list(few.values) == [(1, "c")]


def test_the_overview(model: charlstm.Model) -> None:
    (layer,) = charlstm.inspect.overview(model, TEXT)
    forget = charlstm.inspect.read(model, TEXT, names=["f"]).values[1, "f"]
    shares = {gate.gate: gate for gate in layer.saturation}
    assert shares["f"].shut == pytest.approx((forget < 0.1).mean())
    assert shares["f"].open == pytest.approx((forget > 0.9).mean())


def test_the_ledger_adds_up(model: charlstm.Model) -> None:
    reading = charlstm.inspect.read(model, TEXT, names=["c"])
    for at in (None, 0, 30):
        found = charlstm.inspect.ledger(model, TEXT, unit=5, at=at)
        last = len(TEXT) - 1 if at is None else at
        assert (found.at, len(found.shares)) == (last, last + 1)
        assert found.carried + found.shares.sum() == pytest.approx(float(reading.values[1, "c"][last, 5]), abs=1e-5)


def test_the_look_back(model: charlstm.Model) -> None:
    found = charlstm.inspect.lookback(model, TEXT, at=50, back=20)
    assert (found.at, found.first, len(found.sizes)) == (50, 30, 20)
    assert -found.log_probability / np.log(2) == pytest.approx(model.surprise(TEXT)[50], abs=1e-4)
    whole = charlstm.inspect.lookback(model, TEXT, at=50)
    assert np.allclose(whole.gradients[30:], found.gradients)
    assert len(charlstm.inspect.lookback(model, TEXT, at=0).sizes) == 0


def test_the_look_back_over_characters_of_several_bytes(commands: Command) -> None:
    Path("bytes.txt").write_text("Größe — 漢字 — ok\n" * 200, encoding="utf-8", newline="")
    assert commands("train", "bytes.txt", "--tokenizer=byte", "--steps=3", *SMALL).code == 0
    model = charlstm.load("bytes")
    text = "ö— 漢字"
    ids = model.loaded.tokenizer.encode(text)
    cut = signals.cut(model.loaded.tokenizer, ids)
    found = charlstm.inspect.lookback(model, text)
    assert (found.at, found.first, len(found.sizes)) == (4, 0, 4)
    whole = charlstm.inspect.lookbacks.lookback(model.loaded, ids.astype(np.int64), len(ids) - 1)
    squares = whole.sizes**2
    starts = [0, *(int(last) + 1 for last in cut.last)]
    wanted = [squares[begin:end].sum() ** 0.5 for begin, end in itertools.pairwise(starts[:5])]
    assert np.allclose(found.sizes, wanted)


@pytest.fixture
def commands(charlstm: Command) -> Command:
    """The command line, beside the package of that name."""
    return charlstm


@pytest.mark.slow
def test_a_search(model: charlstm.Model, text: str) -> None:
    shares: list[float] = []
    found = charlstm.inspect.units(model, text[50_000:70_500], follow={"the": r"\bthe\b"}, report=shares.append)
    assert found.characters == 20_500
    assert "the" in {each.label for each in found.found + found.others}
    assert shares == sorted(shares)
    assert all(each.stands for each in found.found)


def test_a_unit_worth_looking_at(model: charlstm.Model) -> None:
    reading = charlstm.inspect.read(model, TEXT, units=[3, 5, 9])
    values = {(1, "c"): np.array([[2, 0, 0], [-2, 0, 2], [2, 0, 0]], np.float32)}
    reading = dataclasses.replace(reading, values=values)
    scales = (TimeScale(5, 900.0), TimeScale(3, 50.0), TimeScale(9, 2.0))
    found = Overview(1, (), (), scales, ())
    assert charlstm.inspect.memorable(reading, found) == (3, 50.0)  # 5 remembers longer, and does nothing
    assert charlstm.inspect.memorable(reading, dataclasses.replace(found, longest=())) == (3, None)
    for_ever = (TimeScale(3, float("inf")), TimeScale(9, 2.0))
    assert charlstm.inspect.memorable(reading, dataclasses.replace(found, longest=for_ever)) == (9, 2.0)


def test_mistakes(model: charlstm.Model) -> None:
    inside = charlstm.inspect
    with pytest.raises(DataError, match="empty"):
        inside.read(model, "")
    with pytest.raises(UsageError, match="not a text"):
        inside.read(model, b"bytes")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"unit 48.* 0 to 47"):
        inside.read(model, TEXT, units=[48])
    with pytest.raises(UsageError, match=r"layer 2"):
        inside.ledger(model, TEXT, layer=2, unit=0)
    for function in (inside.ledger, inside.lookback):
        options = {"unit": 0} if function is inside.ledger else {}
        with pytest.raises(UsageError, match=f"0 to {len(TEXT) - 1}"):
            function(model, TEXT, at=len(TEXT), **options)  # type: ignore[operator]
    with pytest.raises(UsageError, match=r"follow"):
        inside.units(model, TEXT * 400, follow={"a": "("})
    for options in ({"units": [1.5]}, {"layers": 1}, {"names": "c"}, {"begin": "1"}):
        with pytest.raises(UsageError, match=next(iter(options))):
            inside.read(model, TEXT, **options)  # type: ignore[arg-type]
    for follow in ({"a": 3}, ["a"], {"": "a"}):
        with pytest.raises(UsageError, match="follow"):
            inside.units(model, TEXT, follow=follow)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="back"):
        inside.lookback(model, TEXT, back=0)
    with pytest.raises(UsageError, match="not a model"):
        inside.cost("shakespeare")  # type: ignore[arg-type]

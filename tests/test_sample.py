import decimal
import itertools
import math
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from charlstm.config import ModelConfig, SampleConfig
from charlstm.errors import DataError, UsageError
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Stepper
from charlstm.sample import Context, Drawn, draw, generate, weigh, weigh_exactly, write
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer

logits_rows = st.lists(st.integers(-6, 6).map(float), min_size=2, max_size=12)
configs = st.builds(
    SampleConfig,
    temperature=st.sampled_from([0.25, 1.0, 2.0]),
    top_k=st.none() | st.integers(1, 14),
    top_p=st.none() | st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    min_p=st.none() | st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
# What a float32 model can give, and what the options accept: both to their ends.
extreme_rows = st.lists(
    st.floats(width=32, allow_nan=False) | st.sampled_from([-math.inf, 0.0, 3.4e38, -3.4e38, 1e-45, 1.0, 1 + 2**-23]),
    min_size=1,
    max_size=12,
).filter(lambda row: max(row) > -math.inf)
extreme_configs = st.builds(
    SampleConfig,
    temperature=st.sampled_from([5e-324, 1e-300, 1e-38, 1e-3, 1.0, 1e3, 1e38, 1e39, 1e300, 1.7e308])
    | st.floats(0, 1e9),
    top_k=st.none() | st.integers(1, 14) | st.just(2**62),
    top_p=st.none() | st.sampled_from([5e-324, 1e-17, 0.37, 1 - 2**-53, 1.0]),
    min_p=st.none() | st.sampled_from([0.0, 5e-324, 1e-300, 1 - 2**-53, 1.0]),
)


def probabilities(logits: np.ndarray, config: SampleConfig) -> np.ndarray:
    weights = weigh(logits, config)
    return weights / weights.sum(-1, keepdims=True)


def reference(logits: list[float], config: SampleConfig, margin: str = "0") -> list[float]:
    """The four filters, one after the other, in decimal numbers of 400 digits.

    Whose top_p is all but met, within `margin`, is no example: floating point may decide either way.
    """
    ids = range(len(logits))
    ranked = sorted(ids, key=lambda id: (-logits[id], id))
    top = logits[ranked[0]]
    with decimal.localcontext(decimal.Context(prec=400, Emin=-(10**17), Emax=10**17, traps=[])):
        if config.temperature == 0:
            weights = dict.fromkeys(ids, Decimal(0)) | {ranked[0]: Decimal(1)}
        else:
            below = [Decimal(0) if x == top else Decimal(x) - Decimal(top) for x in logits]
            weights = {id: (below[id] / Decimal(config.temperature)).exp() for id in ids}
        if config.top_k is not None:
            ranked = ranked[: config.top_k]
        if config.top_p is not None:
            total, nucleus, mass = sum(weights[id] for id in ranked), [], Decimal(0)
            limit = Decimal(config.top_p) * total
            for id in ranked:
                assume(mass == limit or abs(mass - limit) >= Decimal(margin) * total)
                if nucleus and mass >= limit:
                    break
                nucleus.append(id)
                mass += weights[id]
            ranked = nucleus
        if config.min_p is not None:
            ranked = [id for id in ranked if weights[id] >= Decimal(config.min_p) * weights[ranked[0]]]
        total = sum(weights[id] for id in ranked)
        return [float(weights[id] / total) if id in ranked else 0.0 for id in ids]


@given(logits_rows, configs)
@settings(max_examples=300, deadline=None)
def test_filters(logits: list[float], config: SampleConfig) -> None:
    np.testing.assert_allclose(
        probabilities(np.array([logits]), config)[0], reference(logits, config, "1e-12"), atol=1e-9
    )


@given(extreme_rows, extreme_configs, st.floats(0, 1, exclude_max=True))
@example([0.0, 1e-45], SampleConfig(temperature=1e300, min_p=1.0), 0.0)
@settings(max_examples=300, deadline=None)
def test_filters_at_the_ends_of_their_range(logits: list[float], config: SampleConfig, uniform: float) -> None:
    row = np.array([logits], np.float32)
    chances = probabilities(row, config)[0]
    expected = np.array(reference(logits, config))
    np.testing.assert_allclose(chances, expected, atol=1e-9)
    assert chances.sum() == pytest.approx(1)
    id = int(draw(weigh(row, config), np.array([uniform]))[0])
    assert chances[id] > 0
    assert logits[id] > -math.inf


@given(logits_rows, configs)
@settings(max_examples=200, deadline=None)
def test_exact_filters(logits: list[float], config: SampleConfig) -> None:
    weights = weigh_exactly(np.array([logits]), config)[0]
    assert (weights == np.rint(weights)).all()
    np.testing.assert_allclose(weights / weights.sum(), reference(logits, config, "1e-7"), atol=1e-8)


@given(
    st.lists(st.integers(-(2**28), 2**28) | st.integers(-9, 9), min_size=1, max_size=12),
    extreme_configs,
    st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=200, deadline=None)
def test_exact_filters_at_the_ends_of_their_range(steps: list[int], config: SampleConfig, uniform: float) -> None:
    weights = weigh_exactly(np.array([steps]) / 1024, config)
    id = int(draw(weights, np.array([uniform]))[0])
    assert weights[0, id] > 0
    assert weights[0, int(np.argmax(steps))] == weights.max() == (1 if config.temperature == 0 else 2**30)


def test_exact_weights_by_hand() -> None:
    """exp(-10 / 1024), (-20 / 1024 / 0.8) and so on, in steps of 2^-30; where 0.5 is half a step up."""
    row = np.array([[0.0, -10, -20, -22 * 1024, -1 - 22 * 1024]]) / 1024
    steps = [round(math.exp(-k / 1024) * 2**30) for k in (0, 10, 20)]
    assert weigh_exactly(row, SampleConfig(temperature=1)).tolist() == [[*steps, 0, 0]]
    assert weigh_exactly(row, SampleConfig(temperature=1), never=[0])[0, :3].tolist() == [0, *steps[:2]]
    cooler = [round(math.exp(-k / 1024) * 2**30) for k in (0, 12, 25)]  # 12.5 is rounded to even
    assert weigh_exactly(row, SampleConfig(temperature=0.8)).tolist() == [[*cooler, 0, 0]]


def test_random_numbers_are_those_of_numpys_generator() -> None:
    even = SimpleNamespace(engine=None, logits=lambda: np.zeros((2, 1000)), read=lambda ids: None)
    drawn = generate(even, SampleConfig(temperature=1), [5, 6])  # type: ignore[arg-type]
    ids = np.array([next(drawn).ids for _ in range(600)])
    expected = np.stack([np.random.default_rng(seed).random(600) for seed in (5, 6)], -1)
    np.testing.assert_array_equal(ids, np.floor(expected * 1000))


def test_ties_go_to_the_lower_id() -> None:
    even = np.zeros((1, 4))
    assert probabilities(even, SampleConfig(temperature=0)).tolist() == [[1, 0, 0, 0]]
    assert probabilities(even, SampleConfig(top_k=2)).tolist() == [[0.5, 0.5, 0, 0]]
    assert probabilities(even, SampleConfig(top_p=0.5)).tolist() == [[0.5, 0.5, 0, 0]]


@pytest.mark.parametrize("scores", [[math.nan, 1.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("temperature", [0.0, 1e-3, 1.0, 1e300])
def test_scores_that_are_no_numbers_are_an_error(scores: list[float], temperature: float) -> None:
    weights = weigh(np.array([[0.0, 1.0], scores], np.float32), SampleConfig(temperature=temperature, top_k=1))
    with pytest.raises(DataError, match="train it again"):
        draw(weights, np.array([0.5, 0.5]))


def test_an_infinite_score_is_certain() -> None:
    row = np.array([[1.0, math.inf, -math.inf]], np.float32)
    for temperature in (0.0, 1e-3, 1e300):
        assert probabilities(row, SampleConfig(temperature=temperature)).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-3])
def test_cold_is_greedy(temperature: float) -> None:
    chances = probabilities(np.array([[1.0, 3.0, 2.0]], np.float32), SampleConfig(temperature=temperature))
    assert chances.tolist() == [[0, 1, 0]]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda w: sum(w) > 0.01), st.floats(0, 1, exclude_max=True)
)
def test_a_draw_inverts_the_distribution(weights: list[float], uniform: float) -> None:
    chances = np.array([weights]) / sum(weights)
    id = int(draw(np.array([weights]), np.array([uniform]))[0])
    assert chances[0, id] > 0
    before = chances[0, :id].sum()
    assert before - 1e-9 <= uniform <= before + chances[0, id] + 1e-9


def small(vocab_size: int = 30) -> Stepper:
    torch.manual_seed(0)
    config, symbols = ModelConfig(hidden_size=24, embedding_size=8), Symbols(vocab_size)
    model = CharLSTM(config, symbols)
    return Stepper(config, symbols, {name: weight.numpy() for name, weight in model.state_dict().items()})


def begun(streams: int = 1, vocab_size: int = 30) -> Context:
    context = Context(small(vocab_size), streams)
    context.prefill([1, 2, 3])
    return context


def test_the_unknown_is_never_generated_and_everything_else_is() -> None:
    drawn = generate(begun(), SampleConfig(temperature=3.0), [0], never=[0])
    assert {int(each.ids[0]) for each in itertools.islice(drawn, 3000)} == set(range(1, 30))


def test_frequencies_are_the_models_probabilities() -> None:
    context = begun(streams=4000)
    config = SampleConfig(temperature=1.0)
    expected = probabilities(context.logits()[:1], config)[0]
    ids = next(generate(context, config, range(4000))).ids
    error = np.abs(np.bincount(ids, minlength=30) / 4000 - expected)
    assert (error < 4 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3).all()


def test_a_stream_does_not_depend_on_its_neighbours() -> None:
    config = SampleConfig(length=60)
    tokenizer = CharTokenizer([chr(97 + n) for n in range(29)])
    together = ["", "", ""]
    for piece in write(begun(3), tokenizer, config, seed=7):
        together[piece.stream] += piece.text
    for number, text in enumerate(together):
        assert "".join(piece.text for piece in write(begun(), tokenizer, config, seed=7 + number)) == text


def test_length_counts_characters_not_bytes() -> None:
    pieces = list(write(begun(vocab_size=256), ByteTokenizer(), SampleConfig(length=50, temperature=2.0), seed=1))
    assert len("".join(piece.text for piece in pieces)) == 50
    assert pieces[-1].stopped == "length"


def test_no_length_writes_nothing() -> None:
    assert [
        (piece.text, piece.stopped) for piece in write(begun(), CharTokenizer("ab"), SampleConfig(length=0), 1)
    ] == [("", "length")]


def spoken(
    monkeypatch: pytest.MonkeyPatch, text: str, stops: list[str], length: int = 100
) -> list[tuple[str, str | None]]:
    """What `write` shows while a model says `text`."""
    tokenizer = CharTokenizer(sorted(set(text)))

    def say(*_: object) -> Iterator[Drawn]:
        return (Drawn(ids, np.zeros((1, 1))) for ids in tokenizer.encode(text)[:, None])

    monkeypatch.setattr("charlstm.sample.generate", say)
    pieces = write(SimpleNamespace(streams=1), tokenizer, SampleConfig(length=length), 1, stops)  # type: ignore[arg-type]
    return [(piece.text, piece.stopped) for piece in pieces]


@given(
    text=st.text("ab", min_size=1, max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    length=st.integers(1, 30),
)
def test_stop_texts(text: str, stops: list[str], length: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        pieces = spoken(monkeypatch, text, stops, length)
    shown, stopped = "".join(piece for piece, _ in pieces), pieces[-1][1] if pieces else None
    ends = {end: [s for s in stops if text[:end].endswith(s)] for end in range(1, min(length, len(text)) + 1)}
    first = next((end for end, found in ends.items() if found), None)
    if first is not None:
        assert (shown, stopped) == (text[: first - max(map(len, ends[first]))], "stop")
    elif length <= len(text):
        assert (shown, stopped) == (text[:length], "length")
    else:
        assert stopped is None
        assert text.startswith(shown)


def test_what_cannot_become_a_stop_text_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = spoken(monkeypatch, "xSTyS", ["STOP"], length=5)
    assert pieces == [("x", None), ("STy", None), ("S", "length")]


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(UsageError):
        next(write(begun(), CharTokenizer("ab"), SampleConfig(), 1, [""]))


def test_what_is_drawn_tells_how_likely_it_was() -> None:
    """Against the scores that a second context has after reading the same ids."""
    tokenizer = CharTokenizer([chr(97 + n) for n in range(29)])
    beside = begun()
    for piece in write(begun(), tokenizer, SampleConfig(length=40, top_k=3, temperature=1.5), seed=4, top=2):
        likely = torch.log_softmax(torch.from_numpy(beside.logits()[0]).double(), -1)
        (id,) = tokenizer.encode(piece.text)
        assert piece.logprob == pytest.approx(float(likely[int(id)]), abs=1e-9)
        assert [each for each, _ in piece.top] == likely.topk(2).indices.tolist()
        assert [each for _, each in piece.top] == pytest.approx(likely.topk(2).values.tolist(), abs=1e-9)
        beside.read([id])

import dataclasses

import pytest

from charlstm.config import CELLS, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network import weights
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from charlstm.training.recipe import Choice, dropout, ngrams, pace, size, softmax, window

CONFIG = RunConfig(text=TextConfig(), model=ModelConfig(), train=TrainConfig(steps=1))
VOCAB = 66


def with_model(**changes: object) -> RunConfig:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **changes))


def shape(config: RunConfig) -> tuple[int, int]:
    return config.model.num_layers, config.model.hidden_size


@pytest.mark.parametrize(
    "model", [ModelConfig(num_layers=3, hidden_size=40), *(ModelConfig(cell=cell) for cell in CELLS)]
)
def test_parameters_are_those_of_the_model(model: ModelConfig) -> None:
    assert weights.count(model, VOCAB) == sum(weight.numel() for weight in CharLSTM(model, Symbols(VOCAB)).parameters())


@pytest.mark.parametrize(
    ("characters", "expected"),
    [(0, (1, 128)), (1.6e6, (1, 320)), (3.4e6, (2, 384)), (6.5e6, (2, 512)), (7e6, (2, 640)), (1e9, (2, 1024))],
)
def test_the_network_is_the_largest_that_the_run_feeds(characters: float, expected: tuple[int, int]) -> None:
    assert shape(size(CONFIG, set(), VOCAB, 1000, lambda _: characters)[0]) == expected


def test_a_larger_network_reads_less_in_the_same_time() -> None:
    assert shape(size(CONFIG, set(), VOCAB, 1000, lambda count: 1e13 / count)[0]) == (2, 384)
    assert shape(size(CONFIG, set(), VOCAB, 1000, lambda count: 3e13 / count)[0]) == (2, 512)


@pytest.mark.parametrize(
    ("given", "characters", "expected"),
    [
        ({"hidden_size": 300}, 1e3, (1, 300)),
        ({"hidden_size": 300}, 1e9, (2, 300)),
        ({"num_layers": 3}, 1e3, (3, 128)),
        ({"num_layers": 3}, 1e9, (3, 1024)),
        ({"num_layers": 1}, 1e9, (1, 1024)),
        ({"num_layers": 5, "hidden_size": 7}, 1e9, (5, 7)),
    ],
)
def test_a_given_size_leaves_the_other_to_the_recipe(
    given: dict[str, int], characters: float, expected: tuple[int, int]
) -> None:
    config, choices = size(with_model(**given), set(given), VOCAB, 1000, lambda _: characters)
    assert shape(config) == expected
    (choice,) = choices
    assert choice.value == "{} x {}".format(*expected)
    told = {name for name in given if f"--{name.replace('_', '-')} as given" in choice.reason}
    assert told == (set() if len(given) == 2 else set(given))
    assert choice.matters == (len(given) < 2)


@pytest.mark.parametrize(
    ("epochs", "rate", "recurrent"),
    [(0.01, 0.15, 0.0), (5, 0.15, 0.0), (150**0.5, 0.325, 0.075), (30, 0.5, 0.15), (1000, 0.5, 0.15)],
)
def test_dropout_grows_with_the_epochs(epochs: float, rate: float, recurrent: float) -> None:
    config, choices = dropout(CONFIG, set(), VOCAB, epochs)
    assert (config.model.dropout, config.model.recurrent_dropout) == pytest.approx((rate, recurrent), abs=0.01)
    (choice,) = choices
    assert (choice.name, choice.matters) == ("dropout", True)
    assert choice.value == f"{config.model.dropout:g}, recurrent {config.model.recurrent_dropout:g}"


def test_a_larger_network_is_given_more_dropout() -> None:
    rates = [dropout(with_model(hidden_size=units), set(), VOCAB, 8)[0].model.dropout for units in (256, 512, 1024)]
    assert rates == sorted(set(rates))


@pytest.mark.parametrize(("length", "streams"), [(100, 4), (9_000, 4), (18_000, 8), (70_000, 32), (10**9, 32)])
def test_a_short_text_is_read_in_few_streams(length: int, streams: int) -> None:
    assert pace(CONFIG, set(), length)[0].train.batch_size == streams
    assert pace(CONFIG, {"batch_size", "embedding_multiplier"}, length)[0] == CONFIG


def test_what_is_rarely_touched_learns_at_a_higher_rate() -> None:
    def rates(config: RunConfig, given: set[str], known: float | None = None) -> tuple[float, float, float, str]:
        config, (_, choice) = pace(config, given, 10**6, known)
        train = config.train
        return train.learning_rate, train.embedding_multiplier, train.output_multiplier, choice.value

    sampled = dataclasses.replace(CONFIG, train=TrainConfig(softmax_sample=128))
    assert rates(CONFIG, set()) == (4e-3, 4, 1, "0.004, embedding x 4")
    assert rates(sampled, set()) == (4e-3, 4, 3, "0.004, embedding x 4, output x 3")
    assert rates(sampled, {"learning_rate", "embedding_multiplier"}) == (4e-3, 1, 3, "0.004, output x 3")
    assert rates(sampled, set(), known=1.0) == (2e-3, 1, 1, "0.002")  # a trained model


def test_a_text_that_is_read_often_is_read_in_longer_windows() -> None:
    timed = dataclasses.replace(CONFIG, train=TrainConfig(time=600.0))
    stepped = dataclasses.replace(CONFIG, train=TrainConfig(steps=10_000))
    assert window(timed, set(), 10**6, 15)[0].train.seq_length == 128
    for config, given, length, epochs in [
        (timed, set(), 10**6, 5),  # a short run
        (timed, set(), 90_000, 15),  # a short text
        (timed, {"seq_length"}, 10**6, 15),
        (stepped, set(), 10**6, 15),  # would read twice as much
    ]:
        assert window(config, given, length, epochs)[0].train.seq_length == 64


def test_what_the_user_set_stays_and_upsets_nothing_else() -> None:
    wanted = with_model(dropout=0.05, hidden_size=7)
    config, choices = dropout(wanted, {"dropout", "hidden_size"}, VOCAB, 1000)
    assert config == with_model(dropout=0.05, hidden_size=7, recurrent_dropout=0.15)
    assert choices[0].reason.endswith(", --dropout as given")
    assert dropout(wanted, {"dropout", "recurrent_dropout"}, VOCAB, 9)[1] == [
        Choice("dropout", "0.05, recurrent 0", "as given", matters=False)
    ]


@pytest.mark.parametrize(
    ("epochs", "order", "dropped"),
    [(0.1, 6, 0.0), (1.0, 5, 0.11), (4.0, 4, 0.5), (9.0, 4, 0.77), (12.0, 3, 0.84), (100.0, 3, 0.9)],
)
def test_a_text_that_is_read_often_has_short_n_grams(epochs: float, order: int, dropped: float) -> None:
    config, (choice,) = ngrams(CONFIG, set(), 10**6, epochs, lambda _: 0.1)
    assert (config.model.ngrams, config.model.ngram_dropout) == (order, pytest.approx(dropped, abs=0.01))
    assert (choice.name, choice.value) == ("n-grams", f"2 to {order}")


@pytest.mark.parametrize(("distinct", "order"), [([0.01] * 7, 6), ([0, 0, 0, 0.1, 0.19, 0.21, 0.3], 4), ([0.9] * 7, 2)])
def test_n_grams_that_mostly_come_once_are_left_out(distinct: list[float], order: int) -> None:
    """The share of three characters together that are new is 0.01 in English, and 0.5 in Chinese."""
    config, _ = ngrams(CONFIG, set(), 10**6, 0.5, lambda highest: distinct[highest])
    assert config.model.ngrams == order


def test_the_softmax_of_a_large_vocabulary_is_sampled() -> None:
    small, choices = softmax(CONFIG, set(), 511)
    assert (small.train.softmax_sample, choices) == (0, [])
    large, (choice,) = softmax(CONFIG, set(), 5_000)
    assert large.train.softmax_sample == 128
    assert choice.words.startswith(
        "128 frequent and 128 others drawn at random: each step chooses among some of the 5,000"
    )
    given = dataclasses.replace(CONFIG, train=TrainConfig(softmax_sample=0))
    assert softmax(given, {"softmax_sample"}, 5_000) == (given, [])


@pytest.mark.parametrize(
    ("length", "rows"),
    [(1, 2**12), (100_000, 2**14), (200_000, 2**15), (10**6, 2**17), (10**7, 2**19), (10**9, 2**19)],
)
def test_a_longer_text_has_more_rows(length: int, rows: int) -> None:
    assert ngrams(CONFIG, set(), length, 1, lambda _: 0.1)[0].model.ngram_rows == rows


def test_n_grams_can_be_given_or_left_out() -> None:
    plain, choices = ngrams(CONFIG, {"ngrams"}, 10**6, 4, lambda _: 0.1)
    assert plain == CONFIG
    assert [(choice.value, choice.reason) for choice in choices] == [("none", "as given")]
    config, _ = ngrams(with_model(ngrams=7, ngram_rows=64), {"ngrams", "ngram_rows"}, 10**6, 4, lambda _: 1.0)
    assert (config.model.ngrams, config.model.ngram_rows, config.model.ngram_dropout) == (7, 64, 0.5)


def test_a_text_that_is_hardly_read_once_has_a_smaller_network() -> None:
    units = [size(CONFIG, set(), VOCAB, length, lambda _: 8e6)[0].model.hidden_size for length in (10**6, 10**7, 10**8)]
    assert units == sorted(set(units), reverse=True)

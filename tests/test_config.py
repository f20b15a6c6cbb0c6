import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.config import ModelConfig, RunConfig, SampleConfig, TextConfig, TrainConfig, duration
from charlstm.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1.5m", 90),
        (" 3 s ", 3),
        ("1m30s", 90),
        ("2h 5m", 7500),
        ("1h1m1s", 3661),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5s", "5 minutes", "1e3", "nan", "30s5m", "1m1m", "\u0665m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="90s, 5m, 1m30s or 2h"):
        duration(text)


@pytest.mark.slow
@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert duration(text) >= 0


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (SampleConfig, {"temperature": -1.0}, "--temperature -1.0: must be at least 0"),
        (SampleConfig, {"temperature": float("nan")}, "finite"),
        (SampleConfig, {"top_k": 0}, "--top-k 0: must be at least 1"),
        (SampleConfig, {"top_p": 1.5}, "at most 1"),
        (ModelConfig, {"dropout": 1.0}, "below 1"),
        (ModelConfig, {"hidden_size": 2.5}, "a number"),
        (ModelConfig, {"num_layers": True}, "a number"),
        (TextConfig, {"tokenizer": "word"}, "one of char, byte"),
        (TextConfig, {"encoding": 8}, "type str"),
        (TrainConfig, {"time": 1.0, "steps": 1}, "exclude"),
    ],
)
def test_values_out_of_their_limits(kind: type, values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kind(**values)


def test_a_run_is_ten_minutes_unless_it_has_another_length() -> None:
    assert TrainConfig().time == 600
    assert TrainConfig(steps=5).time is None


def test_round_trip() -> None:
    config = RunConfig(text=TextConfig(min_count=3), model=ModelConfig(num_layers=2), train=TrainConfig(epochs=1.5))
    assert RunConfig.from_dict(config.to_dict()) == config
    for wrong in ({}, {"text": {}, "model": {}}, {"text": [], "model": {}, "train": {}}):
        with pytest.raises(UsageError):
            RunConfig.from_dict(wrong)


def test_settings_of_other_versions() -> None:
    config = RunConfig(text=TextConfig(), model=ModelConfig(hidden_size=8), train=TrainConfig(steps=5))
    written = config.to_dict()
    del written["model"]["recurrent_dropout"], written["train"]["clip_norm"]
    written["model"]["flavour"] = written["cloud"] = {"any": ["thing"]}
    assert RunConfig.from_dict(written) == config
    with pytest.raises(UsageError, match=r"--hidden-size 8\.0: must be a number"):
        RunConfig.from_dict(written | {"model": {"hidden_size": 8.0}})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ngram_rows": 1000}, "--ngram-rows 1000: must be a power of two"),
        ({"ngrams": 4, "ngram_rows": 2**20, "embedding_size": 256}, "at most 524,288 rows fit into 512 MB"),
        ({"ngrams": 17}, "--ngrams 17: must be at most 16"),
    ],
)
def test_a_table_of_n_grams_that_makes_no_sense_is_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ModelConfig(**options)
    assert ModelConfig(ngram_rows=2**20, embedding_size=1024).ngrams == 0  # no table, so no limit

import dataclasses

import pytest

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.recipe import adapt

CONFIG = RunConfig(text=TextConfig(), model=ModelConfig(), train=TrainConfig(steps=1))


@pytest.mark.parametrize(
    ("epochs", "dropout", "recurrent_dropout"),
    [(0.01, 0.2, 0.0), (4, 0.2, 0.0), (8, 0.35, 0.1), (16, 0.5, 0.2), (1000, 0.5, 0.2)],
)
def test_dropout_grows_with_the_epochs(epochs: float, dropout: float, recurrent_dropout: float) -> None:
    config, choices = adapt(CONFIG, set(), epochs)
    assert (config.model.dropout, config.model.recurrent_dropout) == pytest.approx((dropout, recurrent_dropout))
    assert [(choice.name, choice.value) for choice in choices] == [
        ("dropout", config.model.dropout),
        ("recurrent_dropout", config.model.recurrent_dropout),
    ]


def test_what_the_user_set_stays_and_upsets_nothing_else() -> None:
    wanted = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, dropout=0.05, hidden_size=7))
    config, choices = adapt(wanted, {"dropout", "hidden_size"}, 16)
    assert config == dataclasses.replace(wanted, model=dataclasses.replace(wanted.model, recurrent_dropout=0.2))
    assert [choice.name for choice in choices] == ["recurrent_dropout"]

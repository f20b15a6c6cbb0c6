"""A search finds a unit that was made to be found, and nothing in a network that has learnt nothing."""

import dataclasses
from pydoc_data.topics import topics

import numpy as np
import pytest

from charlstm.errors import DataError
from charlstm.measure.search import units
from charlstm.measure.search.labels import Label, labels
from charlstm.measure.search.units import Search
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import ByteTokenizer, Tokenizer
from tests.conftest import fitted
from tests.measure.search.by_hand import fresh, planted, quoted

TEXT = quoted("\n\n".join(topics.values()))[:20_500]
LABELS = ("inside quotes", "inside brackets", "column", "capital")


def some(text: str, begins: tuple[int, ...] = ()) -> list[Label]:
    return [label for label in labels(text, begins=begins) if label.name in LABELS]


def searched(loaded: Loaded, changed: int = 0, seed: int = 0) -> Search:
    """Search with the labels shifted by some characters."""
    passage = units.searchable(loaded, loaded.tokenizer.encode(TEXT))
    moved = [
        dataclasses.replace(
            label,
            values=np.roll(label.values, changed),
            closers=label.closers if not changed else label.closers[:0],
            since_opener=None if label.since_opener is None else np.roll(label.since_opener, changed),
        )
        for label in some(passage.text, passage.begins)
    ]
    return units.search(loaded, passage.ids, moved, seed=seed)


@pytest.mark.parametrize("tokenizer", [fitted(TEXT), ByteTokenizer()], ids=["char", "byte"])
def test_a_planted_unit_comes_first(tokenizer: Tokenizer) -> None:
    loaded = planted(tokenizer, 24, 7)
    search = searched(loaded)
    assert (search.units, search.absent) == (24, ())
    (found,) = search.found
    assert (found.layer, found.unit, found.label) == (1, 7, "inside quotes")
    assert found.auc >= 0.999
    assert found.late >= 0.999
    assert found.mcc >= 0.99
    assert found.low >= 0.999
    assert found.p_value == 0.005
    assert (found.mean_inside, found.mean_outside) == (pytest.approx(1), pytest.approx(0))
    assert found.positives == pytest.approx(some(TEXT)[0].values.mean(), abs=0.01)
    assert found.clamped is not None
    assert found.clamped.bits > 5
    assert found.clamped.random == 1
    assert abs(found.clamped.rest) < 0.1
    begin, end = found.example
    assert "“" in TEXT[begin:end]
    assert {other.label for other in search.others} == set(LABELS) - {"inside quotes"}
    capital = next(other for other in search.others if other.label == "capital")
    assert capital.controls.ngram > 0.999


@pytest.mark.slow
def test_the_same_search_of_an_untrained_network_finds_nothing_again() -> None:
    loaded = fresh(fitted(TEXT), 0, cell="gru", hidden_size=12)
    progress: list[float] = []
    passage = units.searchable(loaded, loaded.tokenizer.encode(TEXT))
    first = units.search(loaded, passage.ids, some(passage.text), progress.append)
    assert first.found == ()
    assert first == units.search(loaded, passage.ids, some(passage.text))
    assert progress == sorted(progress)
    assert progress[-1] == 1


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_found_in_an_untrained_network(seed: int) -> None:
    assert searched(fresh(fitted(TEXT), 50 + seed), seed=seed).found == ()


@pytest.mark.slow
def test_nothing_follows_shifted_labels() -> None:
    assert searched(planted(fitted(TEXT), 16, 3), changed=1_500).found == ()


@pytest.mark.slow
def test_what_a_text_has_too_little_of_is_absent() -> None:
    text = "it is so and so on\n" * 1_200
    loaded = fresh(fitted(text), 0)
    search = units.search(loaded, loaded.tokenizer.encode(text), some(text))
    assert search.absent == ("inside quotes", "inside brackets", "capital")
    assert [found.label for found in (*search.found, *search.others)] == ["column"]


def test_a_short_text_is_refused() -> None:
    loaded = fresh(fitted(TEXT), 0)
    ids = loaded.tokenizer.encode(TEXT[:5_000])
    with pytest.raises(DataError, match="the text has 5,000 characters: a search for units needs at least 20,000"):
        units.search(loaded, ids, some(TEXT[:5_000]))


def test_a_passage_has_one_character_per_label() -> None:
    framed = fresh(ByteTokenizer(framed=True), 0)
    start, end = framed.tokenizer.opening[1], framed.tokenizer.end_id
    ids = np.array([start, *"a“".encode(), end, start, 0xFF, *b"b", end])
    passage = units.searchable(framed, ids)
    assert passage.text == "\na“\n\n\udcffb\n"
    assert passage.ends.tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    assert passage.begins == (0, 4)


def test_low_units_and_counts_stand_as_well() -> None:
    controls = units.Controls(untrained=0.6, ngram=0.7, shifted=0.55)
    low = units.Found(1, 0, "c", "x", 0.1, 0.1, 0.15, 0.5, None, 0.05, 0.2, 0.01, controls, None, (0, 1))
    assert low.stands
    assert low.strength == pytest.approx(0.8)
    assert not dataclasses.replace(low, late=0.35).stands
    assert not dataclasses.replace(low, late=0.9).stands  # the other way round
    assert not dataclasses.replace(low, high=0.31).stands
    assert not dataclasses.replace(low, p_value=0.06).stands
    count = dataclasses.replace(low, auc=None, late=None, r2=0.8, low=0.71)
    assert count.stands
    assert not dataclasses.replace(count, low=0.7).stands

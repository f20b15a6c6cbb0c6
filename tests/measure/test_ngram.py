"""The n-grams against their definition, on tuples."""

from collections import defaultdict

import numpy as np
import pytest

from charlstm.measure.ngram import MAX_ORDER, KneserNey
from tests.conftest import fitted


class Counts:
    """Interpolated Kneser-Ney straight from the definition, on tuples: slow and plain."""

    def __init__(self, ids: list[int], vocab_size: int, start: int) -> None:
        self.vocab_size = vocab_size
        padded = [start] * (MAX_ORDER - 1) + ids
        ends = range(MAX_ORDER - 1, len(padded))
        self.raw: dict[int, dict[tuple[int, ...], int]] = {}
        for order in range(1, MAX_ORDER + 1):
            self.raw[order] = defaultdict(int)
            for end in ends:
                self.raw[order][tuple(padded[end - order + 1 : end + 1])] += 1
        self.continuations = {
            order: {gram: len({longer[0] for longer in self.raw[order + 1] if longer[1:] == gram}) for gram in grams}
            for order, grams in self.raw.items()
            if order < 4
        }

    def probability(self, context: tuple[int, ...], id: int, top: bool = True) -> float:
        order = len(context) + 1
        counts = self.raw[order] if top else self.continuations[order]
        below = self.probability(context[1:], id, False) if context else 1 / self.vocab_size
        once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
        discount = once / (once + 2 * twice)
        same = {gram: count for gram, count in counts.items() if gram[:-1] == context and count > 0}
        if not same:
            return below
        seen = max(same.get((*context, id), 0) - discount, 0)
        return (seen + discount * len(same) * below) / sum(same.values())


def test_the_ngrams_are_those_of_the_definition(text: str) -> None:
    tokenizer = fitted(text[:1500])
    ids = tokenizer.encode(text[:1500])
    held_out = tokenizer.encode(text[1500:1540])
    plain = Counts(ids.tolist(), tokenizer.vocab_size, tokenizer.start_id)
    counted = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    ours = counted.probabilities(counted.contexts(held_out), held_out)
    padded = [tokenizer.start_id] * MAX_ORDER + held_out.tolist()
    for order in range(1, 5):
        for position, id in enumerate(held_out.tolist()):
            end = position + MAX_ORDER
            context = tuple(padded[end - order + 1 : end])
            assert ours[order - 1, position] == pytest.approx(plain.probability(context, id))


def test_the_ngrams_share_out_all_probability(text: str) -> None:
    tokenizer = fitted(text[:20_000])
    counted = KneserNey(tokenizer.encode(text[:20_000]), tokenizer.vocab_size, tokenizer.start_id)
    held_out = tokenizer.encode(text[30_000:30_050])
    contexts = counted.contexts(held_out)
    every = [counted.probabilities(contexts, np.full(50, id)) for id in range(tokenizer.vocab_size)]
    np.testing.assert_allclose(sum(every), 1)


def test_pieces_are_looked_up_as_the_whole(text: str) -> None:
    tokenizer = fitted(text[:5000])
    counted = KneserNey(tokenizer.encode(text[:5000]), tokenizer.vocab_size, tokenizer.start_id)
    held_out = tokenizer.encode(text[5000:5300])
    whole = -np.log2(counted.probabilities(counted.contexts(held_out), held_out))
    np.testing.assert_array_equal(np.concatenate(list(counted.bits(held_out, piece=5)), 1), whole)


def test_a_context_that_only_ends_the_text_is_like_an_unknown_one() -> None:
    ids = np.array([1, 2, 1, 2, 3], np.uint8)
    counted = KneserNey(ids, 5, 0)
    contexts = counted.contexts(np.array([3, 1], np.uint8))
    found = counted.probabilities([rows[1:] for rows in contexts], np.array([1]))
    assert found[1, 0] == pytest.approx(found[2, 0])
    assert 0 < found[1, 0] < 1

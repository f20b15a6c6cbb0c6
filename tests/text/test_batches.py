import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charlstm.config import TextConfig
from charlstm.text.batches import IGNORE, Batches
from charlstm.text.corpus import Split, load
from charlstm.text.tokenizer import ByteTokenizer

START = 999


class Unframed:
    start_id, end_id = START, None


def split(ids: np.ndarray) -> Split:
    return Split(ids, np.array([0, len(ids)]), len(ids), len(ids), 0)


layouts = st.tuples(st.integers(1, 200), st.integers(1, 8), st.integers(1, 20)).filter(
    lambda sizes: sizes[0] >= sizes[1]
)


def layout(sizes: tuple[int, int, int], jitter: bool = False) -> Batches:
    length, batch_size, seq_length = sizes
    return Batches(split(np.arange(length).astype(np.uint8)), Unframed(), batch_size, seq_length, jitter=jitter)


@given(layouts, st.integers(0, 5), st.booleans())
def test_an_epoch_predicts_every_id_once(sizes: tuple[int, int, int], epoch: int, jitter: bool) -> None:
    batches = layout(sizes, jitter)
    steps = [batches.at(epoch * batches.windows + window) for window in range(batches.windows)]
    targets = np.concatenate([batch.targets.ravel() for batch in steps])
    assert sorted(targets[targets != IGNORE]) == list(range(sizes[0]))
    assert sum(batch.characters for batch in steps) == sizes[0]


def test_with_jitter_windows_begin_everywhere() -> None:
    batches = Batches(split(np.arange(5_000).astype(np.uint16)), Unframed(), 1, 50, jitter=True)
    starts, lengths = set(), set()
    for step in range(50 * batches.windows):
        targets = batches.at(step).targets
        starts.add(int(targets[0, 0]) % 50)
        lengths.add(len(targets))
    assert len(starts) > 40
    assert 25 <= min(lengths) < 30 and 70 < max(lengths) <= 75


@given(layouts, st.booleans())
def test_the_input_is_the_id_before_the_target(sizes: tuple[int, int, int], jitter: bool) -> None:
    batches = layout(sizes, jitter)
    for step in range(2 * batches.windows):
        batch = batches.at(step)
        assert batch.inputs.shape == batch.targets.shape
        assert len(batch.inputs) <= math.ceil(sizes[2] * (1 + jitter / 2))
        for read, predicted in zip(batch.inputs.ravel(), batch.targets.ravel(), strict=True):
            assert predicted == IGNORE or read == (predicted - 1 if predicted else START)


@given(layouts, st.booleans())
def test_a_stream_goes_on_where_it_stopped_or_begins_the_text(sizes: tuple[int, int, int], jitter: bool) -> None:
    batches = layout(sizes, jitter)
    last = np.full(sizes[1], -1)
    for step in range(3 * batches.windows + 1):
        batch = batches.at(step)
        for stream in range(sizes[1]):
            valid = batch.targets[:, stream][batch.targets[:, stream] != IGNORE]
            if not len(valid):
                continue
            if step:
                assert valid[0] == (0 if batch.begins[stream] else last[stream] + 1)
            assert list(valid) == list(range(valid[0], valid[0] + len(valid)))
            last[stream] = valid[-1]


def test_windows_are_of_equal_length() -> None:
    batches = layout((103, 1, 10))
    assert [len(batches.at(step).inputs) for step in range(batches.windows)] == [9, 9, 10, 9, 9, 10, 9, 9, 10, 9, 10]


def test_a_hand_worked_table() -> None:
    batches = Batches(split(np.frombuffer(b"abcdefg", np.uint8)), ByteTokenizer(), 2, 2)  # segments abc and defg
    rows = [
        (bytes(b.inputs.T.astype(np.uint8).ravel()), b.targets.T.tolist(), b.begins.tolist())
        for b in map(batches.at, range(4))
    ]
    assert rows == [
        (b"\nacd", [[97, 98], [100, 101]], [True, False]),
        (b"bcef", [[99, IGNORE], [102, 103]], [False, False]),
        (b"cd\na", [[100, 101], [97, 98]], [False, True]),
        (b"efbc", [[102, 103], [99, IGNORE]], [False, False]),
    ]


START_ID, END_ID = 256, 257
documents = st.lists(st.binary(min_size=1, max_size=12), min_size=2, max_size=12)


def framed(texts: list[bytes]) -> Split:
    ids = [[START_ID, *text, END_ID] for text in texts]
    bounds = np.cumsum([0, *map(len, ids)])
    return Split(np.concatenate(ids).astype(np.uint16), bounds, int(bounds[-1]) - len(texts), 0, 0)


@given(documents, st.integers(1, 4), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_framed_documents_are_read_whole_and_their_beginning_is_no_target(
    texts: list[bytes], streams: int, seq_length: int, epoch: int, jitter: bool
) -> None:
    batches = Batches(framed(texts), ByteTokenizer(framed=True), streams, seq_length, jitter=jitter, shuffle=5)
    steps = [batches.at(epoch * batches.windows + window) for window in range(batches.windows)]
    assert steps[0].begins.all() and not any(step.begins.any() for step in steps[1:])
    targets = [np.concatenate([step.targets[:, stream] for step in steps]) for stream in range(streams)]
    inputs = [np.concatenate([step.inputs[:, stream] for step in steps]) for stream in range(streams)]
    counted = np.concatenate(targets)
    counted = counted[counted != IGNORE]
    assert sorted(counted) == sorted([*b"".join(texts), *[END_ID] * len(texts)])
    assert START_ID not in counted
    assert len(counted) == sum(step.characters for step in steps)
    for read, predicted in zip(inputs, targets, strict=True):
        for place in range(len(read) - 1):
            if read[place + 1] == START_ID:  # before a document stands the end that takes the state back
                assert (read[place], predicted[place]) == (END_ID, IGNORE)
    # One stream reads one document after the other, each of them once.
    if streams == 1:
        read = bytes(id if id < 256 else 0 for id in targets[0][targets[0] != IGNORE].tolist())
        assert sorted(read.split(b"\0")[:-1]) == sorted(texts) or b"\0" in b"".join(texts)


def test_the_order_of_documents_is_a_function_of_seed_and_epoch() -> None:
    texts = [bytes([number]) * 3 for number in range(40)]

    def order(seed: int | None, epoch: int) -> list[int]:
        batches = Batches(framed(texts), ByteTokenizer(framed=True), 1, 5, shuffle=seed)
        steps = [batches.at(epoch * batches.windows + window) for window in range(batches.windows)]
        targets = np.concatenate([step.targets[:, 0] for step in steps])
        return list(dict.fromkeys(targets[(targets != IGNORE) & (targets < 256)].tolist()))

    orders = [order(1, 0), order(1, 1), order(2, 0)]
    assert all(sorted(one) == list(range(40)) for one in orders)
    assert len({tuple(one) for one in [*orders, list(range(40))]}) == 4
    assert order(1, 1) == orders[1]
    assert order(None, 1) == list(range(40))


def test_a_hand_worked_table_of_documents() -> None:
    batches = Batches(framed([b"ab", b"c"]), ByteTokenizer(framed=True), 1, 4)
    first, second = batches.at(0), batches.at(1)
    assert first.inputs[:, 0].tolist() == [END_ID, START_ID, *b"ab"][: len(first.inputs)]
    whole = np.concatenate([first.inputs[:, 0], second.inputs[:, 0]]).tolist()
    assert whole == [END_ID, START_ID, *b"ab", END_ID, START_ID, *b"c"]
    targets = np.concatenate([first.targets[:, 0], second.targets[:, 0]]).tolist()
    assert targets == [IGNORE, *b"ab", END_ID, IGNORE, *b"c", END_ID]


def test_every_character_of_a_cut_document_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the first text")
    (tmp_path / "b.txt").write_text("and the second, which is held out in part")
    corpus = load([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], [], TextConfig(val_fraction=0.4))
    for part in (corpus.train, corpus.val):
        batches = Batches(part, corpus.tokenizer, 1, 7)
        steps = [batches.at(number) for number in range(batches.windows)]
        assert sum(step.characters for step in steps) == part.characters
    first = Batches(corpus.val, corpus.tokenizer, 1, 7).at(0)
    assert first.inputs[0, 0] == corpus.tokenizer.start_id
    assert first.targets[0, 0] != IGNORE

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charlstm.batches import IGNORE, Batches

START = 999
layouts = st.tuples(st.integers(1, 200), st.integers(1, 8), st.integers(1, 20)).filter(
    lambda sizes: sizes[0] >= sizes[1]
)


def layout(sizes: tuple[int, int, int], jitter: bool = False) -> Batches:
    length, batch_size, seq_length = sizes
    return Batches(np.arange(length).astype(np.uint8), START, batch_size, seq_length, jitter=jitter)


@given(layouts, st.integers(0, 5))
def test_an_epoch_predicts_every_id_once(sizes: tuple[int, int, int], epoch: int) -> None:
    batches = layout(sizes)
    steps = [batches.at(epoch * batches.windows + window) for window in range(batches.windows)]
    targets = np.concatenate([batch.targets.ravel() for batch in steps])
    assert sorted(targets[targets != IGNORE]) == list(range(sizes[0]))
    assert sum(batch.characters for batch in steps) == sizes[0]


@given(layouts, st.integers(0, 30))
def test_with_jitter_a_stream_predicts_every_id_once_in_as_many_epochs_as_there_are_streams(
    sizes: tuple[int, int, int], stream: int
) -> None:
    batches, streams = layout(sizes, jitter=True), sizes[1]
    stream %= streams
    first = (streams - stream) * batches.windows  # where this stream comes to the beginning of the text
    targets = np.concatenate([batches.at(first + step).targets[:, stream] for step in range(streams * batches.windows)])
    assert list(targets[targets != IGNORE]) == list(range(sizes[0]))


def test_with_jitter_windows_begin_everywhere() -> None:
    batches = Batches(np.zeros(50_000, np.uint8), START, 10, 50, jitter=True)
    starts = set()
    for epoch in range(50):
        begin, end = batches._borders(epoch), batches._borders(epoch + 1)
        assert (begin[0], begin[-1]) == (0, 50_000)
        assert (end[1:] - begin[:-1]).max() <= 5050
        starts |= {int(border) % 50 for border in begin}
    assert len(starts) > 40


@given(layouts, st.booleans())
def test_the_input_is_the_id_before_the_target(sizes: tuple[int, int, int], jitter: bool) -> None:
    batches = layout(sizes, jitter)
    for step in range(2 * batches.windows):
        batch = batches.at(step)
        assert batch.inputs.shape == batch.targets.shape
        assert len(batch.inputs) <= sizes[2] * (1 + jitter)
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
    batches = Batches(np.frombuffer(b"abcdefg", np.uint8), ord("\n"), 2, 2)  # segments abc and defg
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

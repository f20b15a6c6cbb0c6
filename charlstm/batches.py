"""ids -> parallel streams of windows, as a pure function of the step.

The text is cut into `batch_size` segments of equal length (to one id). Stream n reads segment n in windows of
`seq_length`; in the next epoch it reads segment n + 1, so that its recurrent state goes on with the very text that
follows, and only the stream that wraps to the beginning of the text has its state zeroed.

With `jitter` the borders between the segments lie elsewhere in every epoch, by up to a window, and so do the places
where windows begin: no character is always the first of its window, and the gradient of no dependency is always cut.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.tokenizer import Ids

IGNORE = -100
"""The target that counts for nothing (torch's `ignore_index`)."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Batch:
    """One window of every stream."""

    inputs: npt.NDArray[np.int64]  # (T, N)
    targets: npt.NDArray[np.int64]  # (T, N), IGNORE where a stream has ended
    positions: npt.NDArray[np.int64]  # (T, N), of the targets in the text
    begins: npt.NDArray[np.bool_]  # (N,), true where a stream begins the text: its state is to be zero
    characters: int
    """Targets that count."""


class Batches:
    """The windows of a text, in the order they are trained on."""

    def __init__(self, ids: Ids, start_id: int, batch_size: int, seq_length: int, *, jitter: bool = False) -> None:
        """Lay out the streams.

        Args:
            ids: the text, (length,).
            start_id: read before the first id, so that every id of the text is predicted once an epoch.
            batch_size: number of streams; no more than `length`.
            seq_length: ids a window has at most; with jitter on average, and up to twice as many in a short text.
            jitter: whether windows begin elsewhere in every epoch; a stream then reads every id once in `batch_size`
                epochs, but all streams together read some ids twice in one epoch and not in another.
        """
        self._ids = ids
        self._start_id = start_id
        self._bounds = np.arange(batch_size + 1) * len(ids) // batch_size
        sizes = np.diff(self._bounds)
        self._reach = min(seq_length, int(sizes.min())) if jitter else 0  # ids that a border moves at most
        # Windows of equal length (to one id), rather than full ones and a short one whose gradient is all noise.
        self.windows = -(-int(sizes.max()) // seq_length)
        """Windows, and so steps, an epoch has."""

    def at(self, step: int) -> Batch:
        """Return the batch that step number `step`, counted from 0, trains on."""
        epoch, window = divmod(step, self.windows)
        segments = (np.arange(len(self._bounds) - 1) + epoch) % (len(self._bounds) - 1)
        begin, end = self._borders(epoch)[segments], self._borders(epoch + 1)[segments + 1]
        longest = int((end - begin).max())
        inner = np.arange(longest * window // self.windows, longest * (window + 1) // self.windows)
        positions = begin + inner[:, None]  # (T, N)
        inside = positions < end
        following = self._ids[np.minimum(positions, len(self._ids) - 1)].astype(np.int64)
        targets = np.where(inside, following, IGNORE)
        inputs = self._ids[np.minimum(positions, len(self._ids)) - 1].astype(np.int64)
        begins = (segments == 0) & (window == 0)
        inputs[0, begins] = self._start_id
        return Batch(inputs, targets, positions, begins, int(inside.sum()))

    def _borders(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return where the segments begin and end; multiples of the golden ratio spread evenly over a window."""
        borders = self._bounds.copy()
        borders[1:-1] += int(self._reach * (epoch * _GOLDEN_RATIO % 1))
        return borders

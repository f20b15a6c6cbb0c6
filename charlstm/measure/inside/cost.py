"""What a character costs: multiplications, bytes, time and energy, matrix by matrix.

What is counted are the weights that are fetched and what they are multiplied with. The activation functions and the few
products unit by unit (f * c and the like) are left out: they grow with H, the matrices with H * H. They do take time.

- **Reading** is a prompt that is read by the sampler in one stream: every weight of a product is fetched for each
  character. The input of a layer from the embedding is a row of a table (V x GH), computed once as the model is loaded,
  and so are its biases; only n-grams, whose sums cannot be tabled, need the product with W_ih.
- **Writing** is the same, and the scores of the next character.
- **Training** is a forward and a backward pass, 3 multiplications per weight and character: for the output, for the
  gradient of the input and for that of the weight. B streams (`batch_size`, divided by `accumulate`) share what is
  fetched. The recurrent matrix is needed whole at each time step, since h(t) depends on h(t-1): it is fetched once per
  step forward and once per step backward. All other products are computed for a whole window of T steps (`seq_length`):
  fetched once forward and once backward. After the window there are 11 transfers per weight: its gradient is written,
  read for the norm, and read and written by the clipping; AdamW reads the weight, the gradient and two moments, and
  writes the weight and the moments. Numbers are fp32.

A matrix of n numbers thus moves, in numbers per character: n in reading; n (2 / B + 11 / BT) in training if it is
recurrent, and n (2 + 11) / BT if not. Arithmetic of the update and activations that are stored are left out.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from charlstm.config import RunConfig
from charlstm.measure.inside import energy, speed
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.network.weights import B_HH, B_IH, EMBEDDING, OUTPUT, OUTPUT_BIAS, W_CH, W_HH, W_IH, of_layer
from charlstm.storage.loaded import Loaded

ACTIVITIES = ("read", "write", "train")
_NUMBER = 4  # bytes of an fp32 number
_PASSES = 3  # multiplications per weight and character in training
_UPDATE = 11  # transfers of a weight, its gradient and its moments per update
_ROW = 5  # transfers of an n-gram's vector: read, gradient written; gradient read, vector read and written


@dataclass(frozen=True)
class Matrix:
    """A matrix (or table, or vector) of the network and its part in the cost of one character."""

    name: str
    """What it does, in words a student knows: "input to gates", ..."""
    tensor: str
    """Its name in the checkpoint."""
    symbols: str
    """Its shape in letters, such as [4H x E]."""
    shape: tuple[int, ...]
    read: float
    """Multiplications per character when a text is read."""
    write: float
    train: float
    bytes: int
    """Of its numbers, as the file keeps them."""
    read_bytes: float = 0.0
    """Bytes of it that are fetched per character when a text is read."""
    write_bytes: float = 0.0
    train_bytes: float = 0.0
    layer: int | None = None
    """From 1; None if it belongs to no layer."""


@dataclass(frozen=True)
class Activity:
    """One character of reading, writing or training."""

    name: str
    """read, write or train."""
    operations: float
    """Multiplications."""
    bytes: float
    """Of weights that must be fetched."""
    seconds: float | None
    """Measured here, in one thread, in the fastest of many repetitions; None if torch, which trains, is missing."""
    least_seconds: float
    """What these bytes or these operations would take at the measured bandwidth and rate, whichever takes longer: both
    can go on at the same time (the roofline of Williams, Waterman & Patterson 2009)."""
    joules: float
    estimated: bool
    """Whether joules are an estimate from published figures, rather than the machine's own counter."""


@dataclass(frozen=True)
class Cost:
    """What a character costs here."""

    matrices: tuple[Matrix, ...]
    activities: tuple[Activity, ...]
    bandwidth: float
    """Bytes per second, measured."""
    rate: float
    """Multiplications per second, measured on a product of two matrices."""
    letters: tuple[tuple[str, int], ...] = ()
    """What the letters of the shapes stand for."""
    streams: int = 0
    """That are trained side by side."""
    window: int = 0
    """Time steps of a training window."""
    cached: bool = False
    """Whether all weights fit in the processor's largest cache."""


def matrices(config: RunConfig, vocab_size: int, rows: int = 0, *, rounded: bool = True) -> tuple[Matrix, ...]:
    """Count what each matrix of a network costs per character.

    Args:
        config: the shape of the network, and how it is trained.
        vocab_size: V.
        rows: of the table of n-grams that are in use.
        rounded: whether the table is kept in 8 bits, as in a finished model.
    """
    model, train = config.model, config.train
    size, embedding, layers = model.hidden_size, model.embedding_size, model.num_layers
    batch = train.batch_size * train.seq_length
    update = _UPDATE / batch
    window = 2 * train.accumulate / batch + update
    step = 2 * train.accumulate / train.batch_size + update
    orders = len(ngrams.orders(model.ngrams))
    found = [
        _matrix(
            "embedding",
            EMBEDDING,
            "[V x E]",
            (vocab_size, embedding),
            trained=2 * embedding + vocab_size * embedding * update,
        )
    ]
    if orders:
        each = orders * embedding
        kept = _ROW * (1 - model.ngram_dropout)
        table = _matrix("n-gram vectors", ngrams.VALUES, "[U x E]", (rows, embedding), read=each, trained=kept * each)
        if rounded:  # one byte per number; each is multiplied by its vector's scale
            table = dataclasses.replace(
                table, read=each, write=each, bytes=rows * embedding, read_bytes=each, write_bytes=each
            )
        found.append(table)
        if rounded:
            found.append(_matrix("n-gram scales", ngrams.SCALES, "[U]", (rows,), read=orders))
    for number in range(layers):
        found += _layer(config, number, window, step)
    scores = vocab_size * layers * size
    found.append(
        _matrix(
            "outputs to scores",
            OUTPUT,
            "[V x LH]" if layers > 1 else "[V x H]",
            (vocab_size, layers * size),
            written=scores,
            products=(0, scores, _PASSES * scores),
            trained=scores * window,
        )
    )
    found.append(
        _matrix("score bias", OUTPUT_BIAS, "[V]", (vocab_size,), written=vocab_size, trained=vocab_size * window)
    )
    return tuple(found)


def _layer(config: RunConfig, number: int, window: float, step: float) -> list[Matrix]:
    """Count the matrices of a layer.

    Args:
        config: as `matrices` takes it.
        number: of the layer, from 0.
        window: how many times a weight moves per character if it is needed once per window.
        step: ... if it is needed at each time step.
    """
    model, cell = config.model, CELLS[config.model.cell]
    size, gates = model.hidden_size, len(cell.gates)
    rows = gates * size
    into = "gates" if gates > 1 else "state"
    letters = f"{gates if gates > 1 else ''}H"
    width = model.embedding_size + (size if number else 0)
    # What the sampler multiplies of the inputs: the rest is a row of its table.
    multiplied = rows * ((size if number else 0) + (model.embedding_size if ngrams.orders(model.ngrams) else 0))
    found = [
        _matrix(
            f"inputs to {into}" if number else f"input to {into}",
            of_layer(number, W_IH),
            f"[{letters} x (E + H)]" if number else f"[{letters} x E]",
            (rows, width),
            read=multiplied + rows,
            products=(multiplied, multiplied, _PASSES * rows * width),
            trained=rows * width * window,
        ),
        _matrix(
            f"state to {into}",
            of_layer(number, W_HH),
            f"[{letters} x H]",
            (rows, size),
            read=rows * size,
            products=(rows * size, rows * size, _PASSES * rows * size),
            trained=rows * size * step,
        ),
        _matrix("input bias", of_layer(number, B_IH), f"[{letters}]", (rows,), trained=rows * window),
        _matrix("state bias", of_layer(number, B_HH), f"[{letters}]", (rows,), read=rows, trained=rows * window),
    ]
    if cell.peepholes:
        seen = cell.peepholes * size
        found.append(
            _matrix(
                f"cell to {into}",
                of_layer(number, W_CH),
                f"[{cell.peepholes}H]",
                (seen,),
                read=seen,
                products=(seen, seen, _PASSES * seen),
                trained=seen * step,
            )
        )
    return [dataclasses.replace(each, layer=number + 1) for each in found]


def _matrix(
    name: str,
    tensor: str,
    symbols: str,
    shape: tuple[int, ...],
    *,
    read: float = 0,
    written: float = 0,
    products: tuple[float, float, float] = (0, 0, 0),
    trained: float = 0,
) -> Matrix:
    """Return a matrix of fp32 numbers.

    Args:
        name: what it does.
        tensor: its name in the checkpoint.
        symbols: its shape in letters.
        shape: in numbers.
        read: numbers fetched per character in reading, and in writing too.
        written: numbers fetched in writing alone.
        products: multiplications in reading, writing and training.
        trained: numbers moved in training.
    """
    size = math.prod(shape)
    return Matrix(
        name,
        tensor,
        symbols,
        shape,
        *products,
        bytes=_NUMBER * size,
        read_bytes=_NUMBER * read,
        write_bytes=_NUMBER * (read + written),
        train_bytes=_NUMBER * trained,
    )


def _ignore(_: float) -> None:
    """Ignore the progress."""


def cost(
    loaded: Loaded,
    report: Callable[[float], None] = _ignore,
    *,
    seconds: float = 2.0,
    counters: Path = energy.ROOT,
    caches: Path = energy.CACHES,
) -> Cost:
    """Count what a character costs, and measure it on the CPU, in one thread.

    Args:
        loaded: the checkpoint.
        report: called with the share that is done.
        seconds: how long to measure, in all; loading torch comes on top.
        counters: the folder of the processor's energy counters.
        caches: the folder that describes its caches.

    Raises:
        DataError: if the model's scores are not numbers.
    """
    if loaded.device is not None:
        loaded = dataclasses.replace(loaded, device=None)
    config, vocab_size, weights = loaded.config, loaded.tokenizer.vocab_size, loaded.checkpoint.weights
    rows = len(weights.get(ngrams.VALUES, ()))
    parts = matrices(config, vocab_size, rows, rounded=ngrams.SCALES in weights)
    size = int(sum(each.write_bytes for each in parts))
    report(0.0)
    with speed.one_thread():
        bandwidth, rate = speed.bandwidth(size, seconds / 20), speed.rate(seconds / 20)
        report(0.1)
        read = speed.pace(speed.reading(loaded), seconds / 6, counters)
        report(0.2)
        write = speed.pace(speed.writing(loaded), seconds / 6, counters)
    report(0.3)
    train = speed.training(loaded, seconds / 2, counters, lambda share: report(0.3 + 0.7 * share))
    with speed.one_thread():  # again: other programs may have been busy the first time
        bandwidth = max(bandwidth, speed.bandwidth(size, seconds / 20))
        rate = max(rate, speed.rate(seconds / 20))
    report(1.0)
    held = sum(each.bytes for each in parts if each.tensor != ngrams.VALUES)
    cache = energy.largest_cache(caches) or 0
    model = config.model
    letters = {"V": vocab_size, "E": model.embedding_size, "H": model.hidden_size, "L": model.num_layers}
    if rows:
        letters["U"] = rows
    return Cost(
        parts,
        (
            _activity("read", parts, read, bandwidth, rate, cached=held <= cache),
            _activity("write", parts, write, bandwidth, rate, cached=held <= cache),
            # In training there are gradients and two moments beside the weights.
            _activity("train", parts, train, bandwidth, rate, cached=4 * held <= cache),
        ),
        bandwidth,
        rate,
        tuple(letters.items()),
        streams=config.train.batch_size // config.train.accumulate,
        window=config.train.seq_length,
        cached=held <= cache,
    )


def _activity(
    name: str, parts: tuple[Matrix, ...], pace: speed.Pace | None, bandwidth: float, rate: float, *, cached: bool
) -> Activity:
    """Return the sums over all matrices beside what was measured."""
    operations = sum(getattr(each, name) for each in parts)
    fetched = sum(getattr(each, f"{name}_bytes") for each in parts)
    joules = None if pace is None else pace.joules
    return Activity(
        name,
        operations,
        fetched,
        None if pace is None else pace.seconds,
        max(fetched / bandwidth, operations / rate),
        energy.estimate(operations, fetched, cached=cached) if joules is None else joules,
        joules is None,
    )

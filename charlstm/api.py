"""The door for Python programs: a loaded model, and training.

Everything beyond the first argument is given by name, and has the name and the default of the command's option.
Nothing is printed, and errors are the package's own. It is longer than other files because what is public is explained
where it stands.
"""

import dataclasses
import difflib
import importlib.util
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from charlstm.config import (
    DeviceConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    Settings,
    TextConfig,
    TrainConfig,
    duration,
)
from charlstm.errors import DataError, UsageError
from charlstm.measure import score as scoring
from charlstm.measure.score import Score
from charlstm.network.stepper import LayerTrace
from charlstm.sample import Context, Piece, drawn_label, write
from charlstm.storage import loaded as opened
from charlstm.storage import runs
from charlstm.storage.loaded import Loaded
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora

if TYPE_CHECKING:
    from types import TracebackType

    from charlstm.training.records import Record

_LONG = 20_000  # ids from which torch, which takes a moment to load, is the faster way to score a text
_TURN = threading.RLock()
Group = TypeVar("Group", bound=Settings)


@dataclass(frozen=True)
class Step:
    """One character as it was written; a piece of one, or none, if more has to come first."""

    text: str
    """What is new: empty while a character of several bytes, or a text to stop at, is incomplete."""
    logprob: float
    """Natural logarithm of the probability that the model gave to it, before the filters."""
    top: tuple[tuple[str, float], ...]
    """The likeliest characters there and their log-probabilities."""
    finish_reason: str | None
    """On the last step: `length`, `stop`, or `end` (of a document)."""


@dataclass(frozen=True)
class Trace:
    """What a model did as it read a character (with the tokenizer `byte`: a byte of one)."""

    text: str
    layers: tuple[LayerTrace, ...]
    """From the first layer to the last: the gates by name, c and h, each (H,)."""


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from."""

    paths: tuple[str, ...]
    """Its training text, where training read it."""
    sha256: str
    characters: int
    """Of its text, the held-out part included."""
    step: int
    """Updates that made it."""
    val_loss: float | None
    """Held-out loss in nats per character, if it was measured."""
    versions: dict[str, str]
    """What wrote it."""


class State:
    """What a model has read. A stream moves it on; a copy stays where it is, so that a text can branch anywhere."""

    def __init__(self, context: Context) -> None:
        """Wrap what was read; `Model.read` makes it."""
        self.context = context

    def copy(self) -> "State":
        """Return a state that goes its own way from here."""
        return State(self.context.branch(1))


class Model:
    """A loaded model. Threads may share it: it changes with nothing that is asked of it."""

    def __init__(self, loaded: Loaded) -> None:
        """Take an opened checkpoint; `load` opens one."""
        self.loaded = loaded

    def __enter__(self) -> "Model":
        """Return the model."""
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        problem: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        """Let go of what it computes with, if nothing else uses it."""
        self.loaded = dataclasses.replace(self.loaded)

    @property
    def config(self) -> RunConfig:
        """The settings of the run, in the groups `text`, `model` and `train`."""
        return self.loaded.config

    @property
    def vocabulary(self) -> list[str]:
        """What each id stands for."""
        return self.loaded.tokenizer.vocabulary

    @property
    def labels(self) -> dict[str, int]:
        """The labels of the documents it was trained on: how many have each; empty if they had none."""
        return self.loaded.tokenizer.counts_by_label

    @property
    def provenance(self) -> Provenance:
        """Where the model comes from."""
        checkpoint, source = self.loaded.checkpoint, self.loaded.source
        return Provenance(
            source.paths,
            source.sha256,
            source.characters,
            checkpoint.step,
            checkpoint.val_loss,
            dict(checkpoint.versions),
        )

    def generate(
        self,
        prompt: str = "",
        *,
        label: str | None = None,
        state: State | None = None,
        length: int = 500,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
    ) -> str:
        """Return new text, without the prompt; the arguments and errors are those of `stream`."""
        settings = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        return "".join(piece.text for piece in self._pieces(prompt, label, state, stop, seed, None, **settings))

    def stream(
        self,
        prompt: str = "",
        *,
        label: str | None = None,
        state: State | None = None,
        length: int = 500,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        top: int = 5,
    ) -> Iterator[Step]:
        """Yield text as it is written.

        The same seed and settings give the same text as `charlstm sample`.

        Args:
            prompt: what the text goes on from: after `state`, or from the beginning of a document.
            label: of the document, if the model has labels; by default the seed draws one, each as often as the
                training text has it.
            state: what was read before; the stream moves it on.
            length: new characters.
            temperature: below 1 is safer, above 1 wilder; 0 always takes the likeliest character.
            top_k: choose among this many likeliest characters only.
            top_p: choose among the likeliest characters that together have this probability.
            min_p: drop characters less likely than this share of the likeliest one's probability.
            stop: a text, or texts, to end before.
            seed: of the random numbers; by default another one each time.
            top: number of likeliest characters that each step tells.

        Raises:
            DataError: if the prompt has characters that the model has never seen.
            UsageError: if a setting is out of its limits, or the model does not know the label.
        """
        if not isinstance(top, int) or top < 0:
            raise UsageError(f"top {top!r}: must be a whole number from 0 on")
        settings = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        return self._steps(self._pieces(prompt, label, state, stop, seed, top, **settings))

    def _pieces(
        self,
        prompt: str,
        label: str | None,
        state: State | None,
        stop: str | Sequence[str],
        seed: int | None,
        top: int | None,
        **settings: Any,
    ) -> Iterator[Piece]:
        """Check all arguments, read the prompt, and return what is then written, piece by piece."""
        config = SampleConfig(**settings, seed=seed)
        stops = _stops(stop)
        seed = secrets.randbelow(2**32) if seed is None else seed
        if label is None and state is None:
            label = drawn_label(self.loaded.tokenizer, seed)
        return write(self._begun(prompt, state, label), self.loaded.tokenizer, config, seed, stops, top=top)

    def _steps(self, pieces: Iterator[Piece]) -> Iterator[Step]:
        names = self.loaded.tokenizer.vocabulary
        for piece in pieces:
            likeliest = tuple((names[id], likely) for id, likely in piece.top)
            yield Step(piece.text, 0.0 if piece.logprob is None else piece.logprob, likeliest, piece.stopped)

    def read(self, text: str, *, label: str | None = None) -> State:
        """Return the state after a text, from the beginning of a document: one with this label, or without any.

        It raises errors as `stream` does.
        """
        return State(self._begun(text, None, label))

    def score(self, text: str, *, label: str | None = None) -> Score:
        """Return how surprised the model is by a text, each character given all before it, and its label if it has one.

        It is what `charlstm eval` says of a file with this text, within 1e-6 bits per character. Short texts are scored
        on numpy. Long ones are read by torch, if it is installed, in several places at once, which is faster. An exact
        model scores all of them in its own arithmetic.

        Raises:
            DataError: if the text is empty, or holds a lone surrogate that stands for no byte.
            UsageError: if the model does not know the label.
        """
        if not _text(text):
            raise DataError("the text is empty: there is nothing to score; give a text with some characters")
        document = corpora.encode(text, self.loaded.tokenizer, label)
        if not self.loaded.exact and len(document.ids) > _LONG and importlib.util.find_spec("torch") is not None:
            return self._score_at_once(document)
        return scoring.by_steps(self.loaded.engine, document, self.loaded.tokenizer)

    def _score_at_once(self, document: corpora.Split) -> Score:
        from charlstm.measure.read import Reader
        from charlstm.measure.scoring import evaluate

        return evaluate(Reader.of(self.loaded), document)

    def voices(self, text: str) -> dict[str, float]:
        """Return how probable each label is, given a whole document with this text: by Bayes' rule, with the labels'
        shares of the training text as what is known before.

        Raises:
            DataError: if the text holds a lone surrogate that stands for no byte.
            UsageError: if the model has no labels.
        """
        tokenizer = self.loaded.tokenizer
        if not tokenizer.labels:
            raise UsageError("this model has no labels: train one with label_field or label_from")
        nats = scoring.by_label(self.loaded.engine, tokenizer.encode(_text(text)).tolist(), tokenizer)
        return dict(zip(tokenizer.labels, scoring.posterior(nats, tokenizer.label_counts).tolist(), strict=True))

    def surprise(self, text: str) -> npt.NDArray[np.float64]:
        """Return the bits of each character of a text, given all before it: (len(text),).

        An unknown character costs its `<unk>` and its place in Unicode.

        Raises:
            DataError: if the text holds a lone surrogate that stands for no byte.
        """
        tokenizer, text = self.loaded.tokenizer, _text(text)
        bits: npt.NDArray[np.float64] = scoring.nats(
            self.loaded.engine, tokenizer.encode(text).tolist(), tokenizer
        ) / np.log(2)
        if tokenizer.kind == "char":
            return bits
        sizes = np.array([len(character.encode("utf-8", "surrogateescape")) for character in text], np.int64)
        return np.array([part.sum() for part in np.split(bits, sizes.cumsum()[:-1])] if text else [])

    def trace(self, text: str) -> Iterator[Trace]:
        """Yield what the model does at each character of a text, from the beginning of a document.

        Raises:
            DataError: if the text has characters that the model has never seen.
        """
        self.loaded.tokenizer.require_known(_text(text), "the text")
        return self._traced(text)

    def _traced(self, text: str) -> Iterator[Trace]:
        tokenizer, engine = self.loaded.tokenizer, self.loaded.engine
        state = engine.zero_state()
        for id in tokenizer.opening:
            _, state = engine.step(id, state)
        for id in tokenizer.encode(text).tolist():
            layers, state = engine.trace(id, state)
            yield Trace(tokenizer.decode([id]), tuple(layers))

    def _begun(self, prompt: str, state: State | None, label: str | None) -> Context:
        """Return what has read the beginning of a document, or what a state has read, and then the prompt."""
        tokenizer = self.loaded.tokenizer
        tokenizer.require_known(_text(prompt))
        if state is not None:
            if not isinstance(state, State) or state.context.engine is not self.loaded.engine:
                raise UsageError("state: it was not read by this model; give what its read() has returned")
            if label is not None:
                raise UsageError(f"label {label!r}: the state is that of a document already; leave one of them out")
            context = state.context
        else:
            context = Context(self.loaded.engine)
            context.prefill(tokenizer.opened(label))
        context.prefill(tokenizer.encode(prompt).tolist())
        return context


def load(
    name: str | Path | None = None,
    *,
    checkpoints: str | Path = runs.ROOT,
    device: str = "cpu",
    exact: bool = False,
) -> Model:
    """Open a model: by the name of a run, its folder, or a checkpoint file; by default the newest run.

    It loads numpy, and no torch.

    Args:
        name: what to open.
        checkpoints: folder of the runs.
        device: `cpu`; or `cuda` or `mps`, for which torch is loaded.
        exact: compute in integers, so that every machine gets the same scores, and the same text from the same seed.

    Raises:
        DataError: if the file is no checkpoint, or is damaged.
        InputOutputError: if it is missing or cannot be read.
        UsageError: if the name is empty, if this machine has no such device, or if it is to compute exactly.
    """
    if exact and device != "cpu":
        raise UsageError(f"device {device!r}: exact arithmetic runs on the CPU; leave the device or `exact` out")
    loaded = opened.load(None if name is None else _path(name), Path(_path(checkpoints)))
    if exact:
        loaded = loaded.exactly()
    if device != "cpu":
        from charlstm.network.device import Device, choose

        loaded = loaded.on(Device(choose(DeviceConfig(device=device)), "fp32"))
    return Model(loaded)


def training(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    name: str | None = None,
    checkpoints: str | Path = runs.ROOT,
    val: str | Path | Sequence[str | Path] = (),
    base: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    time: float | str | None = None,
    **settings: Any,
) -> "Iterator[Record]":
    """Train a model, and yield what happens: progress, measurements, decisions, and at last how the run ended.

    It loads torch. A caller that stops asking loses what was learnt since the last save; the run can be resumed.

    Args:
        corpus: text files and folders of them; a run that is resumed knows it.
        name: of the run; by default that of the corpus, without its ending.
        checkpoints: folder of the runs.
        val: held-out text, instead of a part of the corpus.
        base: a trained model to begin with (`--from`).
        resume: go on with a run that was stopped.
        force: write over a run of the same name.
        time: length of the run, in seconds or as `2m`; or give `steps` or `epochs`.
        settings: every other option of `charlstm train`, by its name with _ for -.

    Raises:
        DataError: if the text cannot be used.
        DivergedError: if the loss is not finite for a second time.
        InputOutputError: if a file cannot be read or written.
        UsageError: if a setting makes no sense, or the run exists.
    """
    if resume and force:
        raise UsageError("resume and force exclude each other: go on with the run, or overwrite it")
    if resume and base is not None:
        raise UsageError("resume and base exclude each other: a run knows what it began with")
    given = {key: value for key, value in settings.items() if value is not None}
    if time is not None:
        given["time"] = duration(time) if isinstance(time, str) else time
    groups = {group: _collect(group, given) for group in (TextConfig, ModelConfig, TrainConfig, DeviceConfig)}
    known = {field.name for group in groups for field in dataclasses.fields(group)}
    for unknown in sorted(set(given) - known):
        near = difflib.get_close_matches(unknown, known, n=1)
        raise UsageError(f"{unknown}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    paths, val_paths = _paths(corpus), _paths(val)
    if not paths and not (resume and name is not None):
        raise UsageError("no corpus given: name a text file or a folder")
    run = _run(name, paths, Path(_path(checkpoints)))
    device = _collect(DeviceConfig, given)
    config = RunConfig(
        text=_collect(TextConfig, given), model=_collect(ModelConfig, given), train=_collect(TrainConfig, given)
    )
    if run.exists() and not (resume or force):
        raise UsageError(f"{run.folder} holds a run: go on with it (resume), write over it (force), or give a name")
    named = None if base is None else _path(base)
    return _records(run, paths, val_paths, named, device, config, given, resume=resume)


def _records(
    run: Run,
    paths: Sequence[str],
    val_paths: Sequence[str],
    base: str | None,
    device: DeviceConfig,
    config: RunConfig,
    given: dict[str, Any],
    *,
    resume: bool,
) -> "Iterator[Record]":
    from charlstm.training import again, start
    from charlstm.training.order import Order

    order = Order(
        run=run,
        paths=paths,
        val_paths=val_paths,
        base=base,
        device=device,
        length_asked=any(length in given for length in again.LENGTHS),
    )
    with run.locked():
        # torch has one random generator, which is seeded at each step: trainings in several threads take turns.
        with _TURN:
            ready = again.resume(order, given) if resume else start.new(order, config, set(given))
            if ready is None:
                return
            ready.claim()
            records = ready.records()
        while True:
            with _TURN:
                record = next(records, None)
            if record is None:
                return
            yield record


def train(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    name: str | None = None,
    checkpoints: str | Path = runs.ROOT,
    val: str | Path | Sequence[str | Path] = (),
    base: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    time: float | str | None = None,
    **settings: Any,
) -> Run:
    """Train a model to the end and return its run; the arguments and errors are those of `training`."""
    for _ in training(
        corpus,
        name=name,
        checkpoints=checkpoints,
        val=val,
        base=base,
        resume=resume,
        force=force,
        time=time,
        **settings,
    ):
        pass
    return _run(name, _paths(corpus), Path(checkpoints))


def _run(name: str | None, paths: Sequence[str | Path], root: Path) -> Run:
    return runs.named(runs.name_for(str(paths[0])) if name is None else name, root)


def _collect(group: type[Group], values: dict[str, Any]) -> Group:
    """Return the settings of a group; raises `UsageError` if one is out of its limits."""
    return group(**{field.name: values[field.name] for field in dataclasses.fields(group) if field.name in values})


def _text(text: object) -> str:
    """Return a text; raises `UsageError` if it is something else."""
    if not isinstance(text, str):
        raise UsageError(f"a {type(text).__name__} is not a text: give a str")
    return text


def _path(path: object) -> str:
    """Return the name of a file or folder; raises `UsageError` if it cannot be one."""
    if not isinstance(path, (str, Path)) or "\0" in str(path):
        raise UsageError(f"{path!r:.60} is not the name of a file or folder: give a str or a Path")
    return str(path)


def _paths(paths: object) -> list[str]:
    """Return the names of files and folders, of which there may be one alone."""
    if isinstance(paths, (str, Path)) or not isinstance(paths, Iterable) or isinstance(paths, bytes):
        paths = [paths]
    return [_path(path) for path in paths]


def _stops(stop: str | Sequence[str]) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if not all(_text(each) for each in stops):
        raise UsageError("stop '': an empty text is found everywhere; give at least one character")
    return stops

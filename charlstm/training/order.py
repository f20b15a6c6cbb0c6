"""What a user asked of a run, and a run that is ready to start or to go on.

Nothing is written before `Ready.claim`, and nothing is printed.
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from charlstm.config import DeviceConfig, RunConfig
from charlstm.errors import DivergedError, UsageError
from charlstm.network import device as devices
from charlstm.network.distributed import ALONE, Group, join, processes
from charlstm.storage import loaded as opened
from charlstm.storage.checkpoint import Origin, state_bytes
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora
from charlstm.text import files as filing
from charlstm.text.cache import Cache, default_root
from charlstm.text.corpus import Corpus
from charlstm.text.gather import Watch
from charlstm.text.tokenizer import NONE_INHERITED, Inherited, Tokenizer
from charlstm.training.calibration import Timed
from charlstm.training.loop import train
from charlstm.training.origin import Brought
from charlstm.training.recipe import Choice
from charlstm.training.records import Record
from charlstm.training.state import Training


def _unwatched() -> AbstractContextManager[Watch]:
    return nullcontext(lambda _, __: None)


@dataclass(frozen=True)
class Order:
    """What the user asked for, whether the run is new or resumed."""

    run: Run
    """Where it is kept."""
    paths: Sequence[str] = ()
    """The text; a resumed run knows its own."""
    val_paths: Sequence[str] = ()
    base: str | None = None
    """The model that a new run begins with: a run's name, its folder or a file; None: it begins from nothing."""
    device: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)
    cache: Cache = dataclasses.field(default_factory=lambda: Cache(default_root()))
    group: Group = ALONE
    began: float = dataclasses.field(default_factory=time.monotonic)
    """`time.monotonic()` at the moment from which the run's time counts."""
    length_asked: bool = False
    """Whether the user gives a length now; a run is then extended to that length, or by that much time."""
    tell: Callable[[str], None] = lambda _: None
    """Called with a message about what is being done."""
    watching: Callable[[], AbstractContextManager[Watch]] = _unwatched
    """Returns a context manager that yields the function to call with the progress of reading."""

    @property
    def rereadable(self) -> bool:
        """Whether the text can be read twice: none of it comes from a pipe."""
        places = (*self.paths, *self.val_paths)
        return not any(not Path(path).is_dir() and not filing.File(path, found=False).lasting for path in places)

    def load(
        self, config: RunConfig, tokenizer: Tokenizer | None = None, inherited: Inherited = NONE_INHERITED
    ) -> Corpus:
        """Read the corpus; one process on each machine reads it, and the others take it from the cache.

        Args:
            config: the settings of the run.
            tokenizer: the tokenizer of a run that was started earlier.
            inherited: what the vocabulary of a new run has from the model that it begins with.

        Raises:
            UsageError: if the time of the run is over before the text has been read.
        """
        # A run that is resumed unchanged, or repeated, has no clock.
        limit = config.train.time if tokenizer is None or self.length_asked else None
        with self.group.one_first(), self.watching() as show:

            def watch(read: int, total: int) -> None:
                show(read, total)
                if limit is not None and time.monotonic() - self.began > limit:
                    share = f"{read / total:.0%} of " if total else ""
                    raise UsageError(
                        f"--time {limit:g}s was over when {share}the text had been read; "
                        "give more time, or --steps or --epochs"
                    )

            return corpora.load(
                self.paths,
                self.val_paths,
                config.text,
                tokenizer,
                inherited=inherited,
                cache=self.cache,
                watch=watch,
            )

    def beside(self, config: RunConfig, origin: Sequence[Origin], corpus: Corpus) -> Corpus:
        """Return the corpus with the text of the model that the run began with, if `--keep` asks for it.

        Raises:
            MissingTextError: if that text is no longer there.
        """
        if not config.train.keep or not origin:
            return corpus
        with self.group.one_first():
            last = origin[-1]
            text = opened.training_text(last.source, last.text, corpus.tokenizer, "--keep reads it", self.cache)
        return dataclasses.replace(corpus, beside=text)


@dataclass(frozen=True)
class Ready:
    """A run that is ready to start, or to go on."""

    run: Run
    training: Training
    corpus: Corpus
    timed: Timed
    remark: str = ""
    """Why it is computed this way, in a few words."""
    choices: tuple[Choice, ...] = ()
    """What the recipe chose, and what the user set."""
    notes: tuple[str, ...] = ()
    """What a user should know before it starts."""
    resumed: bool = False
    """Whether it goes on from where it was saved."""
    damaged: bool = False
    """Whether its newest state is damaged, so that it goes on from the one before."""
    longer: bool = False
    """Whether it goes on for a length that the user gave now."""
    brought: Brought | None = None
    """What the model that it begins with knows of the text."""

    @property
    def epochs(self) -> float:
        """Passes over the training text, as planned now."""
        return self.timed.plan.steps / self.training.batches.windows

    def claim(self) -> None:
        """Prepare the run's folder: a new run removes an earlier run's files, a resumed one cuts its metrics.

        Raises:
            InputOutputError: if the folder cannot be written, or the disk is too full.
        """
        training = self.training
        if not training.group.first:
            return
        tokenizer = self.corpus.tokenizer
        size = state_bytes(training.config, tokenizer.vocab_size, len(tokenizer.labels))
        if self.resumed:
            if self.damaged:
                self.run.drop_damaged()
            self.run.make_room(size)
            self.run.cut_metrics(training.at.row_step)
        else:
            self.run.create(size)

    def records(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Record]:
        """Train, and yield what happens; the last record says why the run ended.

        Args:
            stop: called after every step, and while the held-out text is scored.

        Raises:
            DivergedError: if the loss is not finite for the second time; earlier checkpoints are kept.
            InputOutputError: if the last state of the run cannot be written.
        """
        try:
            yield from train(self.training, self.corpus, self.run, self.timed.plan, stop, self.timed.clock)
        except DivergedError as error:
            raise DivergedError(
                f"{error}; the last good state is kept in {self.run.last}; "
                f"try a lower --learning-rate than {self.training.config.train.learning_rate:g}, or --precision fp32"
            ) from None


def join_processes(config: DeviceConfig, paths: Collection[str]) -> Group:
    """Return the group of the torchrun job that this process belongs to.

    Raises:
        UsageError: if several processes would have to share a pipe.
    """
    if processes() == 1:
        return ALONE
    if "-" in paths:
        raise UsageError("-: several processes cannot share the standard input; give a file")
    return join(devices.choose(config))


def about(corpus: Corpus, *, resumed: bool = False) -> Iterator[str]:
    """Yield what a user should know about how a text was read."""
    yield from corpus.notes()
    overlap = corpus.overlap
    if overlap.documents and not overlap.dropped and not resumed:
        some = overlap.documents < overlap.of
        yield "--deduplicate leaves them out" if some else "name another held-out text with --val"

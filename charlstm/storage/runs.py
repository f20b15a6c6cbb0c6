"""A run's folder: its checkpoints, its metrics, and finding a checkpoint by name."""

import contextlib
import difflib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlstm.errors import CharLSTMError, DataError, InputOutputError, UsageError, os_reason
from charlstm.shell import quoted
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import durable
from charlstm.storage.checkpoint import Checkpoint

ROOT = Path("checkpoints")
"""Where runs are kept, relative to the current folder."""
PRETRAINED = ("shakespeare", "english")
"""The models that come with the package; the first is taken if there is no other run."""
_LOCK = ".lock"
_LISTED = 8  # runs listed in a message, newest first
_PAUSES = (0.2, 1.0)  # seconds before each retry of a failed save


@dataclass(frozen=True)
class Run:
    """The files of one run."""

    folder: Path

    @property
    def best(self) -> Path:
        """The weights with the lowest held-out loss."""
        return self.folder / "best.safetensors"

    @property
    def last(self) -> Path:
        """The newest training state."""
        return self.folder / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The training state before `last`."""
        return self.folder / "previous.safetensors"

    @property
    def level(self) -> Path:
        """The training state at which the learning rate began to fall, from which a longer run goes on."""
        return self.folder / "level.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object per line, one line per evaluation."""
        return self.folder / "metrics.jsonl"

    @property
    def _files(self) -> tuple[Path, ...]:
        return self.best, self.last, self.previous, self.level, self.metrics

    def exists(self) -> bool:
        """Return whether any file of a run already exists here."""
        return any(os.path.lexists(file) for file in self._files)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from training into this folder; a dead process holds no lock.

        Raises:
            InputOutputError: if the folder cannot be written.
            UsageError: if another process is training into it.
        """
        import filelock

        lock = filelock.FileLock(self.folder / _LOCK)
        new = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(
                f"{self.folder}: another process is training this run; wait for it, or give another --name"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        except BaseException:  # an interrupt
            if new:  # nobody else had the folder
                self._leave(new)
            raise
        try:
            yield
        finally:
            self._leave(new)
            lock.release()

    def _leave(self, new: Sequence[Path]) -> None:
        """Remove the lock file and the folders that were new, if nothing was written."""
        with contextlib.suppress(OSError):  # raised if a folder is not empty
            if self.folder.exists() and {file.name for file in self.folder.iterdir()} <= {_LOCK}:
                (self.folder / _LOCK).unlink(missing_ok=True)
            for folder in new:
                if folder.exists():
                    folder.rmdir()

    def create(self, size: int) -> None:
        """Prepare the folder for a run whose generations take `size` bytes; the files of an earlier run are removed.

        Raises:
            InputOutputError: if the folder cannot be written, or the disk is too full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in self._files:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        self.make_room(size)
        # If this fails, it fails now rather than after the first minutes of training.
        durable.write(self.metrics, b"")

    def make_room(self, size: int) -> None:
        """Remove files that killed processes left half-written, and check that the disk has enough free space.

        Args:
            size: bytes per generation.

        Raises:
            InputOutputError: if there is not enough space, or the folder cannot be written.
        """
        try:
            for file in durable.unfinished(self.folder):
                file.unlink()
            there = sum(file.stat().st_size for file in self._files if file.is_file())
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise self._unwritable(error) from error
        # The newest state, the one before it, the one being written, the one before the fall, and the best weights.
        missing = 5 * size - there - free
        if missing > 0:
            raise InputOutputError(
                f"{self.folder}: the run needs {5 * size / 1e6:,.0f} MB there, {missing / 1e6:,.0f} MB more than is "
                "available; free some space, or choose another --checkpoints folder"
            )

    def save(self, last: Checkpoint, best: Checkpoint | None = None, rows: list[dict[str, Any]] | None = None) -> None:
        """Write a generation: the best weights if they are new, new rows of metrics, and the newest state.

        A write that fails is tried three times. No state refers to best weights or rows that have not been written.

        Args:
            last: the newest state.
            best: the best weights, if they are new.
            rows: the new rows of metrics; the list is emptied when they have been written.

        Raises:
            InputOutputError: if writing still fails; what was there before can still be loaded.
        """
        for pause in _PAUSES:
            try:
                return self._write(last, best, rows or [])
            except InputOutputError:
                time.sleep(pause)
        return self._write(last, best, rows or [])

    def _write(self, last: Checkpoint, best: Checkpoint | None, rows: list[dict[str, Any]]) -> None:
        if best is not None:
            checkpoints.save(self.best, best)
        if rows:
            durable.append(self.metrics, _lines(rows))
            rows.clear()
        checkpoints.save(self.last, last, keep=self.previous)

    def save_level(self, state: Checkpoint) -> None:
        """Write the state at which the learning rate begins to fall.

        Raises:
            InputOutputError: if it cannot be written.
        """
        checkpoints.save(self.level, state)

    def load_level(self) -> Checkpoint | None:
        """Return the state at which the learning rate began to fall; None if there is none, or it is damaged."""
        if not self.level.exists():
            return None
        try:
            return checkpoints.load(self.level)
        except CharLSTMError:
            return None

    def load_last(self) -> tuple[Checkpoint, CharLSTMError | None]:
        """Return the newest intact state, and what was wrong with a newer one.

        Raises:
            DataError: if no state is intact.
            InputOutputError: if there is no state, or none can be read.
        """
        try:
            return checkpoints.load(self.last), None
        except (DataError, InputOutputError) as error:
            if not self.previous.exists():
                raise
            return checkpoints.load(self.previous), error

    def drop_damaged(self) -> None:
        """Replace the newest state with the one before it, so that the next state kept as `previous` is intact.

        Raises:
            InputOutputError: if the folder cannot be written.
        """
        try:
            self.previous.replace(self.last)
            durable.sync_folder(self.folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the metrics, up to the first that was cut off when a process was killed."""
        if not self.metrics.exists():
            return
        for line in self.metrics.read_bytes().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                return

    def cut_metrics(self, step: int) -> None:
        """Drop the rows after `step`: the run goes on from an earlier state, and will write them again.

        Raises:
            InputOutputError: if the folder cannot be written.
        """
        durable.write(self.metrics, _lines([row for row in self.read_metrics() if row["step"] <= step]))

    def _unwritable(self, error: OSError) -> InputOutputError:
        return InputOutputError(
            f"{self.folder}: cannot be written ({os_reason(error)}); choose another --checkpoints folder"
        )


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def named(name: str, root: Path = ROOT) -> Run:
    """Return the run with this name; it need not exist yet.

    Raises:
        UsageError: if the name is not a plain folder name.
    """
    if not name or name in {".", ".."} or Path(name).name != name or "\0" in name:
        raise UsageError(f"--name {name!r}: give a plain name, without slashes")
    return Run(root / name)


def name_for(path: str) -> str:
    """Return the default name of a run on this corpus: the name of the corpus, without its extension."""
    if path == "-":
        return "stdin"
    place = Path(path).resolve()
    return (place.name if place.is_dir() else place.stem) or "corpus"


def find(name: str | None, root: Path = ROOT) -> Path:
    """Return the checkpoint file that a path, a run's folder or a run's name refers to; without a name, the newest.

    If no run has been trained yet, the newest is the pretrained model that comes with the package.

    Raises:
        InputOutputError: if there is no such file; the message suggests the closest name, and lists the runs.
        UsageError: if the name is empty.
    """
    if name is None:
        return _newest(root)
    if not name:
        raise UsageError("CHECKPOINT '': name a run, its folder or a file, or leave it out to take the newest")
    for folder in (Path(name), root / name):
        if folder.is_dir() and (file := _best(Run(folder))):
            return file
    if name in PRETRAINED and (file := _pretrained(name)):
        return file
    if not _is_there(Path(name)):
        raise InputOutputError(f"{name}: no such checkpoint or run; {_advice(Path(name).name, root)}")
    return Path(name)


def _is_there(path: Path) -> bool:
    """Return whether anything is at a path; other problems with it are reported when it is opened."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _advice(name: str, root: Path) -> str:
    """Return advice for a name that no run has, such as what may have been meant."""
    names = _names(root)
    if not names:
        return "check the path, or train a run with `charlstm train CORPUS`"
    by_spelling = {each.casefold(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), by_spelling, n=1)
    meant = f"did you mean {quoted(by_spelling[near[0]])}?" if near else "check the name"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{meant} (runs: {', '.join(map(quoted, names[:_LISTED]))}{more})"


def _names(root: Path) -> list[str]:
    """Return the names of all runs, newest first."""
    names = [folder.name for _, folder in sorted(_by_age(root), reverse=True)]
    return names + [name for name in PRETRAINED if name not in names and _pretrained(name)]


def _by_age(root: Path) -> Iterator[tuple[float, Path]]:
    """Yield, for each run, when its checkpoint was written, and its folder."""
    for folder in root.glob("*/"):
        if file := _best(Run(folder)):
            with contextlib.suppress(OSError):  # another process may be removing it
                yield file.stat().st_mtime, folder


def _pretrained(name: str) -> Path | None:
    package = Path(__file__).parent.parent
    for place in (package, package.parent):  # as installed, and in a clone
        file = Run(place / "checkpoints" / name).best
        if file.is_file():
            return file
    return None


def _is_pretrained(folder: Path) -> bool:
    """Return whether a run's folder, in a clone, holds a model that comes with the package."""
    return folder.name in PRETRAINED and {file.name for file in folder.iterdir()} == {Run(folder).best.name}


def _best(run: Run) -> Path | None:
    return next((file for file in (run.best, run.last, run.previous) if file.is_file()), None)


def _newest(root: Path) -> Path:
    runs = [(age, folder) for age, folder in _by_age(root) if not _is_pretrained(folder)]
    if runs and (file := _best(Run(max(runs)[1]))):
        return file
    for name in PRETRAINED:
        if file := _best(Run(root / name)) or _pretrained(name):
            return file
    raise InputOutputError(f"{root}: no checkpoint in it; train one with `charlstm train CORPUS`, or name a file")

"""A run's folder: its checkpoints, its metrics, and how a checkpoint is found by name."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlstm import checkpoint as checkpoints
from charlstm.checkpoint import Checkpoint
from charlstm.errors import DataError, InputOutputError, UsageError, os_reason

ROOT = Path("checkpoints")
"""Where runs are kept, below the current folder."""
PRETRAINED = "shakespeare"
"""The run that comes with the package."""


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
        """The newest state of the training."""
        return self.folder / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The state before `last`."""
        return self.folder / "previous.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object a line for each evaluation."""
        return self.folder / "metrics.jsonl"

    @property
    def _files(self) -> tuple[Path, ...]:
        return self.best, self.last, self.previous, self.metrics

    def exists(self) -> bool:
        """Return whether something was already written here."""
        return any(os.path.lexists(file) for file in self._files)

    def create(self) -> None:
        """Make the folder, empty of an earlier run's files.

        Raises:
            InputOutputError: where the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in self._files:
                file.unlink(missing_ok=True)
            # Told now rather than after the first minutes of training.
            checkpoints.write_atomically(self.metrics, b"")
        except OSError as error:
            raise InputOutputError(
                f"{self.folder}: cannot be written ({os_reason(error)}); choose another --checkpoints folder"
            ) from error

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write the best weights."""
        checkpoints.save(self.best, checkpoint)

    def save_last(self, checkpoint: Checkpoint) -> None:
        """Write the newest state; the one before it becomes `previous`."""
        try:
            if self.last.exists():
                self.last.replace(self.previous)
        except OSError as error:
            raise InputOutputError(f"{self.last}: cannot be renamed ({os_reason(error)}); check the folder") from error
        checkpoints.save(self.last, checkpoint)

    def load_last(self) -> Checkpoint:
        """Return the newest state that is whole.

        Raises:
            DataError: where none of them is.
            InputOutputError: where there is none.
        """
        try:
            return checkpoints.load(self.last)
        except (DataError, InputOutputError):
            if not self.previous.exists():
                raise
            return checkpoints.load(self.previous)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a row to the metrics."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise InputOutputError(
                f"{self.metrics}: cannot be written ({os_reason(error)}); free some space"
            ) from error

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the metrics; a row that a kill cut off is left out."""
        if not self.metrics.exists():
            return
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                return

    def cut_metrics(self, step: int) -> None:
        """Drop the rows after `step`: the run goes on from there and writes them again."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        checkpoints.write_atomically(self.metrics, "".join(json.dumps(row) + "\n" for row in rows).encode())


def named(name: str, root: Path = ROOT) -> Run:
    """Return the run of this name.

    Raises:
        UsageError: where the name is not that of a folder in `root`.
    """
    if not name or name in {".", ".."} or Path(name).name != name or "\0" in name:
        raise UsageError(f"--name {name!r}: give a plain name, without slashes")
    return Run(root / name)


def find(name: str | None, root: Path = ROOT) -> Path:
    """Return the checkpoint file meant by a path, a run's folder, a run's name, or nothing: the newest.

    Where no run was trained yet, the newest is the pretrained model that comes with the package.

    Raises:
        InputOutputError: where there is no such file.
    """
    if name is None:
        return _newest(root)
    for folder in (Path(name), root / name):
        if folder.is_dir() and (file := _best(Run(folder))):
            return file
    if name == PRETRAINED and (file := _pretrained()):
        return file
    return Path(name)


def _pretrained() -> Path | None:
    package = Path(__file__).parent
    for place in (package, package.parent):  # as installed, and in a clone
        file = Run(place / "checkpoints" / PRETRAINED).best
        if file.is_file():
            return file
    return None


def _best(run: Run) -> Path | None:
    return next((file for file in (run.best, run.last, run.previous) if file.is_file()), None)


def _newest(root: Path) -> Path:
    files = [file for folder in root.glob("*/") if (file := _best(Run(folder)))]
    if files:
        return max(files, key=lambda file: file.stat().st_mtime)
    if pretrained := _pretrained():
        return pretrained
    raise InputOutputError(f"{root}: no checkpoint in it; train one with `charlstm train CORPUS`, or name a file")

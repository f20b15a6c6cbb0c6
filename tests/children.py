"""Command lines in processes of their own that begin at once: forks of one that has loaded torch and computed nothing.

A process that imports torch itself takes seconds to do so; a test starts one only if that is what it is about.
"""

import itertools
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("charlstm.cli", "charlstm.training.start", "charlstm.show.training", "charlstm.cli.stop"),
        *("torch._dynamo", "torch.distributed.nn"),
    ]
)
_numbers = itertools.count()


@dataclass(frozen=True)
class Child:
    """A command line in a process of its own."""

    process: multiprocessing.process.BaseProcess
    news: Connection
    """Gets a word when the command begins, and at each save."""
    stdout: Path
    stderr: Path

    def kill(self) -> None:
        """End it as a power failure would, as far as a process can tell."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def wait(self) -> int:
        """Return its exit code when it has ended; below 0 that of the signal that ended it."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


def _run(
    arguments: Sequence[str], folder: str, environment: Mapping[str, str], files: tuple[Path, Path], news: Connection
) -> None:
    """Do what the console script does, telling of each save."""
    os.chdir(folder)
    os.environ.update(environment)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests themselves may run under nohup
    sys.stdout, sys.stderr = (file.open("w") for file in files)
    from charlstm.cli import run
    from charlstm.storage import durable

    write = durable.write

    def told(*args: Any, **options: Any) -> None:
        news.send("save")
        write(*args, **options)

    durable.write = told
    news.send("begun")
    sys.exit(run(list(arguments)))


def begin(folder: Path, arguments: Sequence[object], environment: Mapping[str, str] | None = None) -> Child:
    """Start a command line in a folder; what it writes is in files there."""
    mine, its = CONTEXT.Pipe(duplex=False)
    number = next(_numbers)
    files = folder / f"stdout-{number}.txt", folder / f"stderr-{number}.txt"
    words = [str(it) for it in arguments]
    process = CONTEXT.Process(target=_run, args=(words, str(folder), dict(environment or {}), files, its))
    process.start()
    its.close()
    return Child(process, mine, *files)


def _peak(arguments: Sequence[str], stdout: Path, answer: Connection) -> None:
    with stdout.open("w") as sys.stdout:
        from charlstm.cli import run

        code = run(list(arguments))
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    answer.send((code, kilobytes / 1000))


def peak(arguments: Sequence[object], stdout: Path) -> float:
    """Run a command line; return the MB that it held at most, with those of the libraries that it finds loaded."""
    mine, its = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_peak, args=([str(it) for it in arguments], stdout, its))
    process.start()
    its.close()
    code, megabytes = mine.recv()
    process.join()
    assert code == 0
    return float(megabytes)


def job(size: int) -> list[dict[str, str]]:
    """Return the environment of each process of a job, as torchrun would set it."""
    if size == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def together(folder: Path, size: int, arguments: Sequence[object]) -> str:
    """Run a command line in several processes at once; return what they say."""
    children = [begin(folder, arguments, environment) for environment in job(size)]
    codes = [child.wait() for child in children]
    for child in children:
        child.news.close()
    said = "".join(child.stderr.read_text() for child in children)
    assert codes == [0] * size, said
    return said

"""Want of memory is told in one line, whoever asked for it, with what makes this very command need less."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from charlstm.cli import cli, memory
from charlstm.cli.kinds import key
from charlstm.cli.tree import leaves
from tests.conftest import Command


class PanicException(BaseException):
    """As compiled Rust raises."""


WANTS = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("could not create a primitive"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ImportError("/x/y.so: cannot allocate memory in static TLS block"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
]
OTHERS = [
    ValueError("out of memory"),
    RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive"),
    ImportError("No module named 'x'"),
    OSError(errno.ENOENT, "no such file"),
    KeyError("allocate memory"),
    SystemError("error return without exception set"),
    PanicException("PyObject pointer is null"),
]


@pytest.mark.parametrize("problem", WANTS, ids=str)
def test_what_is_a_want_of_memory(problem: Exception) -> None:
    assert memory.short(problem)
    try:
        try:
            raise problem
        except type(problem):
            raise AttributeError("half loaded")  # noqa: B904
    except AttributeError as consequence:
        assert memory.short(consequence)


@pytest.mark.parametrize("problem", OTHERS, ids=str)
def test_what_is_none(problem: Exception) -> None:
    assert not memory.short(problem)


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("could not create a primitive")], ids=str)
def test_only_options_of_the_command_are_advised(
    charlstm: Command, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    Path("small.txt").write_text("text\n" * 10)
    assert charlstm("compress", "small.txt", "--model=shakespeare").code == 0
    monkeypatch.setattr("charlstm.storage.checkpoint.load", fail)
    monkeypatch.setattr("charlstm.text.corpus.load", fail)
    monkeypatch.setattr("charlstm.measure.probe.probe", fail)
    monkeypatch.setattr("charlstm.text.cache.Cache.entries", fail)
    Path("c.txt").write_text("text\n" * 1000)
    told = {
        "train": "choose a smaller --hidden-size, --batch-size or --seq-length, or --min-count 2",
        "probe": "choose a smaller --hidden-size or --lag",
        "sample": "choose a smaller --num-samples",
        "eval": "close other programs, or give a smaller text",
        "score": "close other programs, or give a smaller text",
        "reach": "close other programs, or give a smaller text",
        "inspect": "close other programs, or give a smaller text",
        "info": "close other programs, or give a smaller text",
        "cache": "close other programs, or give a smaller text",
        "export page": "close other programs, or give a smaller text",
        "compress": "close other programs, or give a smaller text",
        "decompress": "close other programs, or give a smaller text",
    }
    assert set(told) == set(leaves(cli))
    for command, remedy in told.items():
        arguments = {
            "train": ["c.txt"],
            "score": ["shakespeare", "c.txt"],
            "compress": ["c.txt"],
            "decompress": ["small.txt.clz", "--output=other.txt"],
        }.get(command, [])
        outcome = charlstm(*command.split(), *arguments)
        assert (outcome.code, outcome.err.splitlines()[-1]) == (1, f"error: out of memory; {remedy}"), command
        options = {f"--{key(each).replace('_', '-')}" for each in leaves(cli)[command].params}
        assert {word.strip(",") for word in remedy.split() if word.startswith("--")} <= options


def limited(megabytes: int, arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command line within an address space of a size."""
    shell = ["sh", "-c", f'ulimit -v {megabytes * 1000} && exec "$@"', "sh"]
    command = [*shell, sys.executable, "-m", "charlstm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing limits an address space")
@pytest.mark.parametrize(
    ("megabytes", "arguments"), [(150, ["info", "shakespeare"]), (200, ["eval"]), (300, ["probe", "--lag=10"])]
)
def test_too_little_to_load_anything(tmp_path: Path, megabytes: int, arguments: list[str]) -> None:
    # An address space of this size ends compiled code in ways of its own: aborts, segmentation faults, lines of C++.
    done = limited(megabytes, arguments, tmp_path)
    assert done.returncode == 1
    told = f"error: out of memory: this process may have {megabytes * 1.024:.0f} MB (ulimit -v); raise that limit\n"
    assert done.stderr == told


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing limits an address space")
def test_threads_that_cannot_be_started(tmp_path: Path) -> None:
    done = limited(1000, ["eval", "--threads=1024"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --threads 1024: this process cannot start more than ")
    assert done.stderr.count("\n") == 1


SAVE = """
import dataclasses, resource
from pathlib import Path
import numpy as np
from charlstm.network import weights
from charlstm.storage import checkpoint as checkpoints
from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.text.corpus import Source
from charlstm.text.tokenizer import CharTokenizer
config = RunConfig(text=TextConfig(), model=ModelConfig(hidden_size=1500), train=TrainConfig())
shapes = weights.shapes(config.model, 3)
tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
checkpoint = checkpoints.Checkpoint(config, CharTokenizer("ab"), Source(("a",), "0" * 64, 1), 1, None, tensors)
pages = int(Path("/proc/self/statm").read_text().split()[0])
for megabytes in range(20, 240, 20):
    room = pages * resource.getpagesize() + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    try:
        checkpoints.save(Path("x"), checkpoint)
        print("saved")
        break
    except MemoryError:
        print("MemoryError")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing limits an address space")
def test_a_save_without_memory_does_not_end_the_process(tmp_path: Path) -> None:
    # 37 MB of weights, of which safetensors makes copies.
    done = subprocess.run([sys.executable, "-c", SAVE], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.split()
    assert (lines[0], lines[-1], sorted(lines)) == ("MemoryError", "saved", lines)

"""Several processes under torchrun train the model that one would."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.errors import UsageError
from charlstm.network.device import Device
from charlstm.network.distributed import ALONE, Group
from charlstm.storage import checkpoint as checkpoints
from charlstm.text import corpus as corpora
from charlstm.training.state import Training
from tests.children import job, together

NGRAMS = ["--ngrams=4", "--ngram-rows=256", "--ngram-rate=0.02"]
OPTIONS = [
    *("--hidden-size=24", "--num-layers=2", "--embedding-size=8", "--batch-size=6", "--seq-length=20"),
    *("--dropout=0.3", "--recurrent-dropout=0.2", "--precision=fp32"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture
def folder(text: str, tmp_path: Path) -> Path:
    words = sorted({word.lower() for word in text.split() if word.isascii() and word.isalpha()})
    (tmp_path / "words.txt").write_text("\n".join(words[:600]) + "\n")
    (tmp_path / "text.txt").write_text(text[:6000], encoding="utf-8")
    return tmp_path


def train(folder: Path, processes: int, *arguments: str) -> str:
    return together(folder, processes, ["train", *arguments, "--threads=1"])


def torchrun(folder: Path, processes: int, *arguments: str, restarts: int = 0) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(*TORCHRUN, "--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"),
            *("-m", "charlstm", "train", *arguments),
        ],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(folder: Path, name: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "checkpoints" / name / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path, name: str) -> dict[str, np.ndarray]:
    return dict(checkpoints.load(folder / "checkpoints" / name / "last.safetensors").tensors)


def test_streams_are_dealt_out() -> None:
    for size in (1, 2, 3, 7):
        dealt = [Group(rank, size).rows(7) for rank in range(size)]
        assert [row for rows in dealt for row in range(rows.start, rows.stop)] == list(range(7))
    assert ALONE.rows(7) == slice(0, 7)


@pytest.mark.parametrize(
    ("options", "sample"),
    [({}, 0), ({"ngrams": 4, "ngram_rows": 256}, 0), ({}, 4)],
    ids=["plain", "ngrams", "sampled-softmax"],
)
def test_accumulated_parts_are_the_whole(folder: Path, options: dict[str, int], sample: int) -> None:
    corpus = corpora.load([str(folder / "words.txt")], [], TextConfig(separator=r"\n"))

    def steps(parts: int) -> list[np.ndarray]:
        model = ModelConfig(hidden_size=24, num_layers=2, dropout=0.3, recurrent_dropout=0.2, **options)
        train = TrainConfig(steps=9, batch_size=7, seq_length=20, accumulate=parts, softmax_sample=sample)
        config = RunConfig(text=TextConfig(), model=model, train=train)
        training = Training(config, corpus, Device("cpu", "fp32"))
        for _ in range(9):
            training.update(0.01)
        return [*training.tensors().values()]

    for ours, theirs in zip(steps(3), steps(1), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.01, atol=1e-5)


def test_too_few_streams_are_refused(folder: Path) -> None:
    corpus = corpora.load([str(folder / "text.txt")], [], TextConfig())
    config = RunConfig(text=TextConfig(), model=ModelConfig(), train=TrainConfig(steps=1, batch_size=4, accumulate=3))
    with pytest.raises(UsageError, match="at least 6"):
        Training(config, corpus, Device("cpu", "fp32"), Group(0, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["text.txt", "--softmax-sample=4"], ["words.txt", r"--separator=\n", *NGRAMS]],
    ids=["text", "documents-ngrams"],
)
def test_more_processes_train_the_same_model_step_by_step(folder: Path, options: list[str]) -> None:
    common = [*options, *OPTIONS, "--steps=6", "--evaluations=6"]
    train(folder, 1, *common, "--name=one")
    for processes in (2, 4):
        err = train(folder, processes, *common, f"--name=many{processes}")
        assert err.count("all steps done") == 1  # one process speaks
        one, many = rows(folder, "one"), rows(folder, f"many{processes}")
        assert len(many) == 6
        for name in ("train_loss", "val_loss", "characters"):
            assert [row[name] for row in many] == pytest.approx([row[name] for row in one], abs=1e-4)


@pytest.mark.slow
def test_several_processes_begin_with_the_same_model(folder: Path) -> None:
    (folder / "other.txt").write_text((folder / "text.txt").read_text("utf-8").replace("e", "é"), "utf-8")
    train(folder, 1, "text.txt", *OPTIONS, *NGRAMS, "--steps=60", "--evaluations=1", "--name=base")
    # So many steps that the model is taken without a trial, which would depend on the speed.
    common = ["other.txt", "--from=base", *OPTIONS[3:], "--steps=100", "--evaluations=20"]
    for name, processes in (("one", 1), ("many", 2)):
        train(folder, processes, *common, f"--name={name}")
        last = checkpoints.load(folder / "checkpoints" / name / "last.safetensors")
        assert [each.name for each in last.origin] == ["base"]
    one, many = rows(folder, "one")[:4], rows(folder, "many")[:4]
    for column in ("train_loss", "val_loss", "characters"):
        assert [row[column] for row in many] == pytest.approx([row[column] for row in one], abs=1e-4)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(folder: Path) -> None:
    for name, first, second in (("one", 1, 1), ("more", 1, 3), ("fewer", 2, 1)):
        train(folder, first, "text.txt", *OPTIONS, *NGRAMS, "--steps=10", "--evaluations=2", f"--name={name}")
        err = train(folder, second, "--resume", "--steps=20", f"--name={name}")
        assert ("processes" in err) == (first != second)
    expected = weights(folder, "one")
    for name in ("more", "fewer"):
        for key, tensor in weights(folder, name).items():
            np.testing.assert_allclose(tensor, expected[key], rtol=0.01, atol=1e-4, err_msg=key)


def workers(process: "subprocess.Popen[str]") -> list[int]:
    """Return the processes that torchrun has started."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    return [pid for pid, parent in pairs if parent == process.pid]


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise AssertionError(process.stderr.read() if process.stderr else "")


@pytest.mark.slow
def test_a_killed_worker_is_begun_again_and_the_model_is_the_undisturbed_one(folder: Path) -> None:
    common = ["text.txt", *OPTIONS, "--steps=120", "--evaluations=12"]
    train(folder, 2, *common, "--name=calm")
    process = torchrun(folder, 2, *common, "--name=struck", restarts=2)
    wait_for(folder / "checkpoints" / "struck" / "previous.safetensors", process)
    os.kill(max(workers(process)), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "from step" in err
    calm, struck = weights(folder, "calm"), weights(folder, "struck")
    assert all(np.array_equal(tensor, struck[key]) for key, tensor in calm.items())
    assert [row["val_loss"] for row in rows(folder, "struck")] == [row["val_loss"] for row in rows(folder, "calm")]


@pytest.mark.slow
def test_a_terminated_job_saves_and_goes_on(folder: Path) -> None:
    common = ["text.txt", *OPTIONS, "--steps=100000", "--evaluations=1000", "--name=long"]
    process = torchrun(folder, 2, *common)
    wait_for(folder / "checkpoints" / "long" / "last.safetensors", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert "stopped and saved" in err
    stopped = checkpoints.load(folder / "checkpoints" / "long" / "last.safetensors").step
    assert stopped > 0
    train(folder, 2, "--resume", "--name=long", f"--steps={stopped + 5}")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the names of threads are read in /proc")
def test_no_thread_of_the_group_outlives_it(folder: Path) -> None:
    # One that lets go of a tensor while Python ends aborted the process, or stopped it for ever: now and then.
    script = folder / "job.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "from charlstm.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "names = [it.read_text().strip() for it in pathlib.Path('/proc/self/task').glob('*/comm')]\n"
        "os.write(1, f'{code} {[name for name in names if \"gloo\" in name]}\\n'.encode())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, script, "train", "text.txt", *OPTIONS, "--steps=2"],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for environment in job(2)
    ]
    assert [process.communicate()[0] for process in processes] == ["0 []\n"] * 2


@contextlib.contextmanager
def nodes() -> Iterator[list[str]]:
    """Make two network namespaces that are joined by a pair of virtual devices."""
    names = [f"charlstm-{uuid.uuid4().hex[:6]}-{number}" for number in (0, 1)]
    links = [f"v{uuid.uuid4().hex[:8]}" for _ in names]
    made = []
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
            made.append(name)
        commands = [["ip", "link", "add", links[0], "type", "veth", "peer", "name", links[1]]]
        for number, (name, link) in enumerate(zip(names, links, strict=True)):
            inside = ["ip", "netns", "exec", name, "ip"]
            commands += [
                ["ip", "link", "set", link, "netns", name],
                [*inside, "addr", "add", f"10.77.0.{number + 1}/24", "dev", link],
                [*inside, "link", "set", link, "up"],
                [*inside, "link", "set", "lo", "up"],
            ]
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"network namespaces are not permitted here ({error})")
    try:
        yield [f"{name} {link}" for name, link in zip(names, links, strict=True)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.slow
def test_two_nodes_train_the_same_model(folder: Path) -> None:
    common = ["text.txt", *OPTIONS, "--steps=8", "--evaluations=8"]
    with nodes() as places:
        train(folder, 1, *common, "--name=one")
        processes = []
        for rank, place in enumerate(places):
            name, link = place.split()
            launcher = [*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"]
            processes.append(
                subprocess.Popen(
                    [
                        *("ip", "netns", "exec", name, *launcher, "--master-addr=10.77.0.1", "--master-port=29511"),
                        *("-m", "charlstm", "train", *common, "--name=nodes"),
                    ],
                    cwd=folder,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": link},
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
    for ours, theirs in zip(rows(folder, "nodes"), rows(folder, "one"), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-4)


def test_alone_nothing_is_exchanged() -> None:
    tensor = torch.ones(3)
    ALONE.add([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert ALONE.any([True, False]) == [True, False]
    assert ALONE.agree("value") == "value"
    assert ALONE.gather(tensor, 3) is tensor

import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from charlstm.errors import InputOutputError, UsageError
from charlstm.storage import durable, runs
from charlstm.storage.runs import Run


def make(folder: Path, *names: str, mtime: float = 0) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (mtime, mtime))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "checkpoints" / "old", "best.safetensors", mtime=1)
    make(tmp_path / "checkpoints" / "new", "best.safetensors", "last.safetensors", mtime=2)
    make(tmp_path / "checkpoints" / "begun", "last.safetensors", mtime=1)
    (tmp_path / "checkpoints" / "empty").mkdir()
    return Path("checkpoints")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (None, "checkpoints/new/best.safetensors"),
        ("old", "checkpoints/old/best.safetensors"),
        ("begun", "checkpoints/begun/last.safetensors"),
        ("checkpoints/old", "checkpoints/old/best.safetensors"),
        ("checkpoints/new/last.safetensors", "checkpoints/new/last.safetensors"),
    ],
)
def test_find(root: Path, name: str | None, file: str) -> None:
    assert runs.find(name, root) == Path(file)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("odl", "did you mean old? (runs: new, -x, begun, old, ' sp ace ', shakespeare, english)"),
        ("shakspere", "did you mean shakespeare? (runs: "),
        ("SHAKESPEARE", "did you mean shakespeare?"),
        ("checkpoints/bgun", "checkpoints/bgun: no such checkpoint or run; did you mean begun?"),
        ("old/best.safetensors", "check the name (runs: new, "),
        ("sp ace", "did you mean ' sp ace '?"),
        ("something else", "something else: no such checkpoint or run; check the name (runs: new, "),
    ],
)
def test_a_name_that_no_run_has(root: Path, name: str, words: str) -> None:
    make(root / "-x", "best.safetensors", mtime=1.8)
    make(root / " sp ace ", "best.safetensors", mtime=0.5)
    os.utime(root / "begun" / "last.safetensors", (1.5, 1.5))
    with pytest.raises(InputOutputError) as raised:
        runs.find(name, root)
    assert words in str(raised.value)
    assert "empty" not in str(raised.value)  # a folder that holds no run


def test_of_many_runs_the_newest_are_listed(root: Path) -> None:
    for number in range(20):
        make(root / f"r{number:02}", "best.safetensors", mtime=100 + number)
    with pytest.raises(InputOutputError, match=r"runs: r19, r18, r17, r16, r15, r14, r13, r12 and 17 more\)"):
        runs.find("nothing", root)


def test_without_a_run_the_pretrained_model_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clone = tmp_path / "clone"
    make(clone / "checkpoints" / "shakespeare", "best.safetensors", mtime=1)
    make(clone / "checkpoints" / "trained-there", "best.safetensors", mtime=2)
    monkeypatch.setattr(runs, "__file__", str(clone / "charlstm" / "storage" / "runs.py"))
    assert runs.find(None) == runs.find("shakespeare") == clone / "checkpoints" / "shakespeare" / "best.safetensors"
    with pytest.raises(InputOutputError, match="trained-there: no such checkpoint or run"):
        runs.find("trained-there")
    (clone / "checkpoints" / "shakespeare" / "best.safetensors").unlink()
    with pytest.raises(InputOutputError, match="charlstm train"):
        runs.find(None)


def test_in_a_clone_a_run_comes_before_the_pretrained_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "checkpoints"
    make(root / "english", "best.safetensors", mtime=9)
    make(root / "shakespeare", "best.safetensors", mtime=8)
    assert runs.find(None).parts[-2:] == ("shakespeare", "best.safetensors")
    make(root / "mine", "best.safetensors", mtime=1)
    assert runs.find(None).parts[-2:] == ("mine", "best.safetensors")
    (root / "english" / "metrics.jsonl").touch()  # trained here
    assert runs.find(None).parts[-2:] == ("english", "best.safetensors")


def test_a_model_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs.find(None).parts[-2:] == ("shakespeare", "best.safetensors")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0"])
def test_a_name_is_a_plain_name(name: str) -> None:
    with pytest.raises(UsageError, match="plain name"):
        runs.named(name)


def test_metrics_are_cut_to_a_step(tmp_path: Path) -> None:
    run = Run(tmp_path)
    durable.append(run.metrics, b"".join(b'{"step": %d}\n' % step for step in (10, 20, 30)) + b'{"step": 4')
    run.cut_metrics(20)
    assert [row["step"] for row in run.read_metrics()] == [10, 20]
    durable.append(run.metrics, b'{"step": 30}\n')
    assert [row["step"] for row in run.read_metrics()] == [10, 20, 30]


def test_create_takes_away_an_earlier_run_but_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "r", "best.safetensors", "previous.safetensors", "notes.txt")
    Run(tmp_path / "r").create(0)
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == ["metrics.jsonl", "notes.txt"]


def test_a_lock_keeps_others_out_and_dies_with_its_process(tmp_path: Path) -> None:
    run = Run(tmp_path / "checkpoints" / "r")
    hold = "import sys\nfrom pathlib import Path\nfrom charlstm.storage.runs import Run\n"
    hold += f"with Run(Path({str(run.folder)!r})).locked():\n    print('held', flush=True)\n    sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process"), run.locked():
            pass
        process.kill()
        process.wait()
    with run.locked():
        (run.folder / "best.safetensors").write_bytes(b"x")
    assert run.exists()


def test_a_lock_of_a_run_that_came_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    with Run(tmp_path / "checkpoints" / "r").locked():
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_while_a_run_is_locked_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    acquire = filelock.FileLock.acquire

    def interrupted(lock: filelock.FileLock, *arguments: object, **options: object) -> None:
        if not before:
            acquire(lock, *arguments, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(filelock.FileLock, "acquire", interrupted)
    with pytest.raises(KeyboardInterrupt), Run(tmp_path / "checkpoints" / "mine").locked():
        pass
    assert list(tmp_path.iterdir()) == []

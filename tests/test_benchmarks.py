"""Every benchmark, in every mode, at its smallest: that it runs, and that what it prints can be believed."""

import contextlib
import importlib
import importlib.util
import io
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from charlstm import cli

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmarks are not here"),
    pytest.mark.slow,
]

TINY = ("--rounds=1", "--shape=1x8")
Script = Callable[..., str]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    """Run a script in this process; return what it prints."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object, code: int = 0, obj: object = None, given: str = "") -> str:
        command = importlib.import_module(name).main
        done = CliRunner().invoke(
            command, [str(it) for it in arguments], obj=obj, input=given, catch_exceptions=False, prog_name=name
        )
        assert done.exit_code == code, done.output
        return done.output

    return run


def scripts() -> list[Path]:
    return sorted(file for file in BENCHMARKS.glob("*.py") if "__main__" in file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [file.stem for file in scripts()])
def test_every_script_explains_itself_and_is_run_here(name: str, script: Script) -> None:
    assert "Usage: " in script(name, "--help")
    assert f'script("{name}"' in Path(__file__).read_text(encoding="utf-8")


def test_throughput(script: Script, tmp_path: Path) -> None:
    plain = script("throughput", *TINY, "--shape=2x8", "--steps=1")
    assert plain.count("of bare loop") == 2 * plain.count("\n2 x 8") + 2 * plain.count("\n1 x 8")
    cells = script("throughput", *TINY, "--steps=1", "--cells")
    assert re.findall(r"^(\w+) +[\d,.]+ characters/s", cells, re.M)[:5] == ["rnn", "gru", "coupled", "peephole", "lstm"]
    (tmp_path / "names.txt").write_text("a name\nanother\n" * 200)
    assert "framed" in script("throughput", *TINY, "--steps=1", "--framed=names.txt")
    assert "exclude each other" in script("throughput", "--cells", "--framed=names.txt", code=2)
    assert "write it like 2x512" in script("throughput", "--shape=2y8", code=2)


def test_without_bf16_the_rest_is_measured(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlstm.network.device.has_bf16", lambda _: False)
    printed = script("throughput", *TINY, "--steps=1")
    assert "no bf16: fp32 only" in printed
    assert re.findall("embedding 64, (....)", printed) == ["fp32"]
    assert "no bf16; give fp32" in script("scaling", "model", "--precision=bf16", code=2)


def test_saving(script: Script, tmp_path: Path) -> None:
    rows = script("saving", *TINY, f"--folder={tmp_path}").splitlines()
    assert re.fullmatch(r"\| 1 x 8 \| \d+ \| [\d.]+ s \| [\d.]+ s \| [\d.]+% \|", rows[-1])
    assert not list(tmp_path.iterdir())


def test_startup(script: Script) -> None:
    assert script("startup", "--rounds=1").count(" s ") == 3


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_engine(script: Script, trained: Path) -> None:
    printed = script("engine", f"--model={trained}", "--length=40", "--rounds=1")
    assert re.findall(r"^(\w+) +[\d,.]+ (\S+)", printed, re.M) == [
        (way, unit) for unit in ("characters/s", "s") for way in ("WebAssembly", "JavaScript")
    ]


def test_compression(script: Script, text: str, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text[:2000], encoding="utf-8")
    rows = script("compression", "a.txt", "--last=600", f"--model={trained}").splitlines()
    assert [row.split(" | ")[0] for row in rows[4:8]] == ["| gzip -9", "| bz2 -9", "| xz -9e", "| zstd -22"]
    assert rows[-1].startswith("| charlstm, read again |")


def test_records(script: Script, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"This is paragraph {n} of a text that\nhas many." for n in range(200)))
    script("records", "paragraphs", "a.txt", "training", "records", "--held-out=20")
    rows = script("records", "code", "training", "records", f"--model={trained}").splitlines()
    assert rows[0].startswith("20 records of ")
    assert rows[-1].startswith("| of it beside the records: header and index |")
    script("records", "logs", "training", "records", "--lines=50", "--held-out=20")
    assert {*json.loads((tmp_path / "records").read_text().splitlines()[0])} >= {"time", "level", "event"}


def test_novel(script: Script, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ada\nbob\n")
    written = [("ada", "end"), ("eve", "end"), ("eve", "length")]
    given = "\n".join(json.dumps({"text": text, "stopped": stopped}) for text, stopped in written)
    printed = script("novel", "names.txt", "--separator", r"\n", given=given)
    assert printed == "3 texts, 2 ended by themselves, 2 different, 2 not in the corpus\n"


@pytest.mark.parametrize("options", [("--rounds=1", "--stretch=0.01"), ("--sweep=streams",)])
def test_evaluation(script: Script, trained: Path, options: tuple[str, ...]) -> None:
    printed = script("evaluation", trained, *options)
    assert "4,000 characters held out" in printed
    if "--sweep=streams" in options:
        plain, *tried = (float(loss) for loss in re.findall(r"^[a-z]+ (?:\d+: )?(\d\.\d{4})", printed, re.M))
        assert len(tried) == 2
        assert all(0.5 * plain < loss < 1.5 * plain for loss in tried)
    else:
        assert re.findall(r"^(evaluation|training|dynamic evaluation) ", printed, re.M)[-2:] == [
            "dynamic evaluation",
            "evaluation",
        ]


NANOGPT = {
    "model.py": """
import dataclasses
import torch

@dataclasses.dataclass
class GPTConfig:
    n_layer: int = 0
    n_head: int = 0
    n_embd: int = 0
    block_size: int = 0
    vocab_size: int = 0
    bias: bool = False
    dropout: float = 0.0

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids, targets=None):
        return self.weight.expand(*ids.shape, -1), None

    def generate(self, ids, length):
        return torch.cat([ids, ids.new_zeros(1, length)], 1)
""",
    "train.py": """
import array, pathlib, pickle, shutil, sys
options = dict(it.removeprefix("--").split("=") for it in sys.argv[1:] if "=" in it)
data = pathlib.Path("data/shakespeare_char")
size = pickle.loads((data / "meta.pkl").read_bytes())["vocab_size"]
for name in ("train", "val"):
    assert max(array.array("H", (data / f"{name}.bin").read_bytes())) < size
assert "torch.manual_seed(1337 + 1)"[18:22] == "1337"
pathlib.Path(options["out_dir"]).mkdir(exist_ok=True)
shutil.copy("config/ckpt.pt", options["out_dir"])
print("step 0: train loss 4.2000, val loss 4.1000")
print(f"step {options['max_iters']}: train loss 2.2000, val loss 2.1000")
""",
    "configurator.py": "",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[int], Path]:
    """Make what stands in for a checkout of nanoGPT: a model that finds everything equally likely."""

    def make(vocab_size: int) -> Path:
        folder = tmp_path / "nanogpt"
        (folder / "config").mkdir(parents=True)
        for name, code in NANOGPT.items():
            (folder / name).write_text(code)
        sizes = {"vocab_size": vocab_size, "block_size": 64}
        saved = {"model_args": sizes, "model": {"weight": torch.zeros(vocab_size)}}
        torch.save(saved, folder / "config" / "ckpt.pt")
        return folder

    return make


def test_sampling(script: Script, checkout: Callable[[int], Path]) -> None:
    printed = script("sampling", *TINY, "--length=20", "--nanogpt", checkout(65))
    differences = re.findall("largest difference of a probability over 20 characters: (.*)", printed)
    assert len(differences) == 2
    assert all(float(difference) < 1e-5 for difference in differences)
    assert printed.count("nanoGPT 4 x 128, block 64") == 1


def in_this_process(arguments: Sequence[str]) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(arguments) == 0


@pytest.mark.browser
def test_page(script: Script) -> None:
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        assert "no chromium here" in script("page", code=1)
        return
    told = script("page", "--rounds=1", "--length=100", "--seconds=0.5", "--larger=2x16")
    assert told.count("are no weights") == 2
    for what in (
        "load to first character",
        "WebAssembly",
        "JavaScript",
        "quick, #look in sight",
        "frames within 20 ms",
    ):
        assert what in told


def test_busy(script: Script, trained: Path) -> None:
    def run(folder: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> str:
        assert environment["GOMP_SPINCOUNT"] == "300000000"
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
            in_this_process(arguments)
        return printed.getvalue()

    sizes = ("--rounds=1", "--seconds=1", "--hidden-size=8", "--length=50", "--characters=1000", "--programs=0")
    rows = script("busy", *sizes, "--spin", obj=run).splitlines()[-3:]
    assert [re.split(" +", row)[::3] for row in rows] == [[name, "1.00"] for name in ("train", "eval", "sample")]
    assert all(float(row.split()[2].replace(",", "")) > 0 for row in rows)
    with importlib.import_module("busy").busy(2):
        pass


def test_learning(script: Script, checkout: Callable[[int], Path], text: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(text[:6000], encoding="utf-8", newline="")
    characters = len(set(text[:6000]))
    # The text is so short that the most epochs end long before the time.
    options = ["--hidden-size=8", "--num-layers=1", "--batch-size=8", "--seq-length=64", "--precision=fp32"]
    arguments = ("text.txt", "--seeds=1", "--time=20s", "--nanogpt", checkout(characters), "--", *options)
    printed = script("learning", *arguments, obj=in_this_process)
    table = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert [row[0] for row in table] == ["| 20 s", "| charlstm", "| nanoGPT"]
    ours, theirs = ([float(cell) for cell in row[1:4] if cell] for row in table[1:])
    assert theirs == [pytest.approx(math.log(characters), abs=1e-4)] * 2  # all equally likely, in either protocol
    assert len(ours) == 3
    assert all(1 < loss < math.log(characters) for loss in ours)


def test_finetuning(script: Script, text: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(text[:9000], encoding="utf-8", newline="")
    sizes = ("--hidden-size=8", "--num-layers=1", "--seq-length=16", "--precision=fp32", "--evaluations=1")
    in_this_process(["train", "text.txt", "--name=base", "--steps=20", *sizes])

    def short(arguments: list[str]) -> None:
        at = arguments.index("--time")
        # So many characters a step that the model is taken without a trial.
        sizes = ("--batch-size=32", "--seq-length=128", "--precision=fp32", "--evaluations=1")
        in_this_process([*arguments[:at], "--steps=3", *arguments[at + 2 :], *sizes])

    base = tmp_path / "checkpoints" / "base"
    arguments = ("text.txt", "--seeds=1", "--time=20s", f"--from={base}", "--size=5KB", "--size=20KB")
    rows = script("finetuning", *arguments, obj=short).splitlines()
    assert len(rows) == 3  # the text has no 20 KB
    assert re.fullmatch(r"\| text.txt, 5KB \| \d\.\d+ \| \d+ \| \d\.\d+ \| \d+ \| [+-]\d\.\d+ \|", rows[2])


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed (extra: plot)")
def test_pictures(script: Script, tmp_path: Path) -> None:
    script("sampling", *TINY, "--length=5", "--plot=sampling.png")
    script("scaling", "model", "--only=num_layers", "--at-most=1", "--rounds=1", "--steps=1", "--plot=model.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("sampling.png", "model.png"))


def test_without_what_draws_a_picture_is_refused(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    for arguments in (("sampling",), ("learning", __file__), ("scaling", "model")):
        assert "extra package" in script(*arguments, "--plot=a.png", code=2)


@pytest.fixture
def here(script: Script) -> Any:
    """Processes of scaling.py that are none: each command is run in this one."""
    script("scaling", "--help")
    scaling = importlib.import_module("scaling")

    class Here(scaling.Processes):  # type: ignore[name-defined,misc]
        def alone(self, *arguments: str, threads: int | None = None) -> dict[str, Any]:
            return {"megabytes": 100.0, **json.loads(script("scaling", *arguments))}

    return Here()


def test_scaling(script: Script, here: Any, tmp_path: Path) -> None:
    row = script("scaling", "corpus", 1, f"--folder={tmp_path}", "--steps=1", obj=here).splitlines()[-1]
    assert row.startswith("| 1 MB |")
    assert row.endswith("| 100 MB | +0 MB |")
    assert 999_000 < (tmp_path / "scaling-1.txt").stat().st_size <= 1_000_000
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        sizes = ("--only=batch_size", "--at-most=8", "--rounds=1", "--steps=1")
        printed = script("scaling", "model", *sizes)  # a real process
    table = printed.splitlines()[-8]
    name, parameters, _, _, peak = table.strip("| ").split(" | ")
    expected = 96 * 64 + 4 * 512 * (64 + 512 + 2) + 96 * (512 + 1)
    assert (name, parameters) == ("batch_size 8", f"{expected / 1e6:.2f} M")
    assert 50 < float(peak.removesuffix(" MB").replace(",", "")) < 2000
    assert printed.splitlines()[-1].startswith("largest error")
    prediction = script("scaling", "predict").splitlines()
    assert prediction[3].startswith("| 1 | 256 |")
    assert prediction[3].endswith("| 100% |")


def test_scaling_over_processes(script: Script, here: Any) -> None:
    rows = script("scaling", "processes", *TINY, "--steps=1", "--precision=fp32", obj=here).splitlines()
    assert re.fullmatch(r"\| 1 x 8 \| [\d,]+ \| [\d,]+ \| \d+\.\d\d \|", rows[-1])

"""What the pages say: every command in them works, the numbers of docs/memory.md, what docs/evaluation.md must name."""

import io
import json
import math
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import Command

from charlstm import cells
from charlstm.cli import cli, run

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "checkpoints/README.md",
    "data/README.md",
    "docs/evaluation.md",
    "docs/memory.md",
    "docs/scaling.md",
]
PROGRAMS = ("charlstm", "make", "pip", "python", "sha256sum", "torchrun")
PAGE = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def table(first: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with this one, without its two head lines."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_worked_step() -> None:
    x, h, c = (float(re.search(rf"\b{name} = (-?[\d.]+\d)", PAGE)[1]) for name in "xhc")
    rows = table("gate")
    assert [row[0] for row in rows] == list(cells.CELLS["lstm"].gates)
    w, u, b = (np.array([float(row[column]) for row in rows]) for column in (1, 2, 3))
    h_after, c_after = cells.lstm(w * x + b, u * h, (np.array([h]), np.array([c])))
    assert [float(row[4]) for row in rows] == pytest.approx(w * x + u * h + b, abs=5e-5)
    shown = [float(row[5].split()[1]) for row in rows]
    pre = w * x + u * h + b
    i, f, g, o = sigmoid(pre[0]), sigmoid(pre[1]), math.tanh(pre[2]), sigmoid(pre[3])
    assert shown == pytest.approx([i, f, g, o], abs=5e-5)
    assert f"c = {f:.4f} * {c} + {i:.4f} * {g:.4f} = {c_after[0]:.4f}" in PAGE
    assert re.search(rf"h = {o:.4f} \* tanh\({c_after[0]:.4f}\) += {h_after[0]:.4f}", PAGE)
    assert f"0.8022^10 = {f**10:.4f}" in PAGE
    assert f"would keep {0.99**10:.4f}" in PAGE
    assert f"f = {sigmoid(1):.4f} at rest" in PAGE
    assert f"up to {math.log(999):.4f}, f = {sigmoid(math.log(999)):.4f}" in PAGE


def test_the_powers() -> None:
    for u, *powers in table("u"):
        assert powers == [f"{float(u) ** lag:.1e}" for lag in (10, 100, 1000)]
    assert f"a gradient of norm {1.1**100:.1e}" in PAGE
    assert f"multiplied by\n{1 / 1.1**100:.1e}" in PAGE


def test_the_page_on_evaluation_explains_every_option() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    of_all_commands = {"--device", "--threads", "--cache", "--cache-limit", "--config", "--debug", "--encoding"}
    options = {option for parameter in cli.commands["eval"].params for option in parameter.opts if option[0] == "-"}
    assert [option for option in sorted(options - of_all_commands) if option not in page] == []


# A tiny network, and lengths to suit, stand in for what a reader has; everything else runs as it is printed.
TINY = {
    "CHARLSTM_TRAIN_HIDDEN_SIZE": "8",
    "CHARLSTM_TRAIN_EMBEDDING_SIZE": "8",
    "CHARLSTM_TRAIN_BATCH_SIZE": "8",
    "CHARLSTM_TRAIN_SEQ_LENGTH": "16",
    "CHARLSTM_TRAIN_EVALUATIONS": "1",
    "CHARLSTM_TRAIN_PRECISION": "fp32",
    "CHARLSTM_PROBE_HIDDEN_SIZE": "4",
    "CHARLSTM_PROBE_TIME": "0.01s",
    "CHARLSTM_SAMPLE_LENGTH": "40",
}
LENGTHS = {"--time", "--epochs", "--steps", "--length"}  # left out; instead of them
STEPS, MORE_STEPS = 3, 5  # of `charlstm train`, and with --resume
LAG = 3  # instead of those that `charlstm probe` tries for minutes
PLACES = {"CHECKPOINT": "python-docs", "CKPT": "python-docs", "TEXT": "other.txt", "NAME": "python-docs", "X": "gru"}
OTHERS = {
    "pip": "installs packages",
    "python": "measures for minutes",
    "sha256sum": "is another program, and its text is not there",
    "torchrun": "starts several processes; tests/test_distributed.py does",
}


def commands(page: str) -> Iterator[str]:
    """Yield the commands of a page: of its fenced and its indented blocks, and those in backticks.

    If a block has prompts, its other lines are output.
    """
    lines: list[str] = []
    fenced = False
    for line in page.splitlines():
        if line.startswith("```"):
            if fenced:
                prompted = [each[2:] for each in lines if each.startswith("$ ")]
                yield from filter(is_command, prompted or lines)
            fenced, lines = not fenced, []
        elif fenced:
            lines.append(line)
        elif line.startswith("    "):
            yield from filter(is_command, [line.strip().removeprefix("$ ")])
        else:
            yield from filter(is_command, re.findall("`([^`]+)`", line))


def is_command(line: str) -> bool:
    return line.partition(" ")[0] in PROGRAMS and " " in line


def shortened(arguments: list[str]) -> list[str]:
    """Return what is run in place of what would take minutes."""
    if arguments[0] == "probe" and "--lag" not in arguments:
        return [*arguments, "--lag", str(LAG)]
    kept = [each for before, each in pairwise(["", *arguments]) if not {before, each} & LENGTHS]
    if arguments[0] != "train" or "--help" in arguments:
        return kept
    if "--resume" in arguments:  # what was cut short goes on to its own end
        return kept if kept == arguments else [*kept, "--steps", str(MORE_STEPS)]
    return [*kept, "--steps", str(STEPS)]


def words(line: str) -> tuple[list[str], str | None]:
    """Return the words of a command up to a pipe, and the file it reads its input from."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found = [PLACES.get(word, word) for word in lexer]
    found = found[: found.index("|")] if "|" in found else found
    if "<" in found:
        return found[: found.index("<")], found[found.index("<") + 1]
    return found, None


def test_commands_are_found_and_read() -> None:
    page = "See `charlstm a` and `charlstm`.\n\n    charlstm b < c | sort  # d\n\n"
    page += "```\n$ charlstm e '\\n'\ncharlstm: output\n```\n```\nmake f\ncharlstm CKPT\nh = o * c\n```\n"
    found = list(commands(page))
    assert found == ["charlstm a", "charlstm b < c | sort  # d", r"charlstm e '\n'", "make f", "charlstm CKPT"]
    assert [words(line) for line in found[1:3]] == [(["charlstm", "b"], "c"), (["charlstm", "e", r"\n"], None)]
    assert words(found[4])[0] == ["charlstm", "python-docs"]
    assert shortened(["train", "a", "--time", "2h", "--force"]) == ["train", "a", "--force", "--steps", "3"]


@pytest.fixture(scope="module")
def demo(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `make demo` was called, on the beginning of its text; and texts of a reader's own."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("data", "poems"):
        (folder / name).mkdir()
    (folder / "data" / "python-docs.txt").write_text(text[:60_000], encoding="utf-8", newline="")
    own = text[60_000:70_000]
    for name in ("corpus.txt", "letters.txt", "poems/one.txt", "poems/two.txt"):
        (folder / name).write_text(own, encoding="utf-8", newline="")
    (folder / "other.txt").write_text(text[70_000:75_200], encoding="utf-8", newline="")
    (folder / "names.txt").write_text("\n".join(sorted(set(own.split()))), encoding="utf-8")
    (folder / "texts.txt").write_text(own[:500], encoding="utf-8")
    lines = "".join(json.dumps({"text": own[at : at + 200]}) + "\n" for at in range(0, 6000, 200))
    (folder / "dump.jsonl.zst").write_bytes(zstd.compress(lines.encode()))
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ndemo:")[1].split("\n\n")[0]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for name, value in TINY.items():
            patched.setenv(name, value)
        for line in recipe.splitlines()[1:]:
            program, *arguments = line.strip().split()
            assert program == "$(BIN)/charlstm"
            assert run(shortened(arguments)) == 0
    assert (folder / "checkpoints" / "python-docs" / "best.safetensors").exists()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_command_works_after_make_demo(
    charlstm: Command, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(demo, tmp_path, dirs_exist_ok=True)
    for variable, value in TINY.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("CHARLSTM_CACHE", str(tmp_path / "cache"))  # which may be cleared
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands((ROOT / name).read_text(encoding="utf-8")):
        (program, *arguments), source = words(line)
        if program == "make":
            assert f"\n{arguments[0]}:" in makefile, line
        if program == "python":
            assert (ROOT / arguments[0]).exists(), line
        if program != "charlstm":
            assert program == "make" or program in OTHERS, line
            continue
        if any(word.startswith("[") for word in arguments):
            continue  # a synopsis
        typed = b"The value\n" if source is None else Path(source).read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        if arguments[:2] == ["train", "--resume"]:  # with no new length: for a run that was cut short
            (tmp_path / "checkpoints" / "python-docs" / "last.safetensors").unlink()
        outcome = charlstm(*shortened(arguments))
        scores_its_own = arguments[:2] == ["eval", "shakespeare"] and (arguments[2:] or ["-"])[0].startswith("--")
        if scores_its_own or "data/tinyshakespeare.txt" in arguments or line == "charlstm eval shakespeare":
            assert outcome.code == 74, line
            assert "data/tinyshakespeare.txt" in outcome.err
        else:
            assert outcome.code == 0, f"{line}: {outcome.err}"

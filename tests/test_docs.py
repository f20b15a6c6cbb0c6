"""What the pages say: every command and example works, tables of options and keys are complete, links lead somewhere.

And the numbers of docs/memory.md, and what docs/evaluation.md must name. The file is long because one run serves the
tests of all pages.
"""

import importlib.util
import io
import json
import math
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest

from charlstm.cli import cli, run
from charlstm.cli.kinds import key, refusal
from charlstm.cli.tree import leaves
from charlstm.errors import CharLSTMError, DataError, InputOutputError, UsageError
from charlstm.network import cells
from tests.conftest import Command

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOT = Path(__file__).parent.parent
DOCS = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "checkpoints/README.md", "data/README.md", *DOCS]
PROGRAMS = ("charlstm", "make", "pip", "python", "sha256sum", "torchrun")
PAGE = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())  # wherever its lines break


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


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
    h_after, c_after = cells.CELLS["lstm"].step(w * x + b, u * h, (np.array([h]), np.array([c])))
    assert [float(row[4]) for row in rows] == pytest.approx(w * x + u * h + b, abs=5e-5)
    shown = [float(row[5].split()[1]) for row in rows]
    pre = w * x + u * h + b
    i, f, g, o = sigmoid(pre[0]), sigmoid(pre[1]), math.tanh(pre[2]), sigmoid(pre[3])
    assert shown == pytest.approx([i, f, g, o], abs=5e-5)
    assert f"c = {f:.4f} * {c} + {i:.4f} * {g:.4f} = {c_after[0]:.4f}" in PAGE
    assert re.search(rf"h = {o:.4f} \* tanh\({c_after[0]:.4f}\) += {h_after[0]:.4f}", PAGE)
    assert f"0.8022^10 = {f**10:.4f}" in PROSE
    assert f"would keep {0.99**10:.4f}" in PROSE
    assert f"f = {sigmoid(1):.4f} at rest" in PROSE
    assert f"up to {math.log(999):.4f}, f = {sigmoid(math.log(999)):.4f}" in PROSE


def test_the_powers() -> None:
    for u, *powers in table("u"):
        assert powers == [f"{float(u) ** lag:.1e}" for lag in (10, 100, 1000)]
    assert f"a gradient of norm {1.1**100:.1e}" in PROSE
    assert f"multiplied by {1 / 1.1**100:.1e}" in PROSE


def test_the_page_on_evaluation_explains_every_option() -> None:
    page = read("docs/evaluation.md")
    of_all_commands = {"--device", "--threads", "--cache", "--cache-limit", "--config", "--debug", "--encoding"}
    options = {option for parameter in cli.commands["eval"].params for option in parameter.opts if option[0] == "-"}
    assert [option for option in sorted(options - of_all_commands) if option not in page] == []


@pytest.fixture
def script() -> ModuleType:
    """The program that writes the tables of options."""
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_options_is_up_to_date(script: ModuleType) -> None:
    page = read("docs/options.md")
    assert script.page(page) == page, "run `make docs`"


def test_the_page_of_options_has_every_option_with_its_help() -> None:
    sections = re.split(r"^## ", read("docs/options.md"), flags=re.MULTILINE)
    by_name = {section.partition("\n")[0]: section for section in sections}
    for name, command in leaves(cli).items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                rows = [row for row in (by_name["Every command"] + by_name[name]).splitlines() if row[0:1] == "|"]
                (row,) = [row for row in rows if f"`{max(option.opts, key=len)}`" in row.split("|")[1]]
                first_words = (option.help or "").split("\\")[0].split("  [")[0].split("<")[0]
                assert first_words in row.replace("\\*", "*")


def test_the_configuration_file_on_the_page_of_options() -> None:
    (block,) = re.findall("```toml\n(.*?)```", read("docs/options.md"), re.DOTALL)
    for command, values in tomllib.loads(block).items():
        known = {key(parameter): parameter for parameter in cli.commands[command].params}
        for name, value in values.items():
            assert refusal(known[name], value) is None


def anchors(page: str) -> set[str]:
    """Return what a link to a heading of a page ends with, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, "CHANGELOG.md", "benchmarks/README.md"])
def test_links_lead_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", read(name)):
        page = (ROOT / name).parent / target if target else ROOT / name
        assert page.exists(), target
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    assert {Path(name).name for name in DOCS} - {"README.md"} <= set(
        re.findall(r"\]\(([\w-]+\.md)\)", read("docs/README.md"))
    )


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
MISSING = ("data/tinyshakespeare.txt", "data/english.jsonl")
"""Texts that are not built in these tests."""
LENGTHS = {"--time", "--epochs", "--steps", "--length"}  # left out; instead of them
STEPS, MORE_STEPS = 3, 5  # of `charlstm train`, and with --resume
LAG = 3  # instead of those that `charlstm probe` tries for minutes
NAMES = {
    "charlstm train",
    "charlstm score",
    "charlstm compress",
    "charlstm decompress",
    "charlstm export page",
}  # mentions of a command, which needs a text or writes a file
SEARCH = "charlstm inspect shakespeare docs/passage.txt --units"
"""Takes a minute; tests/test_docs_inside.py runs it, and looks at what it finds."""
PLACES = {
    "COMMAND": "info",
    "CHECKPOINT": "python-docs",
    "CKPT": "python-docs",
    "TEXT": "other.txt",
    "NAME": "python-docs",
    "X": "coupled",
}
OTHERS = {
    "pip": "installs packages",
    "python": "measures for minutes",
    "sha256sum": "is another program, and its text is not there",
    "torchrun": "starts several processes; tests/network/test_distributed.py does",
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
    if arguments[0] == "inspect":  # without its length it would go on to the end of the text
        return ["500" if each == "5000" else each for each in arguments]
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
    for name in ("data", "poems", "docs"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "docs" / "passage.txt", folder / "docs")
    (folder / "data" / "python-docs.txt").write_text(text[:52_000], encoding="utf-8", newline="")
    own = text[60_000:112_000]  # so long that the reach can be measured
    for name in ("corpus.txt", "poems/one.txt", "poems/two.txt"):
        (folder / name).write_text(own, encoding="utf-8", newline="")
    (folder / "letters.txt").write_text(own[:6_000], encoding="utf-8", newline="")
    (folder / "other.txt").write_text(text[120_000:121_200], encoding="utf-8", newline="")
    (folder / "names.txt").write_text("\n".join(sorted(set(own.split()))), encoding="utf-8")
    (folder / "texts.txt").write_text(own[:200], encoding="utf-8")
    pieces = [(("austen", "dickens")[at % 400 > 0], own[at : at + 200]) for at in range(0, 12_000, 200)]
    records = "".join(json.dumps({"author": author, "text": piece}) + "\n" for author, piece in pieces)
    (folder / "novels.jsonl").write_text(records, encoding="utf-8")
    for author, novel in (("austen", "emma"), ("dickens", "hard-times")):
        (folder / "novels" / author).mkdir(parents=True)
        paragraphs = "\n\n".join(piece for by, piece in pieces if by == author)
        (folder / "novels" / author / f"{novel}.txt").write_text(paragraphs, encoding="utf-8")
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


@pytest.fixture
def after_demo(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own in which `make demo` was called."""
    shutil.copytree(demo, tmp_path, dirs_exist_ok=True)
    for variable, value in TINY.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("CHARLSTM_CACHE", str(tmp_path / "cache"))  # which may be cleared
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_command_works_after_make_demo(
    charlstm: Command, after_demo: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    makefile = read("Makefile")
    for line in commands(read(name)):
        (program, *arguments), source = words(line)
        if program == "make":
            assert f"\n{arguments[0]}:" in makefile, line
        if program == "python":
            assert (ROOT / arguments[0]).exists(), line
        if program != "charlstm":
            assert program == "make" or program in OTHERS, line
            continue
        if line in NAMES or any(word.startswith("[") for word in arguments):
            continue  # a synopsis
        if line == SEARCH:
            continue
        typed = b"The value\n" if source is None else Path(source).read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        if arguments[:2] == ["train", "--resume"]:  # with no new length: for a run that was cut short
            (after_demo / "checkpoints" / "python-docs" / "last.safetensors").unlink()
        with monkeypatch.context() as patched:
            if "english" in arguments:  # which has its own shape
                for setting in ("HIDDEN_SIZE", "EMBEDDING_SIZE"):
                    patched.delenv(f"CHARLSTM_TRAIN_{setting}", raising=False)
            outcome = charlstm(*shortened(arguments))
        of_shakespeare = arguments[:2] in (["eval", "shakespeare"], ["reach", "shakespeare"])
        scores_its_own = of_shakespeare and (arguments[2:] or ["--"])[0].startswith("--")
        missing = next((name for name in MISSING if name in arguments), MISSING[0] if scores_its_own else None)
        if missing:
            assert outcome.code in {74, 2} if "cuda" in arguments else outcome.code == 74, line
            assert missing in outcome.err or "cuda" in outcome.err
        else:
            assert outcome.code == 0, f"{line}: {outcome.err}"
            if (
                arguments[0] == "train" and "english" in arguments
            ):  # not for those that take the latest run: it is large
                shutil.rmtree(after_demo / "checkpoints" / Path(arguments[1]).stem)


def documented(section: str) -> set[str]:
    """Return the keys that docs/json.md has for a command or a file."""
    table = re.split(rf"^## {re.escape(section)}$", read("docs/json.md"), flags=re.MULTILINE)[1].partition("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)}


def keys(value: Any, known: set[str], path: str = "") -> set[str]:
    """Return the keys of JSON, those in objects and lists too, unless the place of these is `known` as a whole."""
    if path in known:
        return {path}
    if isinstance(value, dict):
        return {name for key in value for name in keys(value[key], known, f"{path}.{key}".lstrip("."))}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {name for item in value for name in keys(item, known, f"{path}[]")}
    return {path}


def test_keys_of_json() -> None:
    row = {"a": 1, "b": {"c": [1, 2], "d": [{"e": 1}, {"e": 2}]}, "f": {"g": 1}, "h": None}
    assert keys(row, {"f"}) == {"a", "b.c", "b.d[].e", "f", "h"}


JSON = {
    "sample": ["python-docs", "--highlight-copies"],
    "eval": ["python-docs", "--dynamic", "--baselines", "--by-character", "--novelty"],
    "score": ["shakespeare", "texts.txt"],
    "reach": ["python-docs"],
    "probe": ["--cell", "lstm"],
    "inspect": ["python-docs"],
    "inspect --overview": ["python-docs"],
    "inspect --ledger": ["python-docs"],
    "inspect --back": ["python-docs"],
    "inspect --cost": ["python-docs"],
    "compress": ["texts.txt", "--model=shakespeare", "--output=json.clz"],
    "info": ["shakespeare"],
    "cache": [],
}
"""Commands with all options that add to their JSON."""


@pytest.mark.slow
@pytest.mark.parametrize("name", JSON)
def test_the_page_on_json_has_every_key(charlstm: Command, after_demo: Path, name: str) -> None:
    if name == "cache":
        assert charlstm("eval", "python-docs").code == 0  # prepares a text
    outcome = charlstm(*shortened([*name.split(), *JSON[name]]), "--json")
    assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert rows
    known = documented(f"charlstm {name}")
    for row in rows:
        assert row.pop("schema") == 1
        assert keys(row, known) == known


@pytest.mark.slow
def test_the_page_on_json_has_every_key_of_the_metrics(after_demo: Path) -> None:
    lines = (after_demo / "checkpoints" / "python-docs" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        assert set(json.loads(line)) - {"schema"} == documented("metrics.jsonl")


def first_column(page: str, head: str) -> list[str]:
    """Return what stands in backticks in the first column of the tables that begin with this head."""
    tables = [rest.split("\n\n")[0] for rest in page.split(f"| {head} |")[1:]]
    return [
        name for table in tables for row in table.splitlines()[2:] for name in re.findall("`(.*?)`", row.split("|")[1])
    ]


@pytest.mark.slow
def test_the_page_on_files_describes_a_checkpoint(charlstm: Command, after_demo: Path) -> None:
    page = read("docs/files.md")
    assert charlstm("train", "corpus.txt", "--cell=peephole", "--steps=1", "--num-layers=2").code == 0
    header = {}
    for file in ("best", "last"):
        data = Path("checkpoints", "corpus", f"{file}.safetensors").read_bytes()
        header |= json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    entries = header.pop("__metadata__")
    assert sorted(entries) == sorted(first_column(page, "entry"))
    names = {re.sub(r"\.\d\.", ".N.", re.sub(r"^(optimizer\.exp_\w+)\..*", r"\1.*", name)) for name in header}
    assert sorted(names) == sorted(first_column(page, "tensor"))
    written = {path.name for path in Path("checkpoints", "corpus").iterdir()}
    assert written - {".lock"} <= set(first_column(page, "file"))


def test_the_pages_have_every_exit_code() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", read("docs/options.md"), re.MULTILINE)}
    kinds = [CharLSTMError, UsageError, DataError, InputOutputError]
    assert codes == {0} | {kind.exit_code for kind in kinds}
    rows = re.findall(r"^\| `charlstm\.(\w+)` \|.*\| (\d+) \|$", read("docs/python.md"), re.MULTILINE)
    assert rows == [(kind.__name__, str(kind.exit_code)) for kind in kinds]


def test_every_command_with_json_has_a_section() -> None:
    for name, command in leaves(cli).items():
        if any("--json" in parameter.opts for parameter in command.params):
            assert documented(f"charlstm {name}")
            assert name in JSON


SHORT = 'steps=3, hidden_size=8, embedding_size=8, batch_size=8, seq_length=16, evaluations=1, precision="fp32"'
"""What stands in for `time="2m"` in the examples."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_every_python_example_works(
    after_demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """In order, all in one namespace; what a comment behind a `print` says is what it prints."""
    monkeypatch.chdir(after_demo)
    blocks = re.findall("```python\n(.*?)```", read(name), re.DOTALL)
    assert blocks
    namespace: dict[str, Any] = {}
    for block in blocks:
        capsys.readouterr()
        exec(compile(block.replace('time="2m"', SHORT), name, "exec"), namespace)
        lines = capsys.readouterr().out.splitlines()
        expected = re.findall(r"^\s*print\(.*\)  # (.+)$", block, re.MULTILINE)
        assert [line for line in lines if line in expected] == expected

"""The house rules: who may import whom, what starts without torch, and that everything explains itself."""

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import charlstm
from charlstm.cli import cli
from charlstm.cli.tree import leaves

PACKAGE = Path(charlstm.__file__).parent

RANKS = {
    "errors": 0,
    "shell": 0,
    "config": 1,
    "text": 2,
    "network": 2,
    "storage": 3,
    "sample": 4,
    "compress": 4,
    "measure": 5,
    "export": 5,
    "training": 6,
    "api": 7,
    "inspect": 7,
    "show": 8,
    "cli": 9,
    "__main__": 10,
}
"""Of each folder and file of the package: it imports only what has a lower rank; the package itself is its face."""
WITH_TORCH = {
    *("network.device", "network.layers", "network.lookup", "network.model"),
    *(
        "measure.read",
        "measure.scoring",
        "measure.evaluation",
        "measure.dynamic",
        "measure.lines",
        "measure.abreast",
        "measure.voices",
        "measure.by_label",
        "measure.by_character",
        "measure.reach",
    ),
    *("measure.structure", "measure.probe"),
    *(
        "training.adagrad",
        "training.adamw",
        "training.softmax",
        "training.loop",
        "training.origin",
        "training.state",
        "training.clock",
        "training.calibration",
        "training.order",
        "training.start",
        "training.again",
    ),
}
"""What imports torch as it is loaded; everything else waits until it computes with it."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


@functools.cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """Return every module that a file imports, and whether it does so as it is loaded itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        node
        for scope in ast.walk(tree)
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(scope, ast.If) and ast.unparse(scope.test) == "TYPE_CHECKING")
        for node in ast.walk(scope)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node not in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            for alias in node.names:
                inside = f"{node.module}.{alias.name}".removeprefix("charlstm").lstrip(".")
                whole = f"{node.module}.{alias.name}" if inside in FILES else node.module
                found.append((whole, node not in inner))
    return found


def place(name: str) -> str:
    """Return the folder or file of the package that a module belongs to."""
    return name.split(".", maxsplit=1)[0]


def within(name: str) -> list[tuple[str, bool]]:
    """Return the modules of the package that one of them imports, and whether it does so as it is loaded itself."""
    return [
        (imported.removeprefix("charlstm").lstrip("."), loaded)
        for imported, loaded in imports(FILES[name])
        if imported.split(".")[0] == "charlstm"
    ]


def test_every_place_has_a_rank() -> None:
    assert {place(name) for name in FILES} - {""} <= set(RANKS)


@pytest.mark.parametrize("name", sorted(set(FILES) - {""}))
def test_imports_go_down(name: str) -> None:
    for imported, _ in within(name):
        if imported and place(imported) != place(name):
            assert RANKS[place(imported)] < RANKS[place(name)], f"{name} imports {imported}"


def test_no_circles() -> None:
    # The package itself hands on what is loaded later.
    below = {name: {imported for imported, _ in within(name)} - {name, ""} for name in set(FILES) - {""}}
    while free := {name for name, imported in below.items() if not imported & set(below)}:
        below = {name: imported for name, imported in below.items() if name not in free}
    assert not below


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_folder_says_what_it_is(name: str) -> None:
    """In at most six lines."""
    if FILES[name].name == "__init__.py" and name not in {"", "cli"}:
        (docstring,) = ast.parse(FILES[name].read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr)
        assert len(ast.unparse(docstring).splitlines()) <= 6


@functools.cache
def loads_torch(name: str) -> bool:
    """Return whether a module loads torch as it is loaded itself, or what it then imports does."""
    for imported, loaded in imports(FILES[name]):
        inside = imported.removeprefix("charlstm").lstrip(".")
        if loaded and (
            imported.split(".")[0] == "torch" or (inside in FILES and inside != name and loads_torch(inside))
        ):
            return True
    return False


def test_what_loads_torch() -> None:
    assert {name for name in FILES if loads_torch(name)} == WITH_TORCH


def modules_after(code: str) -> set[str]:
    """Return the modules that are loaded after running `code` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import contextlib, io, json, sys
from charlstm.cli import run
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert run([*command, "--help"]) == 0
    assert "Usage: " in said.getvalue()
    loaded = sys.modules.keys() & {"torch", "numpy", "rich", "tqdm", "safetensors"}
    assert not loaded, f"{command} --help has loaded {loaded}"
"""


def test_help_does_not_import_torch() -> None:
    """One process shows the help of every command: what none of them may load is looked for after each."""
    commands = [(), *((name,) for name in sorted(cli.commands)), *(tuple(name.split()) for name in sorted(leaves(cli)))]
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_sampling_does_not_import_torch(trained: Path) -> None:
    loaded = modules_after(f"from charlstm.cli import run\nassert run(['sample', {str(trained)!r}, '--length=5']) == 0")
    assert "torch" not in loaded
    assert "numpy" in loaded


def test_info_does_not_import_torch(trained: Path) -> None:
    assert "torch" not in modules_after(f"from charlstm.cli import run\nassert run(['info', {str(trained)!r}]) == 0")


@pytest.mark.parametrize("name", sorted(leaves(cli)))
def test_every_command_and_option_has_help(name: str) -> None:
    command = leaves(cli)[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"
        else:
            assert (parameter.metavar or parameter.name or "").upper().rstrip(".") in command.help.upper() or (
                name == "train"
            )


def test_readme_names_every_command() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    for name in leaves(cli):
        assert f"charlstm {name}" in readme

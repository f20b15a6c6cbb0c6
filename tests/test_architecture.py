"""The house rules: who may import whom, what starts without torch, and that everything explains itself."""

import ast
import subprocess
import sys
from pathlib import Path

import click
import pytest

import charlstm
from charlstm.cli import cli

PACKAGE = Path(charlstm.__file__).parent

RANKS = {
    "__main__": 9,
    "cli": 8.3,
    "cli.train": 8.2,
    "cli.sample": 8.2,
    "cli.eval": 8.2,
    "cli.info": 8.2,
    "cli.probe": 8.2,
    "cli.cache": 8.2,
    "cli.texts": 8.1,
    "cli.options": 8.1,
    "cli.origins": 8.05,
    "cli.kinds": 8,
    "cli.interrupts": 8,
    "cli.memory": 8,
    "console": 7,
    "plan": 6.5,
    "clock": 6.2,
    "train": 6,
    "analysis.reach": 6.1,
    "analysis.structure": 6.1,
    "analysis.baselines": 6.1,
    "analysis.failures": 6,
    "analysis.novelty": 6,
    "analysis.ngram": 6,
    "analysis.probe": 6,
    "analysis": 6,
    "dynamic": 5.1,
    "lines": 5.1,
    "evaluate": 5,
    "recipe": 4.5,
    "schedule": 2,
    "runs": 4.5,
    "batches": 4,
    "checkpoint": 4,
    "sample": 4,
    "corpus": 3,
    "model": 3,
    "layers": 2.5,
    "files": 2.5,
    "repeats": 2.5,
    "cache": 2,
    "stepper": 3,
    "blas": 2,
    "tokenizer": 2,
    "cells": 2,
    "device": 2,
    "distributed": 2,
    "config": 1,
    "durable": 1,
    "threads": 1.5,
    "errors": 0,
    "shell": 0,
    "": -1,  # the package itself: its version
}
WITHOUT_TORCH = {
    "cells",
    "tokenizer",
    "checkpoint",
    "sample",
    "stepper",
    "runs",
    "shell",
    "blas",
    "corpus",
    "files",
    "repeats",
    "cache",
    "batches",
    "config",
    "durable",
    "errors",
    "recipe",
    "schedule",
    "threads",
    "analysis.ngram",
    "analysis.baselines",
    "analysis.novelty",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


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


def test_every_file_has_a_rank() -> None:
    assert set(FILES) == set(RANKS)


@pytest.mark.parametrize("name", sorted(set(RANKS) - {""}))
def test_imports_go_down(name: str) -> None:
    for imported, _ in imports(FILES[name]):
        if imported.split(".")[0] == "charlstm":
            target = imported.removeprefix("charlstm").lstrip(".")
            assert RANKS[target] < RANKS[name], f"{name} imports {target}"


@pytest.mark.parametrize("name", sorted(WITHOUT_TORCH))
def test_no_torch_at_module_level(name: str) -> None:
    assert not [module for module, loaded in imports(FILES[name]) if loaded and module.split(".")[0] == "torch"]


def modules_after(code: str) -> set[str]:
    """Return the modules that are loaded after running `code` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", [(), *((name,) for name in sorted(cli.commands))])
def test_help_does_not_import_torch(command: tuple[str, ...]) -> None:
    loaded = modules_after(f"from charlstm.cli import run\nassert run({[*command, '--help']!r}) == 0")
    assert not loaded & {"torch", "numpy", "rich", "tqdm", "safetensors"}


def test_sampling_does_not_import_torch(trained: Path) -> None:
    loaded = modules_after(f"from charlstm.cli import run\nassert run(['sample', {str(trained)!r}, '--length=5']) == 0")
    assert "torch" not in loaded
    assert "numpy" in loaded


def test_info_does_not_import_torch(trained: Path) -> None:
    assert "torch" not in modules_after(f"from charlstm.cli import run\nassert run(['info', {str(trained)!r}]) == 0")


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_and_option_has_help(name: str) -> None:
    command = cli.commands[name]
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
    for name in cli.commands:
        assert f"charlstm {name}" in readme

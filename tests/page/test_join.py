"""What the joined page may do, and which modules can be joined."""

import base64
import hashlib
import html.parser
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from charlstm.show.page import join

HOSTILE = "</script><script>alert(1)</script><!--\0\ud800\u2028\u202e&lt;\"'{{weights}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a small page."""
    (tmp_path / "page.html").write_text((join.FOLDER / "page.html").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "page.css").write_text("main { color: red; }\n", encoding="utf-8")
    (tmp_path / "more.css").write_text("p { margin: 0; }\n", encoding="utf-8")
    (tmp_path / "open.js").write_text("console.log(1);\n", encoding="utf-8")
    (tmp_path / "kernel.wasm").write_bytes(b"\0asm")
    (tmp_path / "one.js").write_text("export const one = 1;\n", encoding="utf-8")
    (tmp_path / "two.js").write_text(
        'import { one } from "./one.js";\n\nexport async function two() {\n  return one + 1;\n}\n', encoding="utf-8"
    )
    (tmp_path / "app.js").write_text(
        'import {\n  two,\n} from "./two.js";\nimport { one } from "./one.js";\nconsole.log(one, two, "é");\n',
        encoding="utf-8",
    )
    return tmp_path


class Reader(html.parser.HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), ""))
        self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def one(self, tag: str, **wanted: str) -> tuple[dict[str, str | None], str]:
        ((attributes, text),) = [
            (found, text) for name, found, text in self.elements if name == tag and wanted.items() <= found.items()
        ]
        return attributes, text


def test_the_parts_lie_where_they_belong(folder: Path) -> None:
    manifest: dict[str, Any] = {"vocabulary": ["a", "</script>"], "name": HOSTILE}
    passage = join.Passage(HOSTILE, {"rows": [{"label": "<b>"}]})
    page = join.joined("a model", manifest, "AAEC", passage, folder).decode("utf-8")
    found = Reader(page)
    assert json.loads(found.one("script", id="manifest")[1]) == manifest
    assert json.loads(found.one("script", id="passage")[1]) == {"text": HOSTILE, "findings": passage.findings}
    assert base64.b64decode(found.one("script", id="kernel")[1]) == b"\0asm"
    assert found.one("script", id="weights")[1] == "AAEC"
    assert found.one("title")[1] == "a model · charlstm"
    assert sum(tag == "script" for tag, _, _ in found.elements) == 6
    script = zlib.decompress(base64.b64decode(found.one("script", id="script")[1])).decode("utf-8")
    assert script == join.script_of(folder)
    policy = found.one("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        for text in (found.one("script", type="module")[1], script, found.one("style")[1])
    ]
    assert re.findall("'sha256-([^']*)'", str(policy)) == hashes
    assert str(policy).startswith("default-src 'none'; ")
    assert "unsafe-inline" not in str(policy)
    assert re.findall(r"https?:|data:|\*|self", str(policy)) == []
    assert json.loads(Reader(join.joined("a", {}, "", None, folder).decode()).one("script", id="passage")[1]) is None


def test_a_hostile_name_is_a_title(folder: Path) -> None:
    page = join.joined(HOSTILE, {}, "", None, folder).decode("utf-8")
    (title,) = re.findall("<title>(.*)</title>", page)
    assert "<" not in title
    assert not re.search("[\0\u2028\u202e]", page)
    assert len(re.findall("<script", page)) == 6


def test_modules_become_one(folder: Path) -> None:
    _, script = join.script_of(folder).split("\n", 1)
    assert script == ('const one = 1;\nasync function two() {\n  return one + 1;\n}\nconsole.log(one, two, "é");\n')
    _, style = join.style_of(folder).split("\n", 1)
    assert style == "main { color: red; }\np { margin: 0; }\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("one.js", 'import { two } from "./two.js";\nexport const one = 1;\n', "imports itself"),
        ("one.js", "export const first = 1;\n", "one.js does not export one"),
        ("one.js", "const one = 1;\n", "one.js does not export one"),
        ("one.js", "export const one = 1;\nfunction two() {}\n", "two is a name in one.js too"),
        ("one.js", "export const one = 1;\nconst [first, two] = [1, 2];\n", "two is a name in one.js too"),
        ("one.js", "export default 1;\n", "cannot be joined: export default 1;"),
        ("one.js", "export const one = 1;\nexport { one };\n", "cannot be joined: export { one };"),
        ("app.js", 'import { one as uno } from "./one.js";\n', "'one as uno' cannot be imported"),
        ("app.js", 'import * as one from "./one.js";\nimport { two } from "./two.js";\n', "cannot be joined: import"),
        ("app.js", 'import { three } from "./three.js";\n', "three.js: not there; app.js imports it"),
        ("two.js", "// </SCRIPT>\nexport function two() {}\n", "'</SCRIPT' cannot stand in a page"),
        ("page.css", "/* <!-- */", "'<!--' cannot stand in a page"),
        ("page.html", "{{title}}", "there must be one for each"),
        ("page.html", "{{title}} {{tilte}}", "there must be one for each"),
    ],
)
def test_what_cannot_be_joined(folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)):
        join.joined("a", {}, "", None, folder)


def test_weights_are_base64(folder: Path) -> None:
    with pytest.raises(ValueError, match="base64"):
        join.joined("a", {}, "</script>", None, folder)


def test_every_module_is_in_the_page() -> None:
    assert set(join.modules()) == {path.name for path in join.FOLDER.glob("*.js")} - {"open.js"}

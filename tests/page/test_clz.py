"""The page reads what `charlstm compress` writes, and refuses what it cannot read in one line."""

import base64
import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlstm.cli import run
from charlstm.compress import archive, container, models
from charlstm.compress.coder import Encoder
from charlstm.compress.container import Block, Container
from charlstm.compress.passage import text_of
from charlstm.compress.predict import Coding
from charlstm.export import payload
from charlstm.storage import loaded as opening
from tests.conftest import SMALL
from tests.page.conftest import Node

READ = """
import { openClz } from "./clz.js";
import { openModel } from "./model.js";
import { readFileSync } from "node:fs";

const [{ manifest, weights, files }] = JSON.parse(readFileSync(given[0], "utf8"));
const model = await openModel(manifest, weights, { engine: "js" });
const found = files.map((file) => {
  const reading = openClz(model, new Uint8Array(Buffer.from(file, "base64")), "a.clz");
  let last = 0;
  try {
    for (let step = reading.next(); ; step = reading.next()) {
      if (step.done) return { text: step.value };
      if (!(step.value >= last && step.value <= 1)) return { error: "the share goes back" };
      last = step.value;
    }
  } catch (problem) {
    return { error: problem.message };
  }
});
console.log(JSON.stringify(found));
"""
STRANGE = "A text, é 漢字 \U0001f600 with what it has never seen: 漢字, 漢字, é é.\n" * 2
Reader = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def others(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with frames and with bytes, in one folder."""
    root = tmp_path_factory.mktemp("others")
    (root / "lines.txt").write_text(text[:6_000], encoding="utf-8", newline="")
    for name, options in {
        "byte": ["--cell=gru", "--tokenizer=byte", "--num-layers=2"],
        "documents": ["--separator=\\n", "--ngrams=3"],
    }.items():
        arguments = [str(root / "lines.txt"), "--checkpoints", str(root), "--name", name, "--steps=3", *SMALL]
        assert run(["train", *arguments, *options]) == 0
    return root


@pytest.fixture
def read(run_node: Node, tmp_path: Path) -> Reader:
    """Read files with a model as the page does: each becomes a text, or an error."""

    def readings(folder: Path, *files: bytes) -> list[dict[str, Any]]:
        import json

        manifest, weights = payload.of(opening.load(str(folder)))
        encoded = [base64.b64encode(file).decode("ascii") for file in files]
        given = tmp_path / "given.json"
        given.write_text(json.dumps([{"manifest": manifest, "weights": weights, "files": encoded}]), encoding="utf-8")
        found: list[dict[str, Any]] = run_node(READ, str(given))
        return found

    return readings


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trained", "byte", "documents"])
def test_texts_come_back(read: Reader, trained: Path, others: Path, text: str, name: str) -> None:
    folder = trained if name == "trained" else others / name
    coding = models.opened(str(folder))
    texts = [text[50_000:50_700], STRANGE, "short", "", "\ufeffwith a mark\n\n\n"]
    files = []
    for each in texts:
        data = each.encode()
        files += [coded(data, coding, learning=learning) for learning in (False, True)]
        files += [archive.compress_records(data, coding).data]
    assert {container.parsed(file, "a").kind for file in files} == {0, 1, 2}
    found = read(folder, *files)
    assert found == [{"text": each} for each in texts for _ in range(3)]


def coded(data: bytes, coding: Coding, *, learning: bool) -> bytes:
    """Return a container of one block that the model has coded, even if zstd would make it shorter."""
    whole = archive.compress(data, coding, learning=learning)
    writer = whole.container.writer
    if not data or writer is None:
        return whole.data
    encoder = Encoder()
    assert archive.begun(coding, learning=learning).encode(text_of(data), encoder, lambda _: None)
    block = Block(container.MODEL, encoder.finish())
    return container.written(dataclasses.replace(whole.container, blocks=(block,)))


def test_a_stored_block_and_bytes_that_are_no_text(read: Reader, trained: Path, text: str) -> None:
    coding = models.opened(str(trained))
    noise = random.Random(1).randbytes(300)
    piece = text[50_000:50_600].encode()
    coded = archive.compress(piece, coding).container
    assert [block.method for block in coded.blocks] == [container.MODEL]
    stored = dataclasses.replace(coded, blocks=(Block(container.STORED, piece),))
    stray = archive.compress(b"The value \xff\xfe of it" * 9, coding).data
    found = read(trained, container.written(stored), archive.compress(noise, coding).data, stray)
    assert found[0] == {"text": piece.decode()}
    assert found[1] == {"text": noise.decode("utf-8", "replace")}
    assert found[2] == {"text": "The value \ufffd\ufffd of it" * 9}


def _hostile(coding: Coding, text: str) -> dict[str, tuple[bytes, str]]:
    piece = text[50_000:50_600].encode()
    whole = archive.compress(piece, coding)
    records = archive.compress_records(piece, coding)
    writer = whole.container.writer
    assert writer is not None

    def changed(base: Container = whole.container, **values: Any) -> bytes:
        return container.written(dataclasses.replace(base, **values))

    (block,) = whole.container.blocks
    other = dataclasses.replace(writer, model_id=b"12345678", name="</script>")
    many = Block(container.MODEL, b"\0" * 4 + records.container.blocks[0].data)
    return {
        "another file": (b"PK\3\4", "not a file that charlstm compress wrote"),
        "nothing": (b"", "not a file that charlstm compress wrote"),
        "a newer format": (b"CLZ\2" + whole.data[4:], "written in format 2"),
        "cut": (whole.data[:-5], "damaged at byte"),
        "head alone": (whole.data[:9], "it ends too early"),
        "a flipped bit": (whole.data[:-5] + bytes([whole.data[-5] ^ 1]) + whole.data[-4:], "CRC-32"),
        "another model": (changed(writer=other), 'it needs the model "</script>" (id 3132333435363738)'),
        "another machine": (changed(writer=dataclasses.replace(writer, known_answer=b"??")), "other probabilities"),
        "zstd": (changed(blocks=(Block(container.ZSTD, b"(\xb5/\xfd"),)), "zstd has packed a part of it"),
        "a bomb": (changed(records.container, size=1 << 31), "is too long for a page"),
        "a small bomb": (changed(size=1 << 20), "a block is too short for its text"),
        "too short": (changed(blocks=(Block(container.MODEL, block.data[:40]),)), "the text ends too early"),
        "other bytes": (
            changed(blocks=(Block(container.MODEL, random.Random(2).randbytes(len(block.data))),)),
            "",
        ),
        "another text": (changed(digest=b"12345678"), "is not what was compressed (SHA-256)"),
        "no index": (changed(records.container, records=len(records.container.blocks[0].data)), ""),
        "records beyond the file": (
            changed(records.container, records=1 << 30),
            "the length of the records is above",
        ),
        "records of nothing": (changed(records.container, blocks=(many,)), ""),
    }


def test_what_is_refused(read: Reader, trained: Path, text: str) -> None:
    cases = _hostile(models.opened(str(trained)), text)
    found = read(trained, *(data for data, _ in cases.values()))
    for (name, (_, words)), outcome in zip(cases.items(), found, strict=True):
        assert "error" in outcome, (name, outcome)
        assert outcome["error"].startswith("a.clz: "), name
        assert words in outcome["error"], (name, outcome)
        assert "\n" not in outcome["error"], name


@pytest.mark.slow
def test_damage_anywhere_is_noticed(read: Reader, trained: Path, text: str) -> None:
    """Whatever byte is changed, it comes to one line, or to the text as it was."""
    whole = archive.compress(text[50_000:50_300].encode(), models.opened(str(trained))).data
    source = random.Random(3)
    files = []
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[source.randrange(len(whole))] ^= 1 << source.randrange(8)
        files.append(bytes(damaged))
    for outcome in read(trained, *files):
        assert outcome.get("text", text[50_000:50_300]) == text[50_000:50_300]
        assert "\n" not in outcome.get("error", "")

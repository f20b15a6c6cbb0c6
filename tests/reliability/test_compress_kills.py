"""SIGKILL while a text is compressed: the input is untouched, and under the final name there is all or nothing."""

import random
from collections import Counter
from pathlib import Path

import pytest

from charlstm.compress import archive, container, models
from tests.reliability.conftest import Start, times

pytestmark = pytest.mark.slow


def test_nothing_is_half_written(
    start: Start, trained: Path, corpus: Path, tmp_path: Path, survived: Counter[str]
) -> None:
    text = corpus.read_bytes()[:400]
    source = random.Random(0)
    given, packed = tmp_path / "given.txt", tmp_path / "given.txt.clz"
    given.write_bytes(text)
    coding = models.opened(str(trained))
    for number in range(times(4, 200)):
        child = start("compress", given.name, f"--model={trained}", "--force")
        if number % 2:
            child.news.poll(20)  # until it is saved, or the end
        child.process.join(source.random() * (0.004 if number % 2 else 0.5))
        child.kill()
        assert given.read_bytes() == text
        if packed.exists():
            held = container.parsed(packed.read_bytes(), packed.name)
            assert archive.decompress(held, lambda _: coding, packed.name) == text
        survived["SIGKILLs of `compress`, nothing half written"] += 1

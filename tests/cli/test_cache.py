"""What `charlstm cache` shows and removes, and that training keeps the cache within its limit."""

import json
from pathlib import Path

import pytest

from charlstm.text.cache import Cache
from tests.conftest import Command


def store(cache: Cache, key: str, size: int) -> None:
    """Store an entry of somewhat more than `size` bytes."""
    with cache.unfinished() as folder:
        (folder / "0.ids").write_bytes(bytes(size))
        cache.store(folder, key, {"paths": [f"{key}.txt"], "characters": size, "sha256": key, "tokenizer": "char"})


def test_the_command_shows_the_total_and_the_limit(charlstm: Command, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    for key in ("a", "b"):
        store(Cache(root), key, size=1_000_000)
    listed = charlstm("cache", "--cache", root)
    assert "2.0 MB of at most 10,000.0 MB" in listed.out
    assert "of at most 500.0 MB" in charlstm("cache", "--cache", root, "--cache-limit=500MB").out
    Path("c.toml").write_text('[cache]\ncache-limit = "2.5GB"\n')
    assert "of at most 2,500.0 MB" in charlstm("cache", "--cache", root, "--config=c.toml").out
    refused = charlstm("cache", "--cache", root, "--cache-limit=much")
    assert refused.code == 2
    assert "500MB" in refused.err


@pytest.mark.slow
def test_training_keeps_the_limit(
    charlstm: Command, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cache"
    monkeypatch.setenv("CHARLSTM_CACHE", str(root))
    monkeypatch.setenv("CHARLSTM_CACHE_LIMIT", "20kB")
    small = ["--steps=1", "--hidden-size=8", "--batch-size=4"]
    for number in range(4):
        Path(f"{number}.txt").write_text(text[number * 8000 : (number + 1) * 8000])
        assert charlstm("train", f"{number}.txt", *small).code == 0
    rows = [json.loads(line) for line in charlstm("cache", "--json").out.splitlines()]
    assert sum(row["bytes"] for row in rows) <= 20_000
    assert ["3.txt"] in [row["paths"] for row in rows]
    assert charlstm("train", "0.txt", "--resume", "--steps=2").code == 0  # it is prepared again


def test_the_cache_command(charlstm: Command, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHARLSTM_CACHE", str(tmp_path / "cache"))
    assert "no corpus" in charlstm("cache").err
    Path("a.txt").write_text(text[:3000])
    assert charlstm("train", "a.txt", "--steps=1", "--hidden-size=8", "--batch-size=4").code == 0
    listed = charlstm("cache")
    assert "a.txt, 3,000 characters" in listed.out
    (row,) = [json.loads(line) for line in charlstm("cache", "--json").out.splitlines()]
    assert row["characters"] == 3000
    assert charlstm("cache", "--clear").code == 0
    assert "no corpus" in charlstm("cache").err

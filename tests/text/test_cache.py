"""Prepared corpora take no more room than they may; what is in use stays."""

import os
from pathlib import Path

from charlstm.text.cache import Cache


def store(cache: Cache, key: str, size: int = 1000, used: float | None = None) -> None:
    """Store an entry of somewhat more than `size` bytes, last used at some time."""
    with cache.unfinished() as folder:
        (folder / "0.ids").write_bytes(bytes(size))
        cache.store(folder, key, {"paths": [f"{key}.txt"], "characters": size, "sha256": key, "tokenizer": "char"})
    if used is not None:
        os.utime(cache.root / key / "corpus.json", (used, used))


def keys(root: Path) -> list[str]:
    return [entry.folder.name for entry in Cache(root).entries()]


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    for number, key in enumerate("cab"):
        store(Cache(tmp_path), key, used=1000.0 + number)
    assert Cache(tmp_path).find("c") is not None  # using it makes it the most recent
    store(Cache(tmp_path, limit=2900), "d")
    assert keys(tmp_path) == ["c", "d"]
    store(Cache(tmp_path, limit=10_000), "e")
    assert keys(tmp_path) == ["c", "d", "e"]


def test_what_this_process_uses_stays(tmp_path: Path) -> None:
    for number, key in enumerate("abc"):
        store(Cache(tmp_path), key, used=1000.0 + number)
    cache = Cache(tmp_path, limit=0)
    assert cache.find("a") is not None
    store(cache, "d", size=100_000)  # larger than the limit by itself
    assert keys(tmp_path) == ["a", "d"]
    store(cache, "e")
    assert keys(tmp_path) == ["a", "d", "e"]


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    with Cache(tmp_path).unfinished() as folder:
        (folder / "gathered").write_bytes(bytes(5000))
        (folder / "corpus.json").write_text('{"files": {}}')  # about to be stored, in another process
        os.utime(folder / "corpus.json", (1000, 1000))
        store(Cache(tmp_path, limit=0), "a")
        assert (folder / "gathered").exists()
        assert keys(tmp_path) == ["a"]


def test_an_entry_without_a_file_is_prepared_again(tmp_path: Path) -> None:
    store(Cache(tmp_path), "a")
    (tmp_path / "a" / "0.ids").unlink()
    assert Cache(tmp_path).find("a") is None
    assert not keys(tmp_path)

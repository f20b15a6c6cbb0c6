"""Paths to files: links, copies, and what is not read at all."""

import gzip
import os
from pathlib import Path

import pytest

from charlstm.text import listing as listings
from charlstm.text.listing import LeftOut, Repeat, Skipped


def chosen(*paths: Path) -> list[str]:
    return [Path(listed.file.path).name for listed in listings.find([str(path) for path in paths]).chosen(once=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, and many ways that lead to them."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "b.txt").write_text("second")
    (folder / "sub" / "link.txt").symlink_to(folder / "a.txt")
    (folder / "sub" / "relative.txt").symlink_to("../b.txt")
    (folder / "sub" / "link to link.txt").symlink_to("link.txt")
    os.link(folder / "a.txt", folder / "hard.txt")
    (folder / "copy.txt").write_text("second")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    for name in ("empty", "empty too"):
        (folder / name).touch()
    return folder


def test_each_content_is_read_once(folder: Path) -> None:
    listing = listings.find([str(folder)])
    assert chosen(folder) == ["a.txt", "b.txt", "empty", "empty too"]
    assert [(Path(it.path).name, Path(it.original).name, it.kind) for it in listing.repeats] == [
        ("copy.txt", "b.txt", "content"),
        ("hard.txt", "a.txt", "link"),
        ("link to link.txt", "a.txt", "link"),
        ("link.txt", "a.txt", "link"),
        ("relative.txt", "b.txt", "link"),
    ]
    assert [Path(it.path).name for it in listing.skipped] == ["loop", "dangling", "itself"]
    assert len(listing.chosen(once=False)) == 9


def test_what_is_named_twice_is_read_once(folder: Path, tmp_path: Path) -> None:
    assert chosen(folder / "a.txt", folder / "a.txt") == ["a.txt"]
    (repeat,) = listings.find([str(folder / "a.txt"), str(folder / "sub" / ".." / "a.txt")]).repeats
    assert repeat.kind == "named"
    assert chosen(folder, folder / "sub") == chosen(folder)


def test_a_link_to_a_folder_outside_is_told_and_not_followed(tmp_path: Path) -> None:
    for name in ("outside", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "folder" / "file.txt").symlink_to(tmp_path / "outside" / "outside.txt")
    assert chosen(tmp_path / "folder") == ["file.txt", "folder.txt"]  # a link to a file counts as the file
    (skipped,) = listings.find([str(tmp_path / "folder")]).skipped
    assert "link to a folder" in skipped.reason
    assert chosen(tmp_path / "folder" / "link") == ["outside.txt"]  # named by the user


def test_the_same_text_compressed_is_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"text"))
    assert chosen(tmp_path) == ["a.txt", "b.txt.gz"]


def test_what_was_left_out_is_told_with_an_example() -> None:
    repeats = (Repeat("b", "a", "content"), Repeat("c", "a", "content"), Repeat("a", "a", "named"))
    skipped = tuple(Skipped(f"{number}.png", "no text") for number in range(5))
    assert LeftOut(skipped, repeats).notes() == [
        "skipped 0.png: no text",
        "skipped 1.png: no text",
        "skipped 2.png: no text",
        "skipped 2 more files",
        "1 file named more than once: not read again (a)",
        "2 files with the same content as others: not read again (such as b, the same as a)",
    ]
    assert LeftOut(repeats=repeats[:1], once=False).notes() == [
        "1 file with the same content as another: read again each time (b, the same as a)"
    ]
    assert not LeftOut().notes()


def test_several_files_are_known_by_their_hashes() -> None:
    """Three hashes of nothing, worked with sha256sum."""
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert listings.combined([nothing]) == nothing
    assert listings.combined([]) == nothing
    assert listings.combined(["ab", "c"]) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

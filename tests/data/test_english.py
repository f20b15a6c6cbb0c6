"""The English corpus, from small packages made by hand."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from tests.data.formats import strings, write_dictd, write_r_database, write_sword

OSIS = (
    '<div sID="g0" type="x-p"/>About Genesis.<div eID="g0" type="x-p"/>'
    '<milestone n="Genesis" type="x-usfm-h"/><chapter n="1" osisID="Gen.1" sID="Gen.1"/>'
    '<div sID="g1" type="x-p"/><w lemma="strong:H0430">In</w> <w>the</w> <w>beginning</w>, <w>God</w>'
    '<note placement="foot">1:1 Hebrew: “אֱלֹהִ֑ים”.</note><w>created</w> it<note>all</note>. ',
    "Then he rested. ",
    '<div eID="g1" type="x-p"/><div sID="g2" type="x-p"/>He&apos;s said, “<q who="x">Behold —</q>” <div eID="g2" '
    'type="x-p"/><lg sID="g3"/><l level="1" sID="l"/>a line, <l eID="l" level="1"/> <l level="2" sID="m"/>and another.'
    '<l eID="m" level="2"/> <lb type="x-p"/> <l level="1" sID="n"/>After a gap.<l eID="n"/><lg eID="g3"/>'
    '<chapter eID="Gen.1"/><chapter osisID="DanGr.1" n="1" sID="DanGr.1"/>left out<chapter eID="DanGr.1"/>',
)
GENESIS = """Genesis 1

In the beginning, God created it. Then he rested.

He's said, "Behold--"

a line,
and another.

After a gap.
"""


def package(folder: Path) -> Path:
    """Write every package, small, into a folder; return it."""
    chapters = [f"CHAPTER {n}\n\n\nA “wrapped”\nline  _{n}_.\n\n  Set in.\n" + f"More, {n}. " * 40 for n in ("I", "II")]
    lines = "\n".join(["EMMA", "", "VOLUME I", "", *chapters, "VOLUME II", "", "FINIS"]).split("\n")
    write_r_database(folder / "janeaustenr/data/Rdata", emma=strings(*lines), persuasion=strings(*lines))
    psalm = "<title>Psalm 1 OVERVIEW</title>no<title>EXPOSITION</title><div/>He sang:<div/>short<div/>" + "long " * 60
    write_sword(folder / "tdavid/ot", [["", psalm], ["<title>NOTES</title>no"]], newer=True)
    for part in ("ot", "nt"):
        verses = [part, *OSIS, '<chapter n="2" osisID="Gen.2"/>' + f"{part} verse. " * 50 + '<chapter eID="Gen.2"/>']
        write_sword(folder / "engWEB2015eb" / part, [verses], newer=False)
    write_dictd(folder / "dictd/devil", "HEARSE, n.  See {DEATH}.\n" + " " * 60 + "G.J.\n" + "x\n" * 99, "h\tA\tEe\n")
    write_dictd(folder / "dictd/jargon", "bit\n //, n.\n\n    A ‘unit’; see {\n    byte}.\n" + "y\n" * 99, "b\tA\tDz\n")
    return folder


def test_text_is_made_plain(english: ModuleType) -> None:
    text = "‘It’s _so_’ — she said…  “yes”\u00a0— snake_case_name, café\u00ad ﬁne, naïve œuvre, £5 אב  \n\n\n\nend\n\n"
    assert (
        english.plain(text) == "'It's so'--she said... \"yes\"--snake_case_name, cafe fine, naive oeuvre, L5\n\nend\n"
    )
    assert english.plain("a _long\nphrase_ of\n    set-in  text") == "a long\nphrase of\n    set-in text\n"


def test_a_chapter_of_the_bible(english: ModuleType, tmp_path: Path) -> None:
    first, second, *_ = english.bible(package(tmp_path))
    assert first == GENESIS
    assert second.startswith("Genesis 2\n\not verse. ot verse.")


def test_chapters_of_novels_wrapped_and_not(english: ModuleType, tmp_path: Path) -> None:
    emma, last, persuasion, _ = english.austen(package(tmp_path))
    assert emma.startswith('CHAPTER I\n\nA "wrapped"\nline I.\n\n  Set in.\nMore, I.')
    assert persuasion.startswith('CHAPTER I\n\nA "wrapped" line I.\n\n  Set in.\nMore, I.')
    assert last.startswith("CHAPTER II\n") and last.endswith("More, II.\n")


def test_expositions_alone_are_taken(english: ModuleType, tmp_path: Path) -> None:
    (text,) = english.spurgeon(package(tmp_path))
    assert text == "He sang:\nshort\n\n" + "long " * 59 + "long\n"


def test_entries_of_the_dictionaries(english: ModuleType, tmp_path: Path) -> None:
    package(tmp_path)
    (bierce,), (jargon,) = english.bierce(tmp_path), english.jargon(tmp_path)
    assert bierce.startswith("HEARSE, n. See DEATH.\n                G.J.\nx\n")
    assert jargon.startswith("bit, n.\n\nA 'unit'; see byte.\ny\n")
    assert english.defined("pi\n /pi:/, n.\n\n    ┌──┐\n    │ a│\n    3.14\n") == "pi /pi:/, n.\n\n3.14\n"


def test_entries_are_gathered(english: ModuleType) -> None:
    entries = ["a" * 999 + "\n", "b" * 999 + "\n", "c" * 2000 + "\n", "d\n"]
    assert list(english.gathered(entries)) == [entries[0] + "\n" + entries[1], entries[2], "d\n"]


def test_a_cap_takes_documents_evenly(english: ModuleType) -> None:
    documents = [f"{n:03}" + "." * 97 for n in range(100)]
    taken = english.spread(documents, 2500)
    assert len(taken) == 25
    places = [documents.index(text) for text in taken]
    assert {after - before for before, after in pairwise(places)} == {4}
    assert english.spread(documents, 10_000) == documents


def test_whole_documents_are_held_out_whatever_their_order(english: ModuleType) -> None:
    documents = [f"{n}" * 50 for n in range(100, 300)]
    kept, held = english.split(documents)
    assert sorted(kept + held) == documents and len(held) == 10
    assert set(english.split(documents[::-1])[1]) == set(held)


def test_the_corpus_is_the_same_each_time(
    make: ModuleType, english: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = package(tmp_path / "packages")
    written = []
    for again in ("one", "two"):
        (tmp_path / again).mkdir()
        monkeypatch.setattr(make, "HERE", tmp_path / again)
        monkeypatch.setattr(sys, "argv", ["make.py", "english", str(folder)])
        make.main()
        written.append([(tmp_path / again / name).read_bytes() for name in ("english.jsonl", "english-val.jsonl")])
    assert written[0] == written[1]
    documents = [[json.loads(line) for line in file.splitlines()] for file in written[0]]
    assert {each["source"] for file in documents for each in file} == set(english.SOURCES)
    texts = [[each["text"] for each in file] for file in documents]
    assert not set(texts[0]) & set(texts[1])
    for text in texts[0] + texts[1]:
        assert len(text) >= english.SHORTEST and text.isascii() and text.endswith("\n")


def test_what_is_missing_is_told_in_one_line(
    english: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = tmp_path / "a", tmp_path / "b"
    with pytest.raises(SystemExit, match=r"has no janeaustenr/data/Rdata\.rdx: it takes the packages r-cran"):
        english.main(tmp_path, *targets)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^apt-get: not found"):
        english.main(None, *targets)


def test_the_two_corpora_need_no_packages(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make.py", "french"])
    with pytest.raises(SystemExit, match="usage"):
        make.main()
    assert make.write_docs(tmp_path / "docs.txt") == (tmp_path / "docs.txt").read_text(encoding="utf-8")

"""An English corpus from Debian packages: documents of plain ASCII text, and 5 % of them held out.

`python data/make.py english` downloads the packages with apt; with a folder after it, it takes them from there,
unpacked or as .deb files. What is in it and under which licences stands in README.md.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from html import unescape
from itertools import pairwise
from pathlib import Path

from readers import dictd_entries, r_database, sword_entries

PACKAGES = ("r-cran-janeaustenr", "sword-comm-tdavid", "sword-text-web", "dict-devil", "dict-jargon")
HELD_OUT = 0.05
SHORTEST = 200
"""Documents with fewer characters are left out."""
GATHERED = 1500
"""Entries of a dictionary are put together until a document has this many characters."""
ONE_LINE_A_PARAGRAPH = {"northangerabbey", "persuasion", "prideprejudice"}
"""The novels whose lines are joined; the others stay wrapped, so that a model meets both kinds of plain text."""
RETOLD = {"EsthGr", "DanGr"}
"""Books of the Bible that repeat most of another one."""
NAMES = {"Hos": "Hosea", "Ps": "Psalm"}
"""Books whose name the module lacks, or has in the plural."""
TYPED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛´′", "'"),
        **dict.fromkeys("“”„″", '"'),
        **dict.fromkeys("‐‑‒–−·", "-"),
        **dict.fromkeys("\u00ad\u200b\ufeff", ""),
        "•": "*",
        "…": "...",
        "×": "x",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
        "ß": "ss",
        "ø": "o",
        "Ø": "O",
        "£": "L",
        "\t": " ",
    }
)


def plain(text: str) -> str:
    """Return a text as one types it: ASCII, straight quotes, -- for a dash, one space between words, no _emphasis_."""
    text = re.sub(r"(?<=\S) {2,}(?=\S)", " ", typed(re.sub(r"[ \xa0]*—[ \xa0]*", "--", text)))
    return tidy(re.sub(r"(?<![A-Za-z0-9_])_([^_\n]+(?:\n[^_\n]+)?)_(?![A-Za-z0-9_])", r"\1", text))


def typed(text: str) -> str:
    """Return a text in ASCII; what has no near character there is dropped."""
    text = unicodedata.normalize("NFKD", text.translate(TYPED)).encode("ascii", "ignore").decode()
    return re.sub(r"[^\n -~]", "", text)


def tidy(text: str) -> str:
    """Return a text with no spaces at the ends of its lines, one empty line at most, and one newline at its end."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" +$", "", text, flags=re.MULTILINE)).strip("\n") + "\n"


def austen(folder: Path) -> Iterator[str]:
    """Yield the chapters of the six novels."""
    for name, lines in sorted(r_database(the(folder, "janeaustenr/data/Rdata.rdx")).items()):
        _, *chapters = re.split(r"^(?=chapter [ivxlc\d]+\.?$)", "\n".join(lines), flags=re.MULTILINE | re.IGNORECASE)
        for chapter in chapters:
            text = re.sub(
                r"(?:\n\s*(?:VOLUME [IVX]+|FINIS|THE END|\[End vol[^]]*\]))+\s*\Z", "", chapter, flags=re.IGNORECASE
            )
            yield unwrapped(near(plain(text))) if name in ONE_LINE_A_PARAGRAPH else near(plain(text))


def unwrapped(text: str) -> str:
    """Return a text with each paragraph on one line; lines that are set in, as verse is, stay lines."""
    return re.sub(r"^(\S.*)\n(?=\S)", r"\1 ", text, flags=re.MULTILINE)


def spurgeon(folder: Path) -> Iterator[str]:
    """Yield what Spurgeon himself writes on each psalm, title and exposition; not those whom he quotes at length."""
    entries = "".join(sword_entries(the(folder, "tdavid/ot.czs")))
    for title, section in re.findall(r"<title[^>]*>(.*?)</title>(.*?)(?=<title|\Z)", entries, re.DOTALL):
        if title.strip().startswith(("EXPOSITION", "TITLE")):
            text = re.sub(r"<(?:div|l|lg)\b[^>]*>|</?(?:item|list)\b[^>]*>", "\n", re.sub(r"\s+", " ", section))
            yield apart(plain(stripped(text)))


def apart(text: str) -> str:
    """Return a text of a paragraph a line with empty lines between them, but not between the short lines of a verse."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    ends = ["\n" if max(len(one), len(other)) < 70 else "\n\n" for one, other in pairwise(lines)]
    return "".join(line + end for line, end in zip(lines, [*ends, "\n"], strict=True))


def bible(folder: Path) -> Iterator[str]:
    """Yield the chapters of the World English Bible: prose with a line for a paragraph, verse with its lines."""
    chapters = r'<milestone n="([^"]*)" type="x-usfm-h"/>|<chapter n="(\d+)" osisID="(\w+)\.[^>]*>(.*?)<chapter eID'
    for testament in ("ot", "nt"):
        entries = "".join(sword_entries(the(folder, f"engWEB2015eb/{testament}.bzs")))
        entries = re.sub(r"<note\b.*?</note>", " ", entries, flags=re.DOTALL)
        book = ""
        for name, number, label, chapter in re.findall(chapters, entries, re.DOTALL):
            book = name or book
            if number and label not in RETOLD:
                yield plain(f"{NAMES.get(label, book)} {number}\n\n{verses(chapter)}")


def verses(chapter: str) -> str:
    """Return the text of a chapter, which is in OSIS."""
    text = re.sub(r"\s+", " ", chapter)
    text = re.sub(r'<div\b[^>]*type="x-p"/>|</?(?:lg|lb|title|list|speaker)\b[^>]*>', "\n\n", text)
    text = stripped(re.sub(r"<l\b[^>]*\bsID[^>]*>|</?item\b[^>]*>", "\n", text))
    text = re.sub(r" *\n[\n ]*", lambda found: "\n\n" if found[0].count("\n") > 1 else "\n", text)
    return re.sub(r" +(?=[,.;:?!”’])", "", re.sub(r" {2,}", " ", text)).strip()


def stripped(text: str) -> str:
    """Return a text without its tags, with what its entities stand for."""
    return unescape(re.sub(r"<[^>]*>", "", text))


def near(text: str) -> str:
    """Return a text whose signatures at the right margin, and what else is set in far, begin after 16 spaces."""
    return re.sub(r"^ {17,}", " " * 16, text, flags=re.MULTILINE)


def bierce(folder: Path) -> Iterator[str]:
    """Yield The Devil's Dictionary, a few entries a document."""
    entries = dictd_entries(the(folder, "dictd/devil.index"))
    return gathered(near(plain(unlinked(entry))) for entry in entries)


def jargon(folder: Path) -> Iterator[str]:
    """Yield the Jargon File, a few entries a document, without box drawings and lines of digits."""
    return gathered(map(defined, dictd_entries(the(folder, "dictd/jargon.index"))))


def defined(entry: str) -> str:
    """Return an entry of the Jargon File: "word /pronunciation/, n." on a line, then the text, not set in."""
    word, _, rest = entry.partition("\n")
    how, _, text = rest.partition("\n")
    lines = [line.removeprefix("    ") for line in text.split("\n") if not re.search(r"[─-╿]|\d{40}", line)]
    head = f"{word} {how.strip()}".replace(" //", "").strip()
    return plain(unlinked("\n".join([head, "", *lines])))


def unlinked(entry: str) -> str:
    """Return an entry of a dictionary without the braces about the words that another entry explains."""
    return re.sub(r"\{\s*([^{};<>=]{1,60}?)\s*\}", r"\1", entry)


def gathered(entries: Iterable[str]) -> Iterator[str]:
    """Yield entries, put together with an empty line between them until they are long enough for a document."""
    document = ""
    for entry in entries:
        document += ("\n" if document else "") + entry
        if len(document) >= GATHERED:
            yield document
            document = ""
    yield document


def python(folder: Path) -> Iterator[str]:
    """Yield the topics of Python's language reference, without those that repeat a fifth of their lines from others."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    for text in sorted(topics.values(), key=lambda text: (-len(text), text)):
        lines = {line for line in text.splitlines() if len(line) > 30}
        if len(lines & seen) <= len(lines) / 5:
            seen |= lines
            yield tidy(re.sub(r"(?<=[.?!:]) {2,}(?=\S)", " ", typed(text)))


def the(folder: Path, name: str) -> Path:
    """Return the file of a package without its suffix."""
    found = sorted(folder.rglob(name))
    if not found:
        raise FileNotFoundError(f"{folder} has no {name}: it takes the packages {', '.join(PACKAGES)}")
    return found[0].with_suffix("")


SOURCES: dict[str, tuple[Callable[[Path], Iterator[str]], int]] = {
    "austen": (austen, 5_000_000),
    "spurgeon": (spurgeon, 4_000_000),
    "bible": (bible, 3_000_000),
    "bierce": (bierce, 1_000_000),
    "jargon": (jargon, 2_000_000),
    "python": (python, 1_000_000),
}
"""What yields the documents of each source, and how many characters of it are taken at most."""


def spread(documents: list[str], most: int) -> list[str]:
    """Return documents of about `most` characters in all, evenly from the first to the last; all if they are fewer."""
    share = min(1.0, most / max(1, sum(map(len, documents))))
    taken, due = [], 0.0
    for document in documents:
        due += share * len(document)
        if due >= len(document) / 2:
            taken.append(document)
            due -= len(document)
    return taken


def split(documents: list[str]) -> tuple[list[str], list[str]]:
    """Return the documents to train on and those held out: whole ones, in the order of their SHA-256, up to 5 %."""
    wanted = HELD_OUT * sum(map(len, documents))
    held: set[str] = set()
    for document in sorted(documents, key=lambda text: hashlib.sha256(text.encode()).digest()):
        if sum(map(len, held)) >= wanted:
            break
        held.add(document)
    return [text for text in documents if text not in held], [text for text in documents if text in held]


def write(folder: Path, target: Path, held_out: Path) -> dict[str, tuple[int, int]]:
    """Write the corpus from unpacked packages; return the number of documents and of characters of each source."""
    sizes = {}
    with (
        target.open("w", encoding="ascii", newline="") as kept,
        held_out.open("w", encoding="ascii", newline="") as held,
    ):
        for source, (read, most) in SOURCES.items():
            documents = [text for text in dict.fromkeys(read(folder)) if len(text) >= SHORTEST]
            documents = spread(documents, most)
            for file, texts in zip((kept, held), split(documents), strict=True):
                file.writelines(json.dumps({"source": source, "text": text}) + "\n" for text in texts)
            sizes[source] = len(documents), sum(map(len, documents))
    return sizes


def unpacked(folder: Path | None, into: Path) -> Path:
    """Return a folder with unpacked packages: the one given, or `into` after unpacking the .deb files there."""
    if folder is None:
        call("apt-get", "download", *PACKAGES, inside=into)
    archives = sorted((folder or into).glob("*.deb"))
    for archive in archives:
        call("dpkg-deb", "-x", str(archive.resolve()), str(into))
    return into if archives or folder is None else folder


def call(program: str, *arguments: str, inside: Path | None = None) -> None:
    """Run a program of Debian's; exit with one line if it is not there or fails."""
    if not shutil.which(program):
        raise SystemExit(f"{program}: not found; `make.py english FOLDER` takes packages that were unpacked elsewhere")
    ran = subprocess.run([program, *arguments], cwd=inside, stdout=subprocess.DEVNULL, check=False)
    if ran.returncode:
        raise SystemExit(f"{program} failed with exit code {ran.returncode}")


def main(folder: Path | None, target: Path, held_out: Path) -> dict[str, tuple[int, int]]:
    """Write the corpus from the packages in a folder, or from downloaded ones."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            return write(unpacked(folder, Path(temporary)), target, held_out)
        except FileNotFoundError as error:
            raise SystemExit(str(error)) from None

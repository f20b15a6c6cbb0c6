"""Writes two real corpora that every Python carries: python-docs.txt and python-source/. Nothing is downloaded.

`python data/make.py english [FOLDER]` writes a third one, english.jsonl, from Debian packages: see english.py.
"""

import shutil
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def write_docs(target: Path) -> str:
    """Write the language reference; return its text."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"
    target.write_text(text, encoding="utf-8", newline="")
    return text


def write_source(target: Path) -> tuple[int, int]:
    """Copy the standard library's modules; return how many there are and their size in bytes."""
    library = Path(sysconfig.get_path("stdlib"))
    shutil.rmtree(target, ignore_errors=True)
    count = size = 0
    for file in sorted(library.rglob("*.py")):
        parts = file.relative_to(library).parts
        if NOT_LIBRARY.intersection(parts) or not file.stat().st_size:
            continue
        try:
            data = file.read_text(encoding="utf-8").encode()
        except UnicodeDecodeError:  # a few modules show that other encodings work
            continue
        copy = target.joinpath(*parts)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
        count, size = count + 1, size + len(data)
    return count, size


def write_english(folder: Path | None) -> None:
    """Write the English corpus and its held-out documents, from the packages in a folder or from downloaded ones."""
    from english import main

    for source, (count, size) in main(folder, HERE / "english.jsonl", HERE / "english-val.jsonl").items():
        print(f"{source:8} {count:5,} documents, {size:9,} characters", file=sys.stderr)


def main() -> None:
    """Write the two, or what the arguments ask for."""
    match sys.argv[1:]:
        case []:
            text = write_docs(HERE / "python-docs.txt")
            print(f"data/python-docs.txt: {len(text):,} characters", file=sys.stderr)
            count, size = write_source(HERE / "python-source")
            print(f"data/python-source/: {count:,} documents, {size / 1e6:.1f} MB", file=sys.stderr)
        case ["english"]:
            write_english(None)
        case ["english", folder]:
            write_english(Path(folder))
        case _:
            raise SystemExit("usage: make.py [english [FOLDER]]")


if __name__ == "__main__":
    main()

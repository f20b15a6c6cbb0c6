"""How many of the documents that a model writes are not in its training text.

charlstm sample names --num-samples 1000 --json | python benchmarks/novel.py names.txt --separator '\\n'
"""

import json
import sys
from pathlib import Path

import click

from charlstm.config import TextConfig


@click.command()
@click.argument("corpus", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--separator", required=True)
def main(corpus: Path, separator: str) -> None:
    """Read what `charlstm sample --json` prints, and count."""
    between = TextConfig(separator=separator).between
    known = set(corpus.read_text(encoding="utf-8").split(between))
    rows = [json.loads(line) for line in sys.stdin]
    texts = [row["text"] for row in rows]
    ended = sum(row["stopped"] == "end" for row in rows)
    new = sum(text not in known for text in texts)
    print(
        f"{len(texts):,} texts, {ended:,} ended by themselves, {len(set(texts)):,} different, {new:,} not in the corpus"
    )


if __name__ == "__main__":
    main()

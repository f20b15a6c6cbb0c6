"""How many of the documents that a model writes are not in its training text.

charlstm sample names --num-samples 1000 --json | python benchmarks/novel.py names.txt --separator '\\n'
"""

import argparse
import json
import sys
from pathlib import Path

from charlstm.config import TextConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--separator", required=True)
    options = parser.parse_args()
    known = set(options.corpus.read_text(encoding="utf-8").split(TextConfig(separator=options.separator).between))
    rows = [json.loads(line) for line in sys.stdin]
    texts = [row["text"] for row in rows]
    ended = sum(row["stopped"] == "end" for row in rows)
    new = sum(text not in known for text in texts)
    print(
        f"{len(texts):,} texts, {ended:,} ended by themselves, {len(set(texts)):,} different, {new:,} not in the corpus"
    )


if __name__ == "__main__":
    main()

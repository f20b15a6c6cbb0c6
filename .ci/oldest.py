"""Prints a constraint for each requirement of pyproject.toml: the oldest version that its bounds allow.

    python .ci/oldest.py >constraints.txt

It is the bounds themselves that are read, so there is no second list that could say something else.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?\s*(?P<bounds>[^;]*)(?P<marker>;.*)?")


def oldest(project: dict[str, Any]) -> Iterator[str]:
    """Yield `name==version` for every requirement that has a lower bound.

    Args:
        project: the table [project] of pyproject.toml.
    """
    extras = project.get("optional-dependencies", {}).values()
    for requirement in [*project.get("dependencies", []), *(it for extra in extras for it in extra)]:
        parts = REQUIREMENT.fullmatch(requirement)
        if parts is None:
            raise ValueError(f"{requirement!r}: not understood")
        bound = re.search(r">=\s*([\w.]+)", parts["bounds"])
        if bound:
            yield f"{parts['name']}=={bound[1]}{parts['marker'] or ''}"


def main() -> None:
    """Refuse a Python that is not the oldest one, as not every old package can be had for a newer one."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":
        sys.exit(f"the oldest versions are for Python {python}: make test-oldest PYTHON=python{python}")
    print("\n".join(oldest(project)))


if __name__ == "__main__":
    main()

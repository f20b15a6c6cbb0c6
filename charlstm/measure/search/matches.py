"""The matches of a user's regular expression, found in a process of its own: one that takes for ever is stopped.

Python's regular expressions backtrack, and some need longer than the age of the universe for thirty characters. Nothing
in the same process can interrupt them on every system.
"""

import json
import re
import subprocess
import sys

import numpy as np
import numpy.typing as npt

from charlstm.errors import UsageError

SECONDS = 5.0
_CODE = """
import json, re, sys
pattern, text = json.load(sys.stdin)
json.dump([match.span() for match in re.finditer(pattern, text, re.MULTILINE)], sys.stdout)
"""


def find(name: str, pattern: str, text: str, *, seconds: float = SECONDS) -> npt.NDArray[np.int64]:
    """Return the begin and end of each match, (matches, 2).

    Args:
        name: of the label, for messages.
        pattern: the regular expression; `^` and `$` match at lines.
        text: where to look.
        seconds: the longest it may take.

    Raises:
        UsageError: if it is wrong, takes longer, or matches nothing.
    """
    option = f"--follow {name}={pattern}"
    try:
        re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{option}: no regular expression ({error}); see Python's re module") from None
    try:
        # Isolated, so that no module of the user's folder is taken for Python's own.
        done = subprocess.run(
            [sys.executable, "-I", "-W", "ignore", "-c", _CODE],
            input=json.dumps([pattern, text]),
            capture_output=True,
            text=True,
            encoding="ascii",
            timeout=seconds,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{option}: it takes longer than {seconds:g} s on this text; avoid repeats within repeats, such as (a+)+"
        ) from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["it was ended"])[-1]
        raise UsageError(f"{option}: it cannot be matched ({reason}); make it simpler") from None
    spans = np.array([span for span in json.loads(done.stdout) if span[0] < span[1]], np.int64).reshape(-1, 2)
    if not len(spans):
        raise UsageError(f"{option}: it matches nothing in this text; change it, or give another text")
    return spans

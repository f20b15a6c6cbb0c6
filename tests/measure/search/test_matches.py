"""A user's regular expression, however bad."""

import re

import pytest

from charlstm.errors import UsageError
from charlstm.measure.search import matches


def test_matches_are_those_of_python() -> None:
    text = "naïve \U0001f600 \udc80 text\nna" * 20
    expected = [match.span() for match in re.finditer("^na|.t", text, re.MULTILINE)]
    assert matches.find("n", "^na|.t", text).tolist() == [list(span) for span in expected]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a+", r"--follow n=\(a\+: no regular expression \(missing \), .*\); see"),
        ("z", "it matches nothing in this text"),
        ("z*", "it matches nothing in this text"),
        ("(a+)+b", "it takes longer than 0.5 s on this text"),
    ],
)
def test_a_bad_one_is_one_line(pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        matches.find("n", pattern, "a" * 60, seconds=0.5)
    assert "\n" not in str(raised.value)

"""`charlstm probe`."""

import json

from tests.conftest import Command


def test_probe_prints_a_table_and_rows_of_json(charlstm: Command) -> None:
    arguments = ["probe", "--cell=rnn", "--cell=gru", "--lag=2", "--time=1s", "--hidden-size=16"]
    done = charlstm(*arguments)
    assert done.code == 0
    head, *rows = done.out.splitlines()
    assert head.split() == ["lag", "cell", "recall", "chance", "steps", "seconds", "gradient"]
    assert [row.split()[:2] for row in rows] == [["2", "rnn"], ["2", "gru"]]
    assert max(map(len, done.out.splitlines())) <= 60
    rows = [json.loads(line) for line in charlstm(*arguments, "--json").out.splitlines()]
    assert [row["cell"] for row in rows] == ["rnn", "gru"]
    assert set(rows[0]) == {
        *("schema", "cell", "lag", "recall", "chance", "steps", "seconds", "gradient_norm", "chrono")
    }
    assert charlstm("probe", "--lag=0").code == 2

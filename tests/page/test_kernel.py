"""The kernel of WebAssembly, without a browser, and that of JavaScript: against numpy's integers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.show.page.join import FOLDER
from tests.page.conftest import Node

SHAPES = [(4, 16), (1, 1), (7, 17), (66, 640), (12, 33), (2, 5000)]


def test_the_binary_is_the_text_assembled(kernel_of: Callable[..., bytes]) -> None:
    assert (FOLDER / "kernel.wasm").read_bytes() == kernel_of()


@pytest.mark.parametrize("most", [1, 127, 32767])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_webassembly_multiplies(rows: int, columns: int, most: int) -> None:
    wasmtime = pytest.importorskip("wasmtime", reason="no wasmtime here: pip install wasmtime")
    source = np.random.default_rng(rows * columns)
    store = wasmtime.Store()
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(4, None)))
    module = wasmtime.Module.from_file(store.engine, str(FOLDER / "kernel.wasm"))
    multiply = wasmtime.Instance(store, module, [memory]).exports(store)["multiply"]
    high, wide = -(-rows // 4) * 4, -(-columns // 16) * 16
    whole = np.zeros((high, wide), np.int8)
    whole[:rows, :columns] = matrix = source.integers(-127, 128, (rows, columns))
    limit = min(most, (2**31 - 1) // (127 * columns))
    vector = source.integers(-limit, limit + 1, wide).astype(np.int16)
    vector[: columns // 2] = limit
    sums_at = whole.nbytes + vector.nbytes
    tiles = whole.reshape(high // 4, 4, wide // 16, 16).swapaxes(1, 2)
    memory.write(store, tiles.tobytes() + vector.tobytes() + b"\xff" * (4 * high + 16), 0)
    multiply(store, 0, rows, wide, whole.nbytes, sums_at)
    found = np.frombuffer(memory.read(store, sums_at, sums_at + 4 * high + 16), "<i4")
    assert (found[:rows] == matrix.astype(np.int64) @ vector[:columns].astype(np.int64)).all()
    assert (found[rows:high] == 0).all()
    assert (found[high:] == -1).all()


MULTIPLY = """
import { PlainKernel } from "./kernel.js";

const found = given.map(({ matrix, rows, columns, vector, most }) => {
  const kernel = new PlainKernel([[rows, columns], [3, columns + 4]]);
  kernel.vector.fill(7);
  kernel.vector.set(vector);
  kernel.multiply(kernel.matrix(Int8Array.from(matrix), rows, columns, most));
  return Array.from(kernel.sums.subarray(0, rows));
});
console.log(JSON.stringify(found));
"""


def test_javascript_multiplies(run_node: Node) -> None:
    """Two rows at a time, up to the largest sums for which that is exact, and one at a time beyond them."""
    cases: list[dict[str, Any]] = []
    for rows, columns in SHAPES[:5]:
        for limit in (1, 127, min(32767, (2**25 - 1) // (127 * columns)), 32767):
            source = np.random.default_rng(rows * columns)
            matrix = source.integers(-127, 128, (rows, columns))
            matrix[0], matrix[-1] = 127, -127
            vector = np.full(columns, limit) if rows % 2 else source.integers(-limit, limit + 1, columns)
            cases.append(
                {
                    "matrix": matrix.ravel(),
                    "rows": rows,
                    "columns": columns,
                    "vector": vector,
                    "most": limit * 127 * columns,
                }
            )
    given = [{name: getattr(value, "tolist", lambda v=value: v)() for name, value in case.items()} for case in cases]
    assert {case["most"] < 2**25 for case in given} == {True, False}
    for case, found in zip(cases, run_node(MULTIPLY, *given), strict=True):
        assert found == (case["matrix"].reshape(case["rows"], -1) @ case["vector"]).tolist()


def test_the_kernel_is_all_that_the_page_has_in_webassembly() -> None:
    assert [path.name for path in sorted(Path(FOLDER).glob("*.wa*"))] == ["kernel.wasm", "kernel.wat"]

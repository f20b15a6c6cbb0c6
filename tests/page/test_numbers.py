"""Random numbers, tables and frequencies of the page: those of numpy and of `charlstm/network/fixed.py`."""

import base64
from pathlib import Path

import numpy as np

from charlstm.network import fixed
from charlstm.sample import drawn_label
from tests.page.conftest import Node
from tests.page.models import tokenizer_of

SEEDS = [0, 1, 42, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1]

UNIFORMS = """
import { RandomNumbers } from "./random.js";

const found = given.map((seeds) => {
  const random = new RandomNumbers(...seeds);
  return Array.from({ length: 600 }, () => random.uniform());
});
console.log(JSON.stringify(found));
"""


def test_uniform_numbers_are_those_of_numpy(run_node: Node) -> None:
    seeds = [*((seed,) for seed in SEEDS), *((seed, 1) for seed in SEEDS), (2**100, 3, 2**62, 2**40)]
    found = run_node(UNIFORMS, *([str(seed) for seed in each] for each in seeds))
    for each, numbers in zip(seeds, found, strict=True):
        assert numbers == np.random.default_rng(each if len(each) > 1 else each[0]).random(600).tolist()


TABLES = """
import { checkedTables, computeTables } from "./fixed.js";

const bytes = ({ sigmoid, tanh, exp }) => Buffer.concat([sigmoid, tanh, exp].map((table) => Buffer.from(table.buffer)));
if (!bytes(checkedTables()).equals(bytes(computeTables()))) throw new Error("other tables");
console.log(JSON.stringify(bytes(computeTables()).toString("base64")));
"""


def test_the_tables_are_those_of_the_file(run_node: Node) -> None:
    data = base64.b64decode(run_node(TABLES))
    assert data == Path(fixed.__file__).with_name("tables.bin").read_bytes() + bytes(4)


FREQUENCIES = """
import { checkedTables, frequencies } from "./fixed.js";

const tables = checkedTables();
const found = given.map(([scores, never]) => Array.from(frequencies(tables, Int32Array.from(scores), never)));
console.log(JSON.stringify(found));
"""


def test_frequencies(run_node: Node) -> None:
    source = np.random.default_rng(0)
    sizes = ((2, 10), (66, 3_000), (66, 30_000), (258, 100), (2_000, 9_000), (50, 2**28))
    cases = [
        (source.integers(-spread, spread, size).astype(np.int32), never)
        for size, spread in sizes
        for never in ([], [size - 2])
    ]
    cases += [(np.zeros(7, np.int32), []), (np.zeros(7, np.int32), [0]), (np.array([5, 9, 9, 2], np.int32), [1])]
    found = run_node(FREQUENCIES, *((scores.tolist(), never) for scores, never in cases))
    for (scores, never), frequencies in zip(cases, found, strict=True):
        assert frequencies == fixed.frequencies(scores, never).tolist()
        assert sum(frequencies) == fixed.TOTAL


LABELS = """
import { readFileSync } from "node:fs";
import { Model } from "./model.js";

const [seeds, labels, labelCounts] = given;
const found = seeds.map((seed) => Model.prototype.drawnLabel.call({ labels, manifest: { labelCounts } }, seed));
console.log(JSON.stringify(found));
"""


def test_a_seed_draws_the_label_that_the_command_draws(run_node: Node) -> None:
    tokenizer = tokenizer_of("char-labels")
    seeds = [*SEEDS, *range(100, 140)]
    found = run_node(LABELS, [str(seed) for seed in seeds], tokenizer.labels, tokenizer.label_counts)
    assert found == [drawn_label(tokenizer, seed) for seed in seeds]
    assert set(found) == set(tokenizer.labels)

"""SIGKILL at any instant: the resumed run is the uninterrupted one, bit for bit."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from charlstm.storage.runs import Run
from tests.children import Child
from tests.reliability.conftest import SMALL, Start, outcome, times

pytestmark = pytest.mark.slow

RUNS = {1: [], 2: [], 3: ["--ngrams=4", "--ngram-rows=256"]}
"""By seed: further options."""


def strike(child: Child, source: random.Random, lifetime: float, aimed: bool) -> bool:
    """Kill a child at a random instant of its life, or of one of its saves; return whether it was still alive."""
    if aimed:
        for _ in range(source.randrange(1, 12)):
            try:
                child.news.recv()
            except EOFError:
                break
        child.process.join(source.random() * 0.004)  # a save takes about as long
    else:
        child.process.join(source.random() * lifetime)
    alive = child.process.is_alive()
    child.kill()
    return alive


@pytest.mark.parametrize("seed", RUNS)
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    start: Start, corpus: Path, tmp_path: Path, undisturbed: Callable[..., float], survived: Counter[str], seed: int
) -> None:
    options = [f"--seed={seed}", *RUNS[seed]]
    command = ["train", corpus.name, *SMALL, *options]
    lifetime = undisturbed(*options)
    expected = outcome(Run(tmp_path / "checkpoints" / "whole"))
    source = random.Random(seed)
    kills, wanted = 0, -(-times(12, 200) // len(RUNS))
    while kills < wanted:
        name = f"--name=killed-{kills}"
        run = Run(tmp_path / "checkpoints" / name.removeprefix("--name="))
        before, finished = kills, False
        while not finished:
            child = (
                start("train", "--resume", name)
                if run.last.exists() or run.previous.exists()
                else start(*command, name, "--force")
            )
            aimed = kills % 4 == 0
            if kills < wanted and strike(child, source, lifetime, aimed):
                kills += 1
                survived[f"SIGKILLs{', aimed inside a save' if aimed else ' at random instants'}"] += 1
            else:
                finished = child.wait() == 0
                # A run that had ended has nothing to go on with.
                finished = finished or (child.wait() == 2 and run.best.exists())
        assert outcome(run) == expected
        assert not list(run.folder.glob("*.tmp"))
        survived["runs killed and resumed, bit-identical to the uninterrupted one"] += kills > before

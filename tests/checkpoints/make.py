"""Writes the runs that `test_old_checkpoints.py` reads: once for each version that changes what a checkpoint holds.

    python -m tests.checkpoints.make tests/checkpoints/0.1.0-ngrams lstm-char-documents-ngrams gru-byte-ngrams

Each folder has a run that was stopped in the middle (`last.safetensors`), the best weights until then, and what this
version made of them (`expected.json`): later versions must come to the same.
"""

import dataclasses
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import chdir
from pathlib import Path

import numpy as np

from charlstm.config import CELLS, DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.measure.read import Reader
from charlstm.measure.scoring import progress
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.storage.checkpoint import load
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora
from charlstm.text.cache import Cache
from charlstm.text.corpus import Corpus
from charlstm.training import calibration as plan
from charlstm.training.loop import Plan, train
from charlstm.training.records import Finished
from charlstm.training.state import Training
from tests.checkpoints.text import NAME, text

STEPS, STOPPED = 6, 4
CPU = Device("cpu", "fp32")


def configs() -> dict[str, RunConfig]:
    """Return a configuration for each cell and tokenizer, where every other one has documents; and two with n-grams."""
    found = {}
    for number, cell in enumerate(CELLS):
        for other, tokenizer in enumerate(("char", "byte")):
            framed = (number + other) % 2 == 1
            found[f"{cell}-{tokenizer}{'-documents' if framed else ''}"] = RunConfig(
                text=TextConfig(tokenizer=tokenizer, separator=r"\n" if framed else None),
                model=ModelConfig(
                    cell=cell, hidden_size=8, embedding_size=3, num_layers=1 + (tokenizer == "char"), dropout=0.1
                ),
                train=TrainConfig(steps=STEPS, batch_size=2, seq_length=16, evaluations=2, learning_rate=0.02),
            )
    for framed, plain in (("lstm-char-documents", "lstm-char"), ("gru-byte", "gru-byte")):
        model = dataclasses.replace(found[plain].model, ngrams=3, ngram_rows=64)
        text = dataclasses.replace(found[plain].text, separator=r"\n" if framed.endswith("documents") else None)
        found[f"{framed}-ngrams"] = dataclasses.replace(found[plain], model=model, text=text)
    return found


def run(config: RunConfig, folder: Path) -> None:
    """Train a run, stop it in the middle, and note what comes of it."""
    corpus = corpora.load([NAME], (), config.text, None, cache=Cache(Path("cache")))
    given = {field.name for part in (config.model, config.train) for field in dataclasses.fields(part)}
    device = DeviceConfig(device="cpu", precision="fp32", threads=1)
    training = plan.prepare(config, given, corpus, device).training
    timed = plan.make(training, corpus, config.train, device, 0.0)
    kept = Run(folder)
    *_, last = train(training, corpus, kept, timed.plan, lambda: training.step >= STOPPED)
    assert isinstance(last, Finished)
    assert (last.step, last.reason) == (STOPPED, "stopped")
    loss, weights = _finished(kept, corpus)
    expected = {"best": _nats(folder / "best.safetensors", corpus), "finished": loss, "weights": weights}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def _nats(path: Path, corpus: Corpus) -> float:
    """Return the mean loss of the held-out text."""
    checkpoint = load(path)
    model = CharLSTM.from_weights(checkpoint.config.model, checkpoint.tokenizer, checkpoint.weights)
    *_, score = progress(Reader(model, checkpoint.tokenizer, CPU), corpus.val)
    return score.loss


def _finished(kept: Run, corpus: Corpus) -> tuple[float, str]:
    """Return the held-out loss at the end of the run, as a resume reaches it, and the SHA-256 of its weights."""
    checkpoint = load(kept.last)
    training = Training(checkpoint.config, corpus, CPU)
    training.restore(checkpoint)
    assert checkpoint.training is not None
    with tempfile.TemporaryDirectory() as folder:
        ended = Run(Path(folder))
        *_, last = train(training, corpus, ended, Plan.from_dict(checkpoint.training.plan))
        assert isinstance(last, Finished)
        assert last.best_step == STEPS
        assert last.best_loss is not None
        return last.best_loss, digest(load(ended.last).weights)


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of weights, in the order of their names."""
    return hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).hexdigest()


def main(root: Path, names: Collection[str]) -> None:
    """Write runs below a folder, by default all."""
    root = root.resolve()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place, chdir(place):
        Path(NAME).write_text(text(), encoding="utf-8", newline="")
        for name, config in configs().items():
            if names and name not in names:
                continue
            (root / name).mkdir(parents=True)
            run(config, root / name)
            (root / name / "previous.safetensors").unlink()
    print(f"{sum(1 for _ in root.rglob('*.safetensors'))} checkpoints in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

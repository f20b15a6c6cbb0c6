"""What saving costs: the seconds of a generation by the size of the network, and their share of a minute."""

import tempfile
import time
from pathlib import Path

import click
import measure
import numpy as np

from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network.device import Device, choose
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora
from charlstm.training.loop import Keeper
from charlstm.training.plan import Plan
from charlstm.training.records import Evaluation
from charlstm.training.state import Training

SHAPES = (
    ModelConfig(hidden_size=256),
    ModelConfig(hidden_size=768),
    ModelConfig(num_layers=2),
    ModelConfig(num_layers=2, hidden_size=1024),
    ModelConfig(num_layers=4, hidden_size=1024),
)


@click.command()
@click.option("--rounds", default=9, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to save.  [default: a temporary folder]")
@measure.SHAPES
def main(rounds: int, folder: Path | None, models: tuple[ModelConfig, ...]) -> None:
    """Print the median and the longest time of a save, best weights and state."""
    choose(DeviceConfig(device="cpu"))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        corpus = corpora.load([str(measure.write_text(Path(place)))], [], TextConfig())
        print("| size | MB a generation | median | longest | share of a minute |\n|---|---|---|---|---|")
        for number, model in enumerate(models or SHAPES):
            config = RunConfig(text=TextConfig(), model=model, train=TrainConfig())
            training = Training(config, corpus, Device("cpu", "fp32"))
            training.update(1e-3)
            run = Run(Path(place) / str(number))
            run.create(0)
            keeper = Keeper(training, corpus, run, Plan.of_steps(100, 10))
            taken = []
            for _ in range(rounds):
                began = time.perf_counter()
                keeper.take(Evaluation(1, 0.1, 1.0, 1.0, 1e-3, 1, 1.0, 1, "", improved=True))
                keeper.save()
                taken.append(time.perf_counter() - began)
            size = (run.last.stat().st_size + run.best.stat().st_size) / 1e6
            print(
                f"| {model.num_layers} x {model.hidden_size} | {size:.0f} | {np.median(taken):.3f} s "
                f"| {max(taken):.3f} s | {np.median(taken) / 60:.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Start: seconds from a process's start to the first character of `charlstm sample`, and of `charlstm --help`."""

import subprocess
import sys
import time

import click
from measure import alternate


def first_byte(*command: str) -> float:
    """Return the seconds until a command prints its first byte, or ends."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


@click.command()
@click.option("--rounds", default=15, show_default=True)
def main(rounds: int) -> None:
    """Print seconds of each."""
    python = sys.executable
    alternate(
        {
            "charlstm sample": lambda: first_byte(python, "-m", "charlstm", "sample", "shakespeare"),
            "charlstm --help": lambda: first_byte(python, "-m", "charlstm", "--help"),
            "python import numpy, click": lambda: first_byte(python, "-c", "import numpy, click"),
        },
        rounds,
        "s",
    )


if __name__ == "__main__":
    main()

"""The command line: parse, call, print."""

import errno
import os
from collections.abc import Callable, Sequence

import click

from charlstm import __version__
from charlstm.cli import interrupts, memory, origins, tree
from charlstm.cli.cache import cache
from charlstm.cli.compress import compress
from charlstm.cli.decompress import decompress
from charlstm.cli.eval import evaluate
from charlstm.cli.export import export
from charlstm.cli.info import info
from charlstm.cli.inspect import inspect
from charlstm.cli.interrupts import INTERRUPTED
from charlstm.cli.options import DEBUG, HELP
from charlstm.cli.probe import probe
from charlstm.cli.reach import reach
from charlstm.cli.sample import sample
from charlstm.cli.score import score
from charlstm.cli.train import train
from charlstm.errors import CharLSTMError, InputOutputError, OutOfMemoryError, os_reason
from charlstm.network import threads


@click.group(context_settings=HELP | {"auto_envvar_prefix": "CHARLSTM"})
@click.version_option(__version__, prog_name="charlstm", message="%(prog)s %(version)s")
def cli() -> None:
    """Train a character-level LSTM on your own text, watch it write, and measure it honestly.

    \b
      charlstm train corpus.txt     learn for ten minutes
      charlstm sample               write
      charlstm eval                 measure

    Every option can also be set by a variable (CHARLSTM_TRAIN_TIME=2m) or in a file (--config FILE.toml).

    Exit codes: 0 success, 1 failure, 2 wrong usage, 65 unusable text or checkpoint, 74 input or output failed,
    129, 130 and 143 stopped by SIGHUP, SIGINT or SIGTERM (after saving).
    """


for command in (train, sample, evaluate, score, reach, probe, inspect, compress, decompress, export, info, cache):
    cli.add_command(command)
for name, command in tree.leaves(cli).items():
    origins.name_variables(name, command)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; an error is reported in one line."""
    from charlstm.show.terminal import unfailing_stderr

    threads.settle(os.environ)
    threads.wait_politely()
    try:
        with unfailing_stderr(), interrupts.Interrupts(), memory.kept() as free:
            try:
                return _run(arguments, free)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as problem:
                if interrupts.caused(problem):
                    return INTERRUPTED
                if DEBUG in arguments:
                    raise
                free()
                return _unforeseen(problem)
    except KeyboardInterrupt:
        return INTERRUPTED


def _unforeseen(problem: BaseException) -> int:
    """Report an error that no command has foreseen, and return the exit code."""
    if memory.short(problem):
        _tell(str(OutOfMemoryError()))
    elif isinstance(problem, Exception):
        _tell(f"{type(problem).__name__}: {problem}; this is a bug: run the command with --debug and report it")
    else:
        raise problem
    return 1


def _run(arguments: Sequence[str], free: Callable[[], None]) -> int:
    from charlstm.show.terminal import ClosedOutputError

    debug = DEBUG in arguments
    try:
        return int(cli.main(list(arguments), prog_name="charlstm", standalone_mode=False) or 0)
    except ClosedOutputError:
        return 0
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as wanted:
        click.echo(wanted.format_message(), err=True)
        return 2
    except click.ClickException as problem:
        where = problem.ctx.command_path if isinstance(problem, click.UsageError) and problem.ctx else "charlstm"
        message = " ".join(problem.format_message().split()).rstrip(".")
        _tell(f"{origins.named(problem, message)}; see {where} --help")
        return problem.exit_code
    except CharLSTMError as problem:
        if debug:
            raise
        free()
        _tell(str(problem))
        return problem.exit_code
    except OSError as problem:
        if debug or problem.errno != errno.ENAMETOOLONG:
            raise
        _tell(f"{problem.filename}: {os_reason(problem)}; check the path")
        return InputOutputError.exit_code


def _tell(message: str) -> None:
    """Say what went wrong; without colours if there is not even enough memory for them."""
    try:
        from charlstm.show.terminal import error

        error(message)
    except MemoryError:
        os.write(2, f"error: {message}\n".encode(errors="backslashreplace"))

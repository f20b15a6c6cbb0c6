"""The command line: parse, call, print."""

import errno
from collections.abc import Sequence

import click

from charlstm import __version__
from charlstm.cli.cache import cache
from charlstm.cli.eval import evaluate
from charlstm.cli.info import info
from charlstm.cli.options import DEBUG, HELP
from charlstm.cli.probe import probe
from charlstm.cli.sample import sample
from charlstm.cli.train import train
from charlstm.errors import CharLSTMError, InputOutputError, os_reason
from charlstm.threads import wait_politely

_INTERRUPTED = 130


@click.group(context_settings=HELP | {"auto_envvar_prefix": "CHARLSTM"})
@click.version_option(__version__, prog_name="charlstm", message="%(prog)s %(version)s")
def cli() -> None:
    """Train a character-level LSTM on your own text, watch it write, measure it honestly.

    \b
      charlstm train corpus.txt     learn for ten minutes
      charlstm sample               write
      charlstm eval                 measure

    Every option can be set by a variable (CHARLSTM_TRAIN_TIME=2m) or a file (--config FILE.toml) too.

    Exit codes: 0 done, 1 failure, 2 wrong usage, 65 unusable text or checkpoint, 74 input or output failed,
    129, 130 and 143 stopped by SIGHUP, SIGINT or SIGTERM (after saving).
    """


for command in (train, sample, evaluate, probe, info, cache):
    cli.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; an error is told in one line."""
    from charlstm.console import unfailing_stderr

    wait_politely()
    with unfailing_stderr():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    from charlstm.console import ClosedOutputError, error

    debug = DEBUG in arguments
    try:
        return int(cli.main(list(arguments), prog_name="charlstm", standalone_mode=False) or 0)
    except ClosedOutputError:
        return 0
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as wanted:
        click.echo(wanted.format_message(), err=True)
        return 2
    except click.ClickException as problem:
        where = problem.ctx.command_path if isinstance(problem, click.UsageError) and problem.ctx else "charlstm"
        message = " ".join(problem.format_message().split()).rstrip(".")
        error(f"{message}; see {where} --help")
        return problem.exit_code
    except CharLSTMError as problem:
        if debug:
            raise
        error(str(problem))
        return problem.exit_code
    except Exception as problem:
        if debug:
            raise
        if isinstance(problem, OSError) and problem.errno == errno.ENAMETOOLONG:
            error(f"{problem.filename}: {os_reason(problem)}; check the path")
            return InputOutputError.exit_code
        # torch has no kind of its own for a CPU's memory.
        if isinstance(problem, MemoryError) or "allocate memory" in str(problem):
            error("out of memory; choose a smaller --hidden-size, --batch-size or --seq-length, or --min-count 2")
            return 1
        error(f"{type(problem).__name__}: {problem}; this is a bug: run the command with --debug and report it")
        return 1

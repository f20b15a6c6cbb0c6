"""`python -m charlstm` and the console script.

Nothing is imported here before Ctrl-C is taken care of: loading the command line takes a moment, and torch a second.
"""

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C while modules are loaded, or after the end, exits at once."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as under nohup
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
        from charlstm.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    sys.exit(code)


if __name__ == "__main__":
    main()

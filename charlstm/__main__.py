"""`python -m charlstm` and the console script.

Nothing is imported before Ctrl-C is handled: loading the command line takes a moment, and loading torch a second.
"""

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C during imports, or after the end, exits at once."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # that is, not ignored, as it is under nohup
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
        from charlstm.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    sys.exit(code)


if __name__ == "__main__":
    main()

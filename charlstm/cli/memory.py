"""Running out of memory: recognising it, whichever library reports it, and testing for it early under `ulimit -v`."""

import contextlib
import errno
import mmap
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

from charlstm.errors import CharLSTMError

_WORDS = re.compile(
    "allocate memory|out of memory|failed to map segment|could not create a primitive$|bad_alloc|start new thread",
    re.MULTILINE,
)
_KINDS = (RuntimeError, ImportError, OSError)
_CHAIN = 10  # how many causes of an error are examined at most
_KEPT = 32 << 20  # bytes of address space reserved for reporting an error
_WITH_TORCH = {"train", "eval", "score", "reach", "probe"}
_SPARE = {True: 256 << 20, False: 32 << 20}  # extra bytes for weights and text, with torch and without
_AMPLE = 32 << 30  # bytes of address space that suffice for loading everything, including CUDA's libraries


def short(problem: BaseException) -> bool:
    """Return whether an error, or one of its causes, means that memory ran out.

    torch, oneDNN and the loader of compiled modules have no special exception for this, only messages.
    """
    reason: BaseException | None = problem
    for _ in range(_CHAIN):
        if reason is None:
            return False
        if isinstance(reason, MemoryError) or getattr(reason, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(reason, _KINDS) and _WORDS.search(str(reason)):
            return True
        if limit() is not None and (isinstance(reason, SystemError) or type(reason).__name__ == "PanicException"):
            return True  # compiled code that did not check whether it got the memory it asked for
        reason = reason.__cause__ or reason.__context__
    return False


def limit() -> int | None:
    """Return the limit of this process's address space in bytes, or None if there is no limit."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


@contextlib.contextmanager
def kept() -> Iterator[Callable[[], None]]:
    """Reserve some address space if there is a limit; yield a function that frees it, so an error can be reported."""
    block = None
    with contextlib.suppress(OSError, ValueError):
        block = mmap.mmap(-1, _KEPT) if limit() is not None else None

    def free() -> None:
        if block is not None:
            block.close()

    try:
        yield free
    finally:
        free()


def require(command: str) -> None:
    """Raise `CharLSTMError` if the address space is limited and too small for the libraries that a command needs.

    Compiled code that cannot get memory may end the process without a message, so a forked child tries first.
    """
    most = limit()
    if most is None or most >= _AMPLE or not hasattr(os, "fork"):
        return
    child = os.fork()
    if child == 0:
        _try(*((_load_torch, _SPARE[True]) if command in _WITH_TORCH else (_load_numpy, _SPARE[False])))
    if os.waitpid(child, 0)[1] != 0:
        raise CharLSTMError(f"out of memory: this process may have {most / 1e6:,.0f} MB (ulimit -v); raise that limit")


def _load_numpy() -> None:
    """Load numpy, and make OpenBLAS allocate its buffers."""
    import numpy as np

    square = np.ones((64, 64), np.float32)
    square @ square


def _load_torch() -> None:
    """Load torch and numpy, start their threads, and create an optimizer, which loads more than half of the rest."""
    _load_numpy()
    import torch

    layer = torch.nn.LSTM(64, 64)
    output, _ = layer(torch.ones(32, 64, 64))
    output.sum().backward()
    torch.optim.AdamW(layer.parameters(), fused=True).step()


def _try(load: Callable[[], Any], spare: int) -> None:
    """In a forked child: load, and exit with 0 on success; the user does not see any output."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        _without_core()
        load()
        mmap.mmap(-1, spare)
        code = 0
    finally:
        os._exit(code)


def _without_core() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

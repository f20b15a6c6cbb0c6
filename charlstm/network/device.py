"""Which processor computes, in which precision, and with how many threads."""

import contextlib
import ctypes
import functools
import math
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from charlstm.config import DeviceConfig
from charlstm.errors import UsageError
from charlstm.network.threads import Item, adapted, chosen_by_user, fastest

_DEFAULT_THREADS = torch.get_num_threads()
_LOOK, _LOOKS = (256, 1024), 3  # rows and columns of a matrix product that shows how fast a precision is
_CLEARLY = 1.5  # times as long as fp32 takes: bf16 is emulated


@dataclass(frozen=True)
class Device:
    """A processor and the precision of its matrix products."""

    name: str
    """`cpu`, `cuda` or `mps`."""
    precision: str
    """`fp32` or `bf16`."""

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute matrix products and recurrent layers in this precision."""
        with torch.autocast(self.name, torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    def seed(self, number: int) -> None:
        """Seed the processor's generator; on a CPU, without the search of `torch.manual_seed` for other processors."""
        if self.name == "cpu":
            torch.default_generator.manual_seed(number)
        else:
            torch.manual_seed(number)

    def synchronize(self) -> None:
        """Wait until the processor has done everything it was asked to do; a CPU always has."""
        if self.name == "cuda":
            torch.cuda.synchronize()
        elif self.name == "mps":
            torch.mps.synchronize()


def choose(config: DeviceConfig) -> str:
    """Return the processor that `config` names, or the fastest kind available, and set the number of threads.

    On a GPU, fp32 is fp32: cuDNN would round the factors of its products to the 10 bits of TF32.

    Raises:
        UsageError: if this machine has no such processor.
    """
    _keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False
    use_threads(config.threads or _DEFAULT_THREADS)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if config.device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[config.device]:
        raise UsageError(f"--device {config.device}: this machine has none that torch can use; try --device cpu")
    return config.device


def precision(asked: str, name: str) -> tuple[str, str | None]:
    """Return the precision that a processor can compute in, and a note if it is not the requested one.

    Args:
        asked: `fp32` or `bf16`.
        name: the processor, as returned by `choose`.
    """
    if asked == "bf16" and not has_bf16(name):
        return "fp32", f"--precision bf16: torch has no bf16 on this {name.upper()}; computing in fp32"
    return asked, None


def threads() -> int:
    """Return the number of threads used on the CPU."""
    return torch.get_num_threads()


def use_threads(number: int) -> None:
    """Use this number of threads on the CPU."""
    torch.set_num_threads(number)


def most_threads(config: DeviceConfig, name: str) -> int | None:
    """Return the largest number of threads to try, or None if there is nothing to choose.

    There is nothing to choose if the user set the number of threads, or if a GPU computes.
    """
    if config.threads is not None or chosen_by_user() or name != "cpu":
        return None
    return _DEFAULT_THREADS


def use_fastest_threads(work: Callable[[], object], most: int | None, seconds: float = math.inf) -> None:
    """Use the number of threads that is fastest for `work` at the moment.

    Args:
        work: does the same work on every call.
        most: the largest number to try; None leaves the number unchanged.
        seconds: how long the search may take.
    """
    if most is not None and most > 1:
        use_threads(fastest(work, use_threads, threads(), most, seconds))


def in_fastest_threads(items: Iterable[Item], config: DeviceConfig, name: str) -> Iterator[Item]:
    """Yield the items, computed with the fastest number of threads unless the user has set it."""
    return adapted(items, use_threads, threads(), most_threads(config, name))


def machine(device: Device) -> dict[str, str | int]:
    """Return everything about this machine that the exact bits of a result depend on."""
    return {
        "device": device.name,
        "precision": device.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": processor(device.name),
    }


@functools.cache
def processor(name: str) -> str:
    """Return a processor's name and, for a CPU, which of its instruction sets torch uses."""
    if name == "cuda":
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError):  # Linux knows more than Python's `platform`
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _keep_freed_memory() -> None:
    """Make glibc keep the large blocks that one step frees, for use by the next.

    By default glibc returns them, and the kernel clears fresh pages for every step: a third of the time when training
    one layer of 512 units (benchmarks/README.md).
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without mallopt
            libc = ctypes.CDLL(None)
            libc.mallopt(m_mmap_threshold, 1 << 30)
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)


@functools.cache
def has_bf16(name: str) -> bool:
    """Return whether torch can compute a recurrent layer in bf16 here, in hardware: tested, not taken on trust.

    A processor may have instructions that torch was told not to use (ONEDNN_MAX_CPU_ISA), and the other way round.
    """
    if name == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        if name != "cpu" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(devices=[]),
            torch.autocast("cpu", torch.bfloat16),
        ):
            torch.nn.LSTM(8, 8)(torch.zeros(1, 1, 8))[0].sum().backward()
    except (AttributeError, RuntimeError):  # torch lacks these kernels, or the processor their instructions
        return False
    return True


def bf16_pays(name: str) -> bool:
    """Return whether bf16 may be faster than fp32 here, after a look at one matrix product in each.

    On a processor without instructions for it, bf16 may be emulated, more slowly than fp32.
    """
    if name != "cpu":
        return True
    taken = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, matrix = torch.ones(_LOOK[0], _LOOK[1], dtype=dtype), torch.ones(_LOOK[1], _LOOK[1], dtype=dtype)
        each = []
        for _ in range(_LOOKS):
            began = time.perf_counter()
            try:
                rows @ matrix
            except RuntimeError:  # told where a step is timed
                return True
            each.append(time.perf_counter() - began)
        taken[dtype] = min(each)
    return taken[torch.bfloat16] < _CLEARLY * taken[torch.float32]

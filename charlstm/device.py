"""Which processor computes, and in which precision."""

import contextlib
import ctypes
import functools
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from charlstm.config import DeviceConfig
from charlstm.errors import UsageError


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
        """Seed the processor's generator; on a CPU without `torch.manual_seed`'s look for other processors."""
        if self.name == "cpu":
            torch.default_generator.manual_seed(number)
        else:
            torch.manual_seed(number)

    def synchronize(self) -> None:
        """Wait until everything asked of the processor is done; on a CPU it is."""
        if self.name == "cuda":
            torch.cuda.synchronize()
        elif self.name == "mps":
            torch.mps.synchronize()


def choose(config: DeviceConfig) -> str:
    """Return the processor that `config` names, or the fastest kind there is, and set the number of threads.

    Raises:
        UsageError: where this machine has no such processor.
    """
    _keep_freed_memory()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if config.device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[config.device]:
        raise UsageError(f"--device {config.device}: this machine has none that torch can use; try --device cpu")
    return config.device


def machine(device: Device) -> dict[str, str | int]:
    """Return what a result depends on, to the bit."""
    return {
        "device": device.name,
        "precision": device.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": processor(device.name),
    }


@functools.cache
def processor(name: str) -> str:
    """Return what a processor is called, and for a CPU which of its instructions torch uses."""
    if name == "cuda":
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError):  # Linux says more than Python
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _keep_freed_memory() -> None:
    """Have glibc keep the large blocks that a step frees for the next one.

    By default it gives them back, and the kernel clears fresh pages for every step: a third of the time of training
    one layer of 512 (benchmarks/README.md).
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without mallopt
            libc = ctypes.CDLL(None)
            libc.mallopt(m_mmap_threshold, 1 << 30)
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def has_bf16(name: str) -> bool:
    """Return whether the processor computes bf16 in hardware."""
    if name == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        return name == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch without these kernels
        return False
